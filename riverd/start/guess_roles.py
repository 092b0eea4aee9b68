"""Which fields of a sample are the time, the id and the label, and how labels find their events."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from riverd.errors import RiverdError
from riverd.screen.notation import moment, share
from riverd.start.sample import Column, Sample, valid
from stream.records import MICROSECONDS

EARLIEST_US = 946_684_800 * MICROSECONDS  # the year 2000: what lies before is hardly epoch seconds
TIME_NAMES = re.compile(r"(^|[._])(ts|ts_ms|date|at|when|created)$|time", re.IGNORECASE)
ID_NAMES = re.compile(r"(^|[._])(id|uuid|guid|key)$|_id$|Id$", re.IGNORECASE)
LABEL_NAMES = re.compile(
    r"(^|[._])(label|y|target|outcome|class|late|clicked|click|converted|conversion|churned|churn|fraud|fraudulent|"
    r"default|defaulted|paid|purchased|positive|spam|success|is_\w+)$",
    re.IGNORECASE,
)
UNIQUE = 0.98  # of the distinct messages
MATCHED = 0.5  # of the labels must find an event


@dataclass(frozen=True, slots=True)
class Guess:
    """A field, and why it was taken."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Join:
    """How labels find their events, and when they come."""

    event_id: Guess
    label_id: Guess
    delay_us: NDArray[np.int64]  # of each label that found its event, (d,)
    label: NDArray[np.int64]  # (d,): which label that is
    event: NDArray[np.int64]  # (len(label sample),): the event of each label, -1 if it has none
    matched: float  # share of the labels


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
        if sample.is_envelope(path) or len(column.present) < 0.98 * len(sample) or column.holds(bool):
            continue
        if column.holds(int) and min(column.present) > 1e14:
            wrong_unit.append(path)
            continue
        times = sample.times(path)
        good = times[valid(times)]
        as_text = column.holds(str)
        if len(good) < 0.98 * len(sample) or good.min() < EARLIEST_US or good.max() > now_us + 600 * MICROSECONDS:
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
    return Guess(path, why + (f"; {_some(others)} hold{'s' if len(others) == 1 else ''} times too" if others else ""))


def guess_join(events: Sample, labels: Sample, event_time: str, label_time: str) -> Join:
    """The pair of fields by which labels find their events.

    Raises
    ------
    RiverdError
        No pair matches half of the labels.
    """
    best: tuple[tuple[float, ...], Join] | None = None
    event_times, label_times = events.times(event_time), labels.times(label_time)
    tried: list[str] = []
    for event_path, column in _identifying(events, {event_time}):
        places = _first_places(column)
        tried.append(event_path)
        for label_path, candidate in _identifying(labels, {label_time}, unique=0.3):
            event = np.fromiter((places.get(str(value), -1) for value in candidate.values), np.int64, len(labels))
            matched = float(np.mean(event >= 0))
            if matched < MATCHED:
                continue
            pairs = (event >= 0) & valid(label_times)
            pairs[pairs] &= valid(event_times[event[pairs]])
            delay_us = label_times[pairs] - event_times[event[pairs]]
            forward = float(np.mean(delay_us >= 0)) if len(delay_us) else 0.0
            spread = float(np.subtract(*np.quantile(delay_us, (0.9, 0.1)))) if len(delay_us) else np.inf
            same = event_path.rpartition(".")[2] == label_path.rpartition(".")[2]
            named = bool(ID_NAMES.search(event_path)) + bool(ID_NAMES.search(label_path))
            rank = (round(matched, 1), round(forward, 1), named, same, -spread, -event_path.count("."))
            join = Join(
                Guess(event_path, f"{_uniqueness(column)}; {share(matched)} of the labels find their event by it"),
                Guess(label_path, f"equals the event's {event_path}"),
                delay_us,
                np.flatnonzero(pairs),
                event,
                matched,
            )
            if best is None or rank > best[0]:
                best = rank, join
    if best is None:
        raise RiverdError(
            f"{labels.path}: no field of it equals an id of {events.path}"
            f" (tried {_some(tried) if tried else 'nothing: no field of the events is unique'}).\n"
            "  Each label must carry the id of its event. Check that both files are of the same time."
        )
    return best[1]


def guess_id(sample: Sample, taken: Collection[str]) -> Guess | None:
    """A field that tells events apart, where nothing has to find them again."""
    found = [(bool(ID_NAMES.search(path)), path, column) for path, column in _identifying(sample, taken)]
    found = [entry for entry in found if entry[0]]
    return Guess(found[0][1], _uniqueness(found[0][2])) if found else None


def guess_label(sample: Sample, taken: Collection[str], *, wanted: str | None, in_events: bool) -> Guess | None:
    """The field that holds the label, or None where a label has none and means positive.

    Raises
    ------
    RiverdError
        The wanted field is none, or there are several and none was chosen.
    """
    if wanted is not None:
        column = sample.columns.get(wanted)
        if column is None:
            raise RiverdError(f"--label {wanted}: {sample.path} has no such field.\n  {_listed(sample.columns)}")
        if not column.is_binary:
            seen = ", ".join(repr(value) for value in list(dict.fromkeys(column.present))[:4]) or "nothing"
            raise RiverdError(
                f"--label {wanted} holds {seen}; a label is true or false, 1 or 0.\n"
                "  Choose another field, or convert it."
            )
        return Guess(wanted, f"chosen with --label; {_rate(column)}")
    binary = [
        path
        for path, column in sample.columns.items()
        if path not in taken
        and column.is_binary
        and not sample.is_envelope(path)
        and len(column.present) >= len(sample) / 2
    ]
    by_name = [path for path in binary if LABEL_NAMES.search(path)]
    boolean = [path for path in binary if sample.columns[path].holds(bool)]
    if in_events:
        chosen, why = (by_name, "its name says so") if by_name else (boolean, "the only true or false")
        if len(chosen) == 1:
            return Guess(chosen[0], f"{why}; {_rate(sample.columns[chosen[0]])}")
    else:
        candidates = by_name if len(by_name) == 1 else boolean if len(boolean) == 1 else binary
        if len(candidates) <= 1:
            return Guess(candidates[0], _rate(sample.columns[candidates[0]])) if candidates else None
    candidates = by_name or boolean or binary
    if not candidates:
        raise RiverdError(
            f"{sample.path}: no field holds a label, true or false, 1 or 0.\n"
            "  If labels come on a topic of their own, add --labels FILE; if in the event, convert them."
        )
    lines = "\n".join(f"    --label {path:<24} {_rate(sample.columns[path])}" for path in candidates[:12])
    raise RiverdError(f"{sample.path}: several fields could be the label.\n  Choose the one to predict:\n{lines}")


def _identifying(sample: Sample, taken: Collection[str], unique: float = UNIQUE) -> Iterable[tuple[str, Column]]:
    """Fields that tell messages apart."""
    for path, column in sample.columns.items():
        if path in taken or sample.is_envelope(path) or not (column.holds(int) or column.holds(str)):
            continue
        present = column.present
        if len(present) >= 0.98 * len(sample) and len(set(present)) >= unique * len(present):
            yield path, column


def _first_places(column: Column) -> dict[str, int]:
    places: dict[str, int] = {}
    for place, value in enumerate(column.values):
        if value is not None:
            places.setdefault(str(value), place)
    return places


def _uniqueness(column: Column) -> str:
    present = column.present
    distinct = len(set(present)) / len(present)
    return "unique" if distinct == 1 else f"{share(distinct)} unique"


def _rate(column: Column) -> str:
    present = column.present
    return f"{share(sum(map(bool, present)) / len(present))} of {len(present):,} are positive"


def _some(names: Collection[str]) -> str:
    first = list(names)[:3]
    return ", ".join(first) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _listed(names: Collection[str]) -> str:
    return f"Its fields are: {', '.join(sorted(names))}."
