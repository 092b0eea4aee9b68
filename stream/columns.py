"""From decoded fields to checked columns: times, ids, outcomes, weights, scores, words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import xxhash
from numpy.typing import NDArray

from stream.records import MICROSECONDS
from stream.schema import Category
from stream.timestamps import INVALID, Timestamp, to_microseconds, to_text

MAX_AHEAD_S = 600  # how far a time may lie past the clock
SEPARATOR = "\x1f"  # between the parts of an id of several fields

Reasons = dict[int, str]


def times(
    values: Iterable[Timestamp],
    count: int,
    name: str,
    reasons: Reasons,
    *,
    now_us: int,
    stamps: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Event times in microseconds; what is no time, or lies ahead of the clock, gets a reason.

    Where the source notes when a message was sent, that stamp is the clock, unless it is ahead itself.
    """
    time = to_microseconds(values, count)
    clock: NDArray[np.int64] = np.full(count, now_us)
    if stamps is not None:
        clock = np.where(stamps == INVALID, clock, np.minimum(stamps, clock))
    for index in np.flatnonzero((time == INVALID) | (time > clock + MAX_AHEAD_S * MICROSECONDS)).tolist():
        if time[index] == INVALID:
            reason = f"{name} is not a time: write RFC 3339 text, or seconds or milliseconds since 1970"
        else:
            whose = "this machine's clock" if clock[index] == now_us else "the message's timestamp"
            reason = f"{name} is {_ahead(int(time[index]), int(clock[index]))} of {whose}"
        reasons.setdefault(index, reason)
    return time


def stamped_times(stamps: NDArray[np.int64] | None, count: int, reasons: Reasons, *, now_us: int) -> NDArray[np.int64]:
    """The stamps of the source as event times; one that is missing, or lies ahead of the clock, gets a reason."""
    time: NDArray[np.int64] = np.full(count, INVALID) if stamps is None else stamps
    for index in np.flatnonzero((time == INVALID) | (time > now_us + MAX_AHEAD_S * MICROSECONDS)).tolist():
        if time[index] == INVALID:
            reason = "the message has no timestamp, and the config names no field of the time"
        else:
            reason = f"the message's timestamp is {_ahead(int(time[index]), now_us)} of this machine's clock"
        reasons.setdefault(index, reason)
    return time


def _ahead(time_us: int, clock_us: int) -> str:
    return f"{to_text(time_us)}, {_span((time_us - clock_us) / MICROSECONDS)} ahead"


def _span(seconds: float) -> str:
    for unit, length in (("years", 31_557_600), ("days", 86_400), ("hours", 3_600)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds / 60:,.0f} minutes"


def ids(
    parts: Sequence[Iterable[int | str | None]], count: int, names: Sequence[str], reasons: Reasons
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """The hashes of ids of one or several fields; one that is missing or empty gets a reason."""
    columns = [list(part) for part in parts]
    for name, column in zip(names, columns, strict=True):
        for bad, what in (("", "empty"), (None, "missing")):
            if bad in column:  # bad messages are blank as well, and have their reasons already
                for index, text in enumerate(column):
                    if text == bad:
                        reasons.setdefault(index, f"{name} is {what}")
    if len(columns) == 1:
        return hash_ids(iter(columns[0]), count)
    return hash_ids((SEPARATOR.join(map(str, row)) for row in zip(*columns, strict=True)), count)


def hash_ids(values: Iterable[int | str | None], count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """96 bits of the xxh3-128 of each id's text: (count,) of 64 and (count,) of 32; 7 and "7" are one id."""
    texts = list(values)
    try:
        encoded = list(map(str.encode, cast(list[str], texts)))
    except (TypeError, UnicodeEncodeError):
        encoded = [str(text).encode("utf-8", "surrogatepass") for text in texts]
    digests = np.frombuffer(b"".join(map(xxhash.xxh3_128_digest, encoded)), dtype="<u4").reshape(count, 4)
    key = digests[:, 0].astype(np.uint64) | (digests[:, 1].astype(np.uint64) << np.uint64(32))
    return key, digests[:, 2].copy()


def outcomes(values: Iterable[Any], count: int, name: str, reasons: Reasons) -> NDArray[np.int8]:
    """Labels that are true or false, 1 or 0; all others get a reason."""
    numbers = np.fromiter(values, np.float64, count)
    good = (numbers == 0.0) | (numbers == 1.0)
    for index in np.flatnonzero(~good).tolist():
        shown = "missing" if np.isnan(numbers[index]) else f"{numbers[index]:g}"
        reasons.setdefault(index, f"{name} is {shown}; a label is true or false, 1 or 0")
    return np.where(good, numbers, 0.0).astype(np.int8)


def outcomes_by_value(
    values: Iterable[Category], count: int, name: str, positive: Collection[Category], reasons: Reasons
) -> NDArray[np.int8]:
    """Labels that are positive where the value is among ``positive``; null gets a reason."""
    column = list(values)
    if None in column:
        for index, value in enumerate(column):
            if value is None:
                reasons.setdefault(index, f"{name} is missing; without a value there is no label")
    return np.fromiter(map(frozenset(positive).__contains__, column), np.int8, count)


def weights(values: Iterable[float | None], count: int, name: str, reasons: Reasons) -> NDArray[np.float32]:
    """Sample weights; null is 1, and what is negative or too large for float32 gets a reason."""
    column = np.fromiter(values, np.float64, count)
    column = np.where(np.isnan(column), 1.0, column)
    good = (column >= 0.0) & (column <= MAX_WEIGHT)
    for index in np.flatnonzero(~good).tolist():
        reasons.setdefault(index, f"{name} is {column[index]:g}; a weight lies between 0 and {MAX_WEIGHT:g}")
    return np.where(good, column, 0.0).astype(np.float32)


MAX_WEIGHT = 1e6


def scores(values: Iterable[float | None], count: int, name: str, reasons: Reasons) -> NDArray[np.float64]:
    """Probabilities of somebody else's model; what is none gets a reason."""
    column = np.fromiter(values, np.float64, count)
    good = (column >= 0.0) & (column <= 1.0)
    for index in np.flatnonzero(~good).tolist():
        shown = "missing" if np.isnan(column[index]) else f"{column[index]:g}"
        reasons.setdefault(index, f"{name} is {shown}; a score is a probability between 0 and 1")
    return np.where(good, column, 0.5)


def words(
    values: Iterable[list[str] | None], count: int, hashes: Mapping[Category, int], at_most: int
) -> NDArray[np.uint64]:
    """Hashes of lists of words, shape (count, at_most); 0 ends a list. More words than that are left out."""
    table = np.zeros((count, at_most), np.uint64)
    for row, listed in enumerate(values):
        for column, word in enumerate(listed[:at_most] if listed else ()):
            table[row, column] = hashes[word]
    return table
