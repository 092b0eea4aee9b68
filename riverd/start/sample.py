"""A sample of a topic, taken apart into columns: what ``riverd init`` looks at."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from riverd.config_sections import Source
from riverd.errors import RiverdError
from riverd.screen.notation import plain, volume
from riverd.start.importing import timestamp
from riverd.start.tabular import messages_of
from stream.compression import stem_of
from stream.messages import split_path
from stream.timestamps import INVALID, to_microseconds

MAX_DEPTH = 6
MAX_FIELDS = 500
MESSAGE_BYTES = Source().max_message_bytes  # a longer message is a dead letter
SAMPLE_BYTES = 1 << 28
ENVELOPE = re.compile(r"(^|\.)(before|schema|source|transaction)\.")
DOT = re.compile(r"(?<!\\)\.")  # between two keys, not within one
UNREADABLE = re.compile(r'["\x00-\x1f]|\\(?!\.)')  # in keys, by the decoders
LONGEST_NAME = 200
SCALARS = (bool, int, float, str)


@dataclass
class Column:
    """The values of one field, by message: None where it is null or missing."""

    path: str
    values: list[Any]
    lists: int = 0  # how many were lists, which no value stands for
    words: int = 0  # of them, lists of text

    @cached_property
    def present(self) -> list[Any]:
        return [value for value in self.values if value is not None]

    @cached_property
    def _kinds(self) -> set[type]:
        return set(map(type, self.present))

    def holds(self, *kinds: type) -> bool:
        """It has values, and all of exactly these types: a boolean is no integer here."""
        return bool(self._kinds) and self._kinds.issubset(kinds)

    @property
    def is_binary(self) -> bool:
        """Every value is one of two, as a label's is: true and false, or 1 and 0."""
        return self.holds(bool, int, float) and all(value in (0, 1) for value in self.present)


@dataclass
class Sample:
    """Messages of a topic, and their scalar fields by dotted path."""

    path: Path
    messages: list[bytes]
    columns: dict[str, Column]
    bad: int  # messages that are no JSON objects
    too_long: int  # messages that are neither in the columns nor in ``messages``
    repeated: int  # messages that had come before, byte for byte; they are not in the columns
    whole: bool  # the file holds no more than this

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())).values) if self.columns else 0

    @cached_property
    def envelope(self) -> str | None:
        """The standard by which the messages are wrapped, if they are by one."""
        tops = {path.rpartition(".")[0] for path in self.columns if path.rpartition(".")[2] == "op"}
        if any(path.startswith(f"{top}.after." if top else "after.") for top in tops for path in self.columns):
            return "Debezium"
        if "specversion" in self.columns and any(path.startswith("data.") for path in self.columns):
            return "CloudEvents"
        return None

    def unusable(self, path: str) -> str | None:
        """Why a field can be nothing to the config, if so."""
        if self.envelope == "Debezium" and ENVELOPE.search(path):
            return "part of the envelope"  # it tells of the message's travel, or of a row before it was changed
        if UNREADABLE.search(path) or not all(split_path(path)) or len(path) > LONGEST_NAME:
            return "its name is empty, too long, or has a quote, a backslash or a control character"
        if path in self._mixed:
            return "sometimes an object"
        if self._mixed.intersection(path[: dot.start()] for dot in DOT.finditer(path)):
            return "in what is not always an object"
        return None

    @cached_property
    def _mixed(self) -> set[str]:
        """Fields that are an object in some messages, and something else in others."""
        objects = {path[: dot.start()] for path in self.columns for dot in DOT.finditer(path)}
        return {path for path in objects & set(self.columns) if self.columns[path].present or self.columns[path].lists}

    def times(self, path: str) -> NDArray[np.int64]:
        """The values of a field as microseconds, ``INVALID`` where it is no time."""
        found = self._times.get(path)
        if found is None:
            values = list(map(timestamp, self.columns[path].values))
            found = self._times[path] = to_microseconds(values, len(values))
        return found

    @cached_property
    def _times(self) -> dict[str, NDArray[np.int64]]:
        return {}


def read_sample(path: Path, *, at_most: int) -> Sample:
    """Read the beginning of a file, or of all files of a folder, whatever kind they are.

    Raises
    ------
    RiverdError
        It can't be read, or holds no JSON objects.
    """
    messages, too_long, whole = _beginning(path, at_most)
    rows: list[dict[str, Any]] = []
    seen: set[bytes] = set()
    decode = msgspec.json.Decoder().decode
    bad = 0
    for message in messages:
        if message in seen:
            continue
        seen.add(message)
        try:
            value = decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            value = None
        if isinstance(value, dict):
            rows.append(dict(islice(scalars(value), MAX_FIELDS)))
        else:
            bad += 1
    if not rows:
        begins = plain(messages[0][:40].decode("utf-8", "replace"))
        raise RiverdError(
            f"{path}: none of {len(messages):,} messages is a JSON object; the first begins {begins!r}.\n"
            '  Write one object a line, such as {"id": 1, "time": "2026-01-31T12:00:00Z", "amount": 9.5}.'
        )
    repeated = len(messages) - len(seen)
    return Sample(path, messages, _columns(rows), bad, too_long, repeated, whole)


def _beginning(path: Path, at_most: int) -> tuple[list[bytes], int, bool]:
    """Messages, how many were too long, and whether that is all."""
    messages: list[bytes] = []
    size = too_long = 0
    for message in _messages(path):
        if len(messages) + too_long == at_most or size > SAMPLE_BYTES:
            return messages, too_long, False
        if len(message) > MESSAGE_BYTES:
            too_long += 1
        else:
            messages.append(message)
            size += len(message)
    if too_long and not messages:
        raise RiverdError(
            f"{path}: every message is longer than {volume(MESSAGE_BYTES)}, the most that riverd takes of one.\n"
            "  Write one message a line; see whether newlines are missing."
        )
    if not messages:
        raise RiverdError(f"{path} holds no messages.\n  Check that it is the right {_noun(path)}.")
    return messages, too_long, True


def _noun(path: Path) -> str:
    return "folder, with files *.jsonl, *.jsonl.gz or *.jsonl.zst in it" if path.is_dir() else "file"


def _messages(path: Path) -> Iterator[bytes]:
    files = sorted(file for file in path.iterdir() if stem_of(file)) if path.is_dir() else [path]
    for file in files:
        yield from messages_of(file)


def scalars(value: Mapping[str, Any], above: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The fields of an object and of the objects in it, as the config names them, with their values."""
    for key, item in value.items():
        path = above + key.replace(".", "\\.")
        if isinstance(item, dict):
            if depth < MAX_DEPTH:
                yield from scalars(item, f"{path}.", depth + 1)
        elif item is None or isinstance(item, SCALARS):
            yield path, item
        else:
            yield path, _List(item)


@dataclass(frozen=True, slots=True)
class _List:
    items: list[Any] = field(compare=False)


def _columns(rows: list[dict[str, Any]]) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for i, row in enumerate(rows):
        for path, value in row.items():
            column = columns.get(path)
            if column is None:
                if len(columns) >= MAX_FIELDS:
                    continue
                column = columns[path] = Column(path, [None] * len(rows))
            if isinstance(value, _List):
                column.lists += 1
                column.words += all(isinstance(item, str) for item in value.items)
            else:
                column.values[i] = value
    return columns


def valid(times: NDArray[np.int64]) -> NDArray[np.bool_]:
    return times != INVALID
