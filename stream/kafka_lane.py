"""What is held of one Kafka partition between the client and the engine."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream.kafka_client import NO_TIME, Fetched
from stream.source import Batch, Partition
from stream.timestamps import INVALID

HELD_RECORDS = 16_384  # with more it is paused,
HELD_BYTES = 1 << 25  # or with more than that, until a quarter is left
MOST_MS = 1 << 53  # a time beyond it has no microseconds in 64 bits
KEPT_BYTES = 1 << 16  # of a message that is too long


@dataclass(frozen=True, slots=True)
class _Held:
    """What was fetched at once, n messages, of which some may be broken."""

    fetched: Fetched
    bytes_before: NDArray[np.int64]  # (n + 1,): bytes of the messages before each, and of all
    broken: dict[int, str]  # by index


@dataclass(slots=True)
class Lane:
    """The messages that were fetched and not handed out yet, and where the partition stands."""

    begin: int  # the oldest offset when it was first seen
    fetched: int  # the offset that is fetched next
    end: int  # the one behind the last message there is, or is wanted
    fixed: bool  # the end does not move
    records: int = 0
    bytes: int = 0
    paused: bool = False
    stood_at: int = -1  # where it stood when Kafka was last looked at,
    stood_s: float = 0.0  # and for how long, with more to fetch
    _held: deque[_Held] = field(default_factory=deque)
    _taken: int = 0  # of the first of them

    @property
    def done(self) -> bool:
        """All that is wanted has been fetched."""
        return self.fixed and self.fetched >= self.end

    @property
    def full(self) -> bool:
        return self.records > HELD_RECORDS or self.bytes > HELD_BYTES

    @property
    def drained(self) -> bool:
        return self.records <= HELD_RECORDS // 4 and self.bytes <= HELD_BYTES // 4

    def hold(self, fetched: Fetched, *, max_message_bytes: int) -> None:
        """Take what was fetched, up to the fixed end; of messages that are too long, the beginning."""
        partition, offsets, times_ms, values, appended = fetched
        self.fetched = int(offsets[-1]) + 1
        count = int(np.searchsorted(offsets, self.end)) if self.fixed else len(values)
        if not count:
            return
        offsets, times_ms, values = offsets[:count], times_ms[:count], values[:count]
        lengths = np.fromiter(map(len, values), np.int64, count)
        broken: dict[int, str] = {}
        for index in np.flatnonzero(lengths > max_message_bytes).tolist():
            broken[index] = (
                f"the message has {lengths[index]:,} bytes, more than max_message_bytes = {max_message_bytes:,}"
            )
            values[index] = values[index][: min(KEPT_BYTES, max_message_bytes)]
            lengths[index] = len(values[index])
        self._append(Fetched(partition, offsets, times_ms, values, appended), lengths, broken)

    def pass_over(self, partition: Partition, behind: int, reason: str) -> None:
        """Stand behind what can't be read, with one broken message in its place."""
        offsets, times_ms = np.array([self.fetched], np.int64), np.array([NO_TIME], np.int64)
        self._append(Fetched(partition, offsets, times_ms, [b""]), np.zeros(1, np.int64), {0: reason})
        self.fetched = behind

    def _append(self, fetched: Fetched, lengths: NDArray[np.int64], broken: dict[int, str]) -> None:
        bytes_before = np.concatenate([[0], np.cumsum(lengths)])
        self._held.append(_Held(fetched, bytes_before, broken))
        self.records += len(lengths)
        self.bytes += int(bytes_before[-1])

    def take(self, at_most: int) -> Batch | None:
        """At most so many messages, if there are any."""
        if not self._held:
            return None
        held = self._held[0]
        partition, offsets, times_ms, values, _ = held.fetched
        start, stop = self._taken, min(self._taken + at_most, len(values))
        reasons = {index - start: reason for index, reason in held.broken.items() if start <= index < stop}
        offsets, times_ms = offsets[start:stop], times_ms[start:stop]
        self.records -= stop - start
        self.bytes -= int(held.bytes_before[stop] - held.bytes_before[start])
        self._taken = stop
        if stop == len(values):
            self._held.popleft()
            self._taken = 0
        known = (times_ms != NO_TIME) & (np.abs(times_ms) < MOST_MS)
        times = np.where(known, times_ms * 1000, INVALID)
        return Batch(partition, offsets, int(offsets[-1]) + 1, values[start:stop], reasons, times)
