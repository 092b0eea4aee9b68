"""The reference of riverd.toml in Markdown, made from the config's own definitions."""

from __future__ import annotations

import json
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from riverd.config import Config
from riverd.durations import format_duration

HEAD = """\
# riverd.toml

Every key, what it means, and what it is when it is left out. `riverd check` explains what is wrong with a
config, and what a change means for what has been learned. Durations are text: "500ms", "15s", "10m", "24h",
"7d". A field is named by its path: `payload.after.id`; a dot that belongs to a key is written `\\\\.`.

Secrets come from the environment alone: `RIVERD_TOKEN` guards every change over HTTP, `RIVERD_WEBHOOK_TOKEN` is
sent with webhooks, `RIVERD_KAFKA_PASSWORD` is shown to Kafka, and `RIVERD_DATABASE_PASSWORD` to PostgreSQL.
"""


def config_reference() -> str:
    """All sections and keys, in the order in which they are defined."""
    parts = [HEAD]
    for name, field in Config.model_fields.items():
        model = _model_of(field.annotation)
        title = f"[[{name}]]" if _is_list(field.annotation) else f"[{name}]"
        parts.append(f"\n## {title}\n\n{_first_paragraph(model)}\n\n| key | default | |\n|---|---|---|\n")
        for key, inner in model.model_fields.items():
            parts.append(f"| `{inner.alias or key}` | {_default(inner)} | {_meaning(inner)} |\n")
    return "".join(parts)


def _model_of(annotation: Any) -> type[BaseModel]:
    candidates = [annotation, *get_args(annotation)]
    return next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))


def _is_list(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is list


def _first_paragraph(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split("\n\n")[0].split())


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None:
        return ""
    return f"`{_toml(field.default, is_duration=_is_duration(field))}`"


def _is_duration(field: FieldInfo) -> bool:
    return "parse_duration" in repr(field.metadata) or "parse_duration" in repr(field.annotation)


def _toml(value: Any, *, is_duration: bool) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item, is_duration=is_duration) for item in value) + "]"
    if is_duration and isinstance(value, int):
        return f'"{format_duration(value)}"'
    return "{}" if value == {} else json.dumps(value)


def _meaning(field: FieldInfo) -> str:
    text = " ".join((field.description or "").split())
    return text.replace("|", "\\|")
