"""``riverd import``: files of all kinds become a topic of JSON lines."""

from __future__ import annotations

import json
import os
import re
import shutil
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from riverd.errors import RiverdError
from riverd.screen.notation import count, volume
from riverd.start.tabular import messages_of, stem
from stream.messages import split_path
from stream.timestamps import INVALID, Timestamp, to_microseconds


@dataclass(frozen=True, slots=True)
class Imported:
    """One partition that was written."""

    source: Path
    path: Path
    messages: int
    bytes: int
    sorted: bool  # they had to be put in order


def import_topic(files: Sequence[Path], topic: Path, *, sort: str | None = None) -> list[Imported]:
    """Write each file as a partition of the topic's folder; all or none of it appears.

    Parameters
    ----------
    files
        JSON lines, a JSON array, CSV, TSV or Parquet; all but Parquet also as ``.gz`` or ``.zst``.
    topic
        The folder of the topic, made if need be.
    sort
        The time field by which to put each partition in order. Equal times keep their order, and messages
        without a time come first.

    Raises
    ------
    RiverdError
        A file can't be read, or its partition is there already: a partition only grows.
    """
    targets = [topic / f"{stem(file)}.jsonl" for file in files]
    for file, target in zip(files, targets, strict=True):
        if target.exists():
            raise RiverdError(
                f"{target} exists already, and a partition only grows: {file} was not imported.\n"
                f"  Give the file another name, import under another --topic, or remove {target} first."
            )
        if targets.count(target) > 1:
            raise RiverdError(f"two files would both become {target}.\n  Rename one of them.")
    topic.mkdir(parents=True, exist_ok=True)
    parts: list[tuple[Path, Imported]] = []
    try:
        for file, target in zip(files, targets, strict=True):
            part = target.with_name(f".{target.name}.part")  # a tailing riverd does not look at it
            parts.append((part, _nothing(file, target)))
            parts[-1] = part, _write(file, target, part, sort)
        for part, imported in parts:
            part.rename(imported.path)
    finally:
        for part, _ in parts:
            part.unlink(missing_ok=True)
    return [imported for _, imported in parts]


def _nothing(file: Path, target: Path) -> Imported:
    return Imported(file, target, 0, 0, sorted=False)


def _write(file: Path, target: Path, part: Path, sort: str | None) -> Imported:
    lengths, times = array("q"), array("q")
    time_of = TimeOf(sort) if sort is not None else None
    in_order, last = True, INVALID
    with _durable(part) as out:
        for message in messages_of(file):
            out.write(message)
            out.write(b"\n")
            lengths.append(len(message) + 1)
            if time_of is not None:
                time = time_of(message)
                times.append(time)
                in_order = in_order and time >= last
                last = time
    if not lengths:
        raise RiverdError(f"{file} holds no messages.\n  Check that it is the right file.")
    if time_of is not None and max(times) == INVALID:
        raise RiverdError(
            f"{file}: no message has a time in {sort!r}, so it can't be sorted by it.\n  {time_of.hint()}"
        )
    if not in_order:
        _sort(part, np.array(lengths), np.array(times))
    return Imported(file, target, len(lengths), part.stat().st_size, sorted=not in_order)


def _sort(part: Path, lengths: np.ndarray[Any, Any], times: np.ndarray[Any, Any]) -> None:
    """Put the lines in order of time, of which only places and lengths are held in memory."""
    starts = np.cumsum(lengths) - lengths
    in_order = part.with_name(f"{part.name}.sorted")
    try:
        with part.open("rb") as lines, _durable(in_order) as out:
            for index in np.argsort(times, kind="stable").tolist():
                lines.seek(starts[index])
                out.write(lines.read(lengths[index]))
        in_order.replace(part)
    finally:
        in_order.unlink(missing_ok=True)


@contextmanager
def _durable(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("wb", buffering=1 << 20) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        free = shutil.disk_usage(path.parent).free
        raise RiverdError(
            f"{path} can't be written: {error.strerror} ({free / 1e6:,.0f} MB free).\n"
            "  Free some space, or import to another folder (--to)."
        ) from None


class TimeOf:
    """Reads the event time off a message, as the decoder would."""

    def __init__(self, field: str) -> None:
        self._keys = split_path(field)
        self._decode = msgspec.json.Decoder().decode
        self._seen: set[str] = set()

    def __call__(self, message: bytes) -> int:
        try:
            value = self._decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return INVALID
        if isinstance(value, dict) and len(self._seen) < 20:
            self._seen.update(map(str, value))
        for key in self._keys:
            value = value.get(key) if isinstance(value, dict) else None
        return time_us(value)

    def hint(self) -> str:
        return f"Its fields are: {', '.join(sorted(self._seen)) or 'none'}."


def time_us(value: Any) -> int:
    """Microseconds of a decoded JSON value, or ``INVALID`` where it is no time to riverd.

    >>> time_us("2013-01-01T00:00:00Z"), time_us(1_356_998_400), time_us("soon") == INVALID
    (1356998400000000, 1356998400000000, True)
    """
    return int(to_microseconds([timestamp(value)], 1)[0])


def timestamp(value: Any) -> Timestamp:
    """A decoded JSON value as the decoder would take it for a time, or None where it would not."""
    if isinstance(value, str):
        try:
            return msgspec.convert(value, datetime)
        except msgspec.ValidationError:
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def import_files(files: Sequence[Path], topic: str, *, to: Path, sort: str | None, as_json: bool) -> int:
    """Import files into ``to/topic`` and say what came of it."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", topic):
        raise RiverdError(f"--topic {topic!r} is not a name.\n  Use letters, digits, dots, dashes and underscores.")
    imported = import_topic(files, to / topic, sort=sort)
    if as_json:
        keys = [{"path": str(f.path), "messages": f.messages, "bytes": f.bytes, "sorted": f.sorted} for f in imported]
        print(json.dumps({"topic": topic, "imported": keys}))
        return 0
    for file in imported:
        order = f", put in order of {sort}" if file.sorted else ""
        print(f"Imported {file.source} as {file.path}: {count(file.messages)} messages, {volume(file.bytes)}{order}.")
    return 0
