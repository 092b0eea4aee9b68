"""The little that riverd asks of a Kafka client, and what every client has to mean by it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stream.source import Partition

NO_TIME = -1  # milliseconds: the message has no timestamp


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """Where the brokers are, and who we are to them."""

    bootstrap_servers: tuple[str, ...]
    group: str  # which is told how far we are; nothing is ever read from it
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the brokers describe it."""

    id: str  # a topic that was deleted and created anew has another one
    partitions: tuple[Partition, ...]


class Fetched(NamedTuple):
    """Consecutive messages of one partition, n of them."""

    partition: Partition
    offsets: NDArray[np.int64]
    times_ms: NDArray[np.int64]  # by the producer's or the broker's clock, or NO_TIME
    values: list[bytes]  # b"" is a tombstone
    appended: bool = False  # the times are the broker's, when it got them, not the producer's


class UnreachableError(Exception):
    """No broker answers now; the message says what was heard last."""


class OutOfRangeError(Exception):
    """The brokers no longer have, or never had, the offset that was asked for. Assign anew before fetching."""


class CorruptError(Exception):
    """What the brokers hold can't be read from here on. Assign anew, past it, before fetching.

    ``partition`` and ``batch``, the offset with which the unreadable batch begins, are None where the client
    does not say.
    """

    def __init__(self, reason: str, partition: Partition | None = None, batch: int | None = None) -> None:
        super().__init__(reason)
        self.partition = partition
        self.batch = batch


class KafkaClient(Protocol):
    """Reads committed messages of assigned partitions; never a member of a group.

    ``describe``, ``offsets`` and ``commit`` may be called from other threads; each waits a few seconds at most.
    They raise UnreachableError, or SourceError where access is denied.
    """

    def describe(self, topics: Collection[str]) -> dict[str, Topic]:
        """The topics among these that exist."""

    def offsets(self, partitions: Collection[Partition], which: Literal["first", "end"]) -> dict[Partition, int]:
        """The oldest offset there is, or the one after the last committed message."""

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Tell the group, for those who watch its lag."""

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Read these partitions from these offsets on, and no others; none is paused."""

    def pause(self, partitions: Collection[Partition]) -> None:
        """Fetch no more of these for now."""

    def resume(self, positions: Mapping[Partition, int]) -> None:
        """Go on with these paused ones where they stood."""

    def fetch(self, wait_s: float, at_most: int) -> list[Fetched]:
        """What has come, waiting so long for a first message.

        A broker that can't be reached has nothing; it is connected to again without being asked.

        Raises
        ------
        OutOfRangeError, CorruptError, SourceError
            Only once there is nothing more to return before it.
        """

    def position(self, partition: Partition) -> int:
        """The next offset that would be fetched: behind all that readers never see."""

    def close(self) -> None: ...
