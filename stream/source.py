"""The port through which messages come in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Partition(NamedTuple):
    """One ordered part of a topic."""

    topic: str
    name: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Where to go on in a partition, and how to know it again."""

    position: int  # of the next message
    fingerprint: str = ""  # of what lies before it, where the source can tell


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive raw messages of one partition, n of them."""

    partition: Partition
    positions: NDArray[np.int64]  # (n,): where each begins
    next_position: int
    messages: list[bytes]  # b"" is a tombstone
    broken: dict[int, str] = field(default_factory=dict)  # by index: why the source could not deliver it whole
    times: NDArray[np.int64] | None = None  # (n,): microseconds, as the source noted them, or INVALID


class SourceError(Exception):
    """The source can't be read as asked; the message says what to do."""


class Source(Protocol):
    """Ordered, replayable partitions of messages. Positions are the source's own, and rise."""

    def partitions(self) -> list[Partition]:
        """All partitions known by now, in order; a later call may show new ones."""

    def seek(self, marks: Mapping[Partition, Mark]) -> dict[Partition, int]:
        """Go on where the marks say, and return where that is: elsewhere only if a loss was accepted.

        Raises
        ------
        SourceError
            A partition is gone, is another one, or does not reach as far as its mark.
        """

    def poll(self, wanted: Collection[Partition], max_records: int) -> list[Batch]:
        """At most ``max_records`` messages of each wanted partition that has any."""

    def at_end(self, partition: Partition) -> bool:
        """Nothing was left to poll when the ends were looked at last: for ever, when they are fixed."""

    def looked_s(self) -> float:
        """When that was, in seconds of the monotonic clock; infinite where ``at_end`` looks itself."""

    def look_soon(self) -> None:
        """Somebody waits for what ``at_end`` will say."""

    def fingerprint(self, partition: Partition) -> str:
        """What a mark needs to know the partition again."""

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Take note that the store has all before these positions; nothing is ever read from that note."""

    def progress(self) -> float | None:
        """Share of what is there that has been polled, where that is known."""

    def close(self) -> None: ...
