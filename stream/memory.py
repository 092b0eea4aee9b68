"""Topics in memory, for tests and for data that is there already."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import inf

import numpy as np

from stream.source import Batch, Mark, Partition


class MemorySource:
    """Partitions as lists of messages; a position is an index.

    Parameters
    ----------
    topics
        The messages of each partition. Lists may grow while the source is read, unless ``bounded``.
    bounded
        The lengths of now are the ends.
    """

    def __init__(self, topics: Mapping[Partition, Sequence[bytes]], *, bounded: bool = True) -> None:
        self._topics = topics
        self._positions = dict.fromkeys(topics, 0)
        self._ends = {partition: len(messages) for partition, messages in topics.items()} if bounded else None

    def partitions(self) -> list[Partition]:
        return sorted(self._topics if self._ends is None else self._ends)

    def seek(self, marks: Mapping[Partition, Mark]) -> dict[Partition, int]:
        positions = {partition: mark.position for partition, mark in marks.items()}
        self._positions |= positions
        return positions

    def poll(self, wanted: Collection[Partition], max_records: int) -> list[Batch]:
        batches = []
        for partition in sorted(wanted):
            start = self._positions.setdefault(partition, 0)
            stop = min(start + max_records, self._end(partition))
            if stop > start:
                positions = np.arange(start, stop, dtype=np.int64)
                batches.append(Batch(partition, positions, stop, list(self._topics[partition][start:stop])))
                self._positions[partition] = stop
        return batches

    def at_end(self, partition: Partition) -> bool:
        return self._positions.setdefault(partition, 0) >= self._end(partition)

    def looked_s(self) -> float:
        return inf

    def look_soon(self) -> None:
        pass

    def fingerprint(self, partition: Partition) -> str:  # noqa: ARG002 - a list is never another one
        return ""

    def commit(self, positions: Mapping[Partition, int]) -> None:
        pass

    def progress(self) -> float | None:
        total = sum(self._end(partition) for partition in self.partitions())
        return sum(self._positions.values()) / total if total else None

    def close(self) -> None:
        pass

    def _end(self, partition: Partition) -> int:
        return self._ends[partition] if self._ends is not None else len(self._topics[partition])
