"""Takes the values of named fields out of a message before it is kept as a dead letter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from stream.messages import split_path

REDACTED = "[redacted]"
DROPPED = b"[not kept: it is no valid JSON, so the fields to be redacted can't be found in it]"


def redact(payload: bytes, fields: Sequence[str]) -> bytes:
    """The message with ``[redacted]`` in place of the values of these fields.

    A name is replaced wherever it stands, however deep; a path where it leads to, through lists as well.
    What is not valid JSON can't be searched: it is replaced whole by a note.

    >>> redact(b'{"id": 7, "email": "a@b.org", "to": [{"email": null}]}', ["email"])
    b'{"id":7,"email":"[redacted]","to":[{"email":"[redacted]"}]}'
    >>> redact(b'{"user": {"name": "Ann"}, "name": "cart"}', ["user.name"])
    b'{"user":{"name":"[redacted]"},"name":"cart"}'
    >>> redact(b'{"email": "a@b.org', ["email"]) == DROPPED
    True
    """
    if not fields:
        return payload
    try:
        value = msgspec.json.decode(payload)
        paths = [tuple(split_path(field)) for field in fields]
        names = {path[0] for path in paths if len(path) == 1}
        return msgspec.json.encode(_redacted(value, names, [path for path in paths if len(path) > 1]))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return DROPPED


def was_redacted(payload: bytes) -> bool:
    """Whether something was taken out of a message: it is not what was sent."""
    return payload == DROPPED or f'"{REDACTED}"'.encode() in payload


def _redacted(value: Any, names: set[str], paths: list[tuple[str, ...]]) -> Any:
    """``paths`` are what is left of them at this depth; names apply at every depth."""
    if isinstance(value, list):
        return [_redacted(item, names, paths) for item in value]
    if not isinstance(value, dict):
        return value
    kept: dict[str, Any] = {}
    for key, item in value.items():
        here = [path[1:] for path in paths if path[0] == key]
        if key in names or () in here:
            kept[key] = REDACTED
        else:
            kept[key] = _redacted(item, names, [path for path in here if path])
    return kept
