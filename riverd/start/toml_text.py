"""A config as TOML text in which every guess has its reason beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from riverd.screen.notation import plain

COLUMN = 36  # where comments begin, if the line is not longer
WIDTH = 100


@dataclass(slots=True)
class Lines:
    """The text as it grows.

    >>> text = Lines()
    >>> text.section("events", "what is scored")
    >>> text.key("id", "order.id", "unique")
    >>> print(text)
    [events]                            # what is scored
    id = "order.id"                     # unique
    """

    lines: list[str] = field(default_factory=list)

    def remark(self, *texts: str) -> None:
        self.lines += [f"# {plain(text)}".rstrip() for text in texts]

    def section(self, name: str, why: str = "", *, repeated: bool = False) -> None:
        if self.lines:
            self.lines.append("")
        self._commented(f"[[{name}]]" if repeated else f"[{name}]", why)

    def key(self, name: str, value: Any, why: str = "") -> None:
        self._commented(f"{name} = {toml(value)}", why)

    def names(self, name: str, entries: Sequence[tuple[Any, str]]) -> None:
        """A list with one entry a line, each with its reason."""
        if not entries:
            self.lines.append(f"{name} = []")
            return
        self.lines.append(f"{name} = [")
        for entry, why in entries:
            self._commented(f"    {toml(entry)},", why)
        self.lines.append("]")

    def left_out(self, entry: str, why: str) -> None:
        self._commented(f"# {toml(entry)}", why)

    def _commented(self, line: str, why: str) -> None:
        self.lines.append(f"{line:<{COLUMN - 1}} # {plain(why)}" if why else line)

    def __str__(self) -> str:
        return "\n".join(self.lines)


def toml(value: Any) -> str:
    """A value as TOML writes it: JSON, but for its escapes of what lies beyond 16 bits, and for tables.

    >>> toml(["a\\"b", 0.5, True]), toml({"x": 1})
    ('["a\\\\"b", 0.5, true]', '{x = 1}')
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
