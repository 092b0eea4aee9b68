"""Which fields of a sample are the time and the id of its messages."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from riverd.errors import RiverdError
from riverd.screen.notation import moment, share
from riverd.start.sample import Column, Sample, valid
from stream.records import MICROSECONDS

EARLIEST_US = 946_684_800 * MICROSECONDS  # the year 2000: what lies before is hardly epoch seconds
TIME_NAMES = re.compile(r"(^|[._])(ts|ts_ms|date|at|when|created)$|time", re.IGNORECASE)
ID_NAMES = re.compile(r"(^|[._])(id|uuid|guid|key)$|_id$|Id$", re.IGNORECASE)
PRESENT = 0.98  # of the messages must have a time, an id
UNIQUE = 0.98  # of the distinct messages


@dataclass(frozen=True, slots=True)
class Guess:
    """A field, and why it was taken."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Ids:
    """The fields that are an id together, mostly one, and why they were taken."""

    paths: tuple[str, ...]
    why: str

    @property
    def value(self) -> str | list[str]:
        """As the config has it."""
        return self.paths[0] if len(self.paths) == 1 else list(self.paths)


def guess_time(sample: Sample, *, now_us: int) -> Guess:
    """The field that holds the event time: a plausible time in every message, in order as far as can be.

    Raises
    ------
    RiverdError
        There is none.
    """
    found: list[tuple[tuple[float, ...], str, str]] = []
    wrong_unit: list[str] = []
    for path, column in sample.columns.items():
        if sample.unusable(path) or len(column.present) < PRESENT * len(sample) or column.holds(bool):
            continue
        if column.holds(int) and min(column.present) > 1e14:
            wrong_unit.append(path)
            continue
        if column.holds(int, float) and min(column.present) * MICROSECONDS < EARLIEST_US:
            continue
        times = sample.times(path)
        good = times[valid(times)]
        as_text = column.holds(str)
        if len(good) < PRESENT * len(sample) or good.min() < EARLIEST_US or good.max() > now_us + 600 * MICROSECONDS:
            continue
        if len(good) > 1 and good.min() == good.max():
            continue
        in_order = float(np.mean(np.diff(good) >= 0)) if len(good) > 1 else 1.0
        named = bool(TIME_NAMES.search(path))
        if not as_text and not named and in_order < 0.9:
            continue  # a number that could be seconds is likelier a number
        kind = "RFC 3339" if as_text else "epoch milliseconds" if good.max() == max(column.present) * 1000 else "epoch"
        why = f"{kind}, {moment(int(good.min()))} to {moment(int(good.max()))}"
        why += ", in order" if in_order == 1 else f", {share(in_order)} in order"
        found.append(((round(in_order, 2), as_text or named, named, -path.count(".")), path, why))
    if not found:
        hint = (
            f"{wrong_unit[0]} looks like microseconds or nanoseconds: write milliseconds, or RFC 3339 text"
            if wrong_unit
            else 'Give each message a time, such as "time": "2026-01-31T12:00:00Z", or seconds since 1970'
        )
        raise RiverdError(f"{sample.path}: no field holds a time in every message.\n  {hint}.")
    _, path, why = max(found, key=lambda entry: entry[0])
    others = [other for _, other, _ in found if other != path]
    return Guess(path, why + (f"; {some(others)} hold{'s' if len(others) == 1 else ''} times too" if others else ""))


def guess_id(sample: Sample, taken: Collection[str]) -> Ids | None:
    """A field that tells events apart, where nothing has to find them again."""
    named = ((path, column) for path, column in identifying(sample, taken) if ID_NAMES.search(path))
    path, column = next(named, (None, None))
    return Ids((path,), uniqueness(column)) if path is not None and column is not None else None


def identifying(sample: Sample, taken: Collection[str], unique: float = UNIQUE) -> Iterable[tuple[str, Column]]:
    """Fields that tell messages apart."""
    for path, column in could_identify(sample, taken):
        present = column.present
        if len(set(present)) >= unique * len(present):
            yield path, column


def could_identify(sample: Sample, taken: Collection[str]) -> Iterable[tuple[str, Column]]:
    """Fields that could be the id or a part of it: whole numbers or text in nearly every message."""
    for path, column in sample.columns.items():
        if path in taken or sample.unusable(path) or not (column.holds(int) or column.holds(str)):
            continue
        if len(column.present) >= PRESENT * len(sample):
            yield path, column


def uniqueness(column: Column) -> str:
    present = column.present
    distinct = len(set(present)) / len(present)
    return "unique" if distinct == 1 else f"{share(distinct)} unique"


def some(names: Collection[str]) -> str:
    first = list(names)[:3]
    return ", ".join(first) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
