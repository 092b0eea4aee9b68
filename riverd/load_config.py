"""Reads riverd.toml; what is wrong with it is said with place and remedy."""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from riverd.addresses import LISTEN_VARIABLE, parse_listen
from riverd.config import Config
from riverd.errors import ConfigError


def load_config(path: Path) -> Config:
    """Read and check a config; ``RIVERD_LISTEN`` in the environment stands above its ``[web] listen``.

    Raises
    ------
    ConfigError
        The file can't be read, is not TOML, or says something that can't be; all faults are listed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist.\n  Name your config with -c, or start from the one that `riverd demo` writes."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path} can't be read: {error.strerror}.\n  Check that it is a file, its owner and permissions."
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 text: {error.reason} at byte {error.start}.\n  Save it as UTF-8."
        ) from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.\n  Correct that line.") from None
    config = parse_config(values, str(path))
    listen = os.environ.get(LISTEN_VARIABLE)
    return config if not listen else _listening(config, listen)


def _listening(config: Config, listen: str) -> Config:
    """The config with another address; raises ConfigError."""
    try:
        parse_listen(listen)
    except ValueError as error:
        raise ConfigError(f'{LISTEN_VARIABLE} = "{listen}" {error}') from None
    return config.model_copy(update={"web": config.web.model_copy(update={"listen": listen})})


def parse_config(values: dict[str, Any], place: str) -> Config:
    """Check the values of a config that stands at ``place``."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        # a section that failed makes the checks across sections meaningless, and pydantic leaves them out itself
        raise ConfigError("\n".join(f"{place}: {_explain(fault, values)}" for fault in faults)) from None


def _explain(fault: Any, values: dict[str, Any]) -> str:
    location = tuple(part for part in fault["loc"] if part != "function-before[parse_duration(), int]")
    where = _where(location, values)
    kind, shown = fault["type"], _shown(fault.get("input"))
    if kind == "value_error":
        text = str(fault["ctx"]["error"])
        if not location:
            return text
        of_a_table = hasattr(fault["input"], "__getitem__") and not isinstance(fault["input"], str)
        return f"{where} {text}" if of_a_table else f"{where} = {shown} {text}"
    if kind == "missing":
        return f"{where} is missing.\n  {_missing_remedy(location)}"
    if kind == "extra_forbidden":
        return f"{where} is not a key that riverd knows.\n  {_nearest(location)}"
    if kind == "string_pattern_mismatch":
        return f"{where} = {shown} is not a name.\n  Use letters, digits, dots, dashes and underscores, at most 100."
    return f"{where} = {shown} {_wrong(fault)}"


def _wrong(fault: Any) -> str:
    """What is wrong with a value, and what to write, for the faults that pydantic finds by itself."""
    bounds = fault.get("ctx", {})
    match fault["type"]:
        case "literal_error":
            known = bounds["expected"].replace("'", '"')
            return f"is not known.\n  Write {known}."
        case "string_type":
            return "is not text.\n  Write text in quotes."
        case "string_too_short":
            return "is empty.\n  Write a name."
        case "list_type":
            return f"is not a list.\n  Write [{_shown(fault['input'])}]."
        case "model_type" | "model_attributes_type":
            return f"is not a table.\n  Write [{fault['loc'][-1]}] in single brackets, and its keys below."
        case "int_type" | "int_from_float" | "float_type" | "finite_number":
            return (
                f"is not a {'whole' if fault['type'].startswith('int') else 'finite'} number.\n  Write one, unquoted."
            )
        case "less_than_equal":
            return f"is too large.\n  Write at most {bounds['le']:g}."
        case "less_than":
            return f"is too large.\n  Write less than {bounds['lt']:g}."
        case "greater_than_equal":
            return f"is too small.\n  Write at least {bounds['ge']:g}."
        case "greater_than":
            return f"is too small.\n  Write more than {bounds['gt']:g}."
        case "too_short":
            return f"has {bounds['actual_length']} entries.\n  List at least {bounds['min_length']}."
        case "too_long":
            return f"has too many entries.\n  List at most {bounds['max_length']}."
        case _:
            return f"is refused: {fault['msg']}.\n  Write another value."


def _where(location: tuple[Any, ...], values: dict[str, Any]) -> str:
    if not location:
        return ""
    section, *rest = location
    if section == "alerts" and rest:
        rules = values.get("alerts")
        rule = rules[rest[0]] if isinstance(rules, list) and isinstance(rest[0], int) else {}
        name = rule.get("name") if isinstance(rule, dict) else None
        shown = f"{name!r}" if isinstance(name, str) else f"number {rest[0] + 1}"
        return " ".join([f"[[alerts]] {shown}", *_path(rest[1:])])
    return " ".join([f"[{section}]", *_path(rest)])


def _path(parts: Any) -> list[str]:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return [text] if text else []


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        text = f"[{', '.join(map(_shown, value))}]"
    else:
        text = f'"{value}"' if isinstance(value, str) else "{...}" if isinstance(value, dict) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _missing_remedy(location: tuple[Any, ...]) -> str:
    if len(location) == 1:
        return f"Add a [{location[0]}] table."
    return f'Add {location[-1]} = "..." there.'


def _nearest(location: tuple[Any, ...]) -> str:
    keys = _keys(location[:-1])
    near = difflib.get_close_matches(str(location[-1]), keys, n=1)
    return f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(keys)}."


def _keys(location: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = Config
    for part in location:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *get_args(annotation)]
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return [field.alias or name for name, field in model.model_fields.items()]
