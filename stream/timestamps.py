"""Event times as they are written in messages, to microseconds since 1970."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

Timestamp = int | float | datetime | None

INVALID = np.iinfo(np.int64).min  # no usable time
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
LAST_SECOND = 1e11  # a number up to here is seconds (year 5138), above it milliseconds
LAST_MILLISECOND = 1e14


def to_microseconds(times: Sequence[Timestamp] | Iterable[Timestamp], count: int) -> NDArray[np.int64]:
    """Times of shape (count,): numbers are epoch seconds, or milliseconds above 1e11; datetimes without
    a zone are UTC. What is missing, negative or beyond reason is ``INVALID``.

    >>> to_microseconds([1.5, 1_700_000_000_000, datetime(2013, 1, 1), None, -1], 5).tolist()
    [1500000, 1700000000000000, 1356998400000000, -9223372036854775808, -9223372036854775808]
    """
    times = times if isinstance(times, tuple) else list(times)
    try:
        seconds = np.fromiter(times, np.float64, count)
    except (TypeError, OverflowError):  # a datetime, null, or an integer beyond float64
        return np.fromiter(map(_one, times), np.int64, count)
    valid = (seconds >= 0.0) & (seconds < LAST_MILLISECOND)
    scaled = np.rint(np.where(valid, seconds, 0.0) * np.where(seconds < LAST_SECOND, 1e6, 1e3)).astype(np.int64)
    return np.where(valid, scaled, INVALID)


def _one(time: Timestamp) -> int:
    if time is None:
        return INVALID
    if isinstance(time, datetime):
        since_us = ((time if time.tzinfo else time.replace(tzinfo=UTC)) - EPOCH) // MICROSECOND
        return since_us if 0 <= since_us < LAST_MILLISECOND * 1000 else INVALID
    return int(to_microseconds([time], 1)[0]) if 0 <= time < LAST_MILLISECOND else INVALID


def to_text(microseconds: int) -> str:
    """The RFC 3339 text of a time, in UTC.

    >>> to_text(1_356_998_400_000_000)
    '2013-01-01T00:00:00Z'
    """
    return (EPOCH + timedelta(microseconds=microseconds)).isoformat().replace("+00:00", "Z")
