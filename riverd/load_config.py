"""Reads riverd.toml; what is wrong with it is said with place and remedy."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from riverd.config import Config
from riverd.errors import ConfigError


def load_config(path: Path) -> Config:
    """Read and check a config.

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
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}.") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.\n  Correct that line.") from None
    return parse_config(values, str(path))


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
    key = location[-1] if location else ""
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
    if kind == "literal_error":
        return f"{where} = {shown} is not one of {fault['ctx']['expected']}.\n  Choose one of those."
    if kind == "string_pattern_mismatch":
        return f"{where} = {shown} is not a name.\n  Use letters, digits, dots, dashes and underscores, at most 100."
    return f"{where} = {shown}: {fault['msg']}.\n  Correct {key!r}."


def _where(location: tuple[Any, ...], values: dict[str, Any]) -> str:
    if not location:
        return ""
    section, *rest = location
    if section == "alerts" and rest:
        rules = values.get("alerts")
        rule = rules[rest[0]] if isinstance(rules, list) and isinstance(rest[0], int) else {}
        name = rule.get("name", f"number {rest[0]}") if isinstance(rule, dict) else rest[0]
        return " ".join([f"[[alerts]] {name!r}", *_path(rest[1:])])
    return " ".join([f"[{section}]", *_path(rest)])


def _path(parts: Any) -> list[str]:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return [text] if text else []


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = f'"{value}"' if isinstance(value, str) else repr(value)
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
