"""One order for all partitions: by time, labels before events, then topic, partition and position.

A record is released once no record that would come before it can still arrive, so the order does not depend
on how the partitions were polled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream.decoding import Chunk
from stream.records import SOUND, Events, Labels
from stream.source import Partition

LABEL, EVENT = 0, 1  # in the order in which equal times are released
BEGINNING = np.iinfo(np.int64).min
END = np.iinfo(np.int64).max

Columns = TypeVar("Columns", bound=Events | Labels)


class Ordered(NamedTuple):
    """Released records in merged order, m of them, as references into columns."""

    events: Events
    labels: Labels
    kind: NDArray[np.uint8]  # (m,): LABEL or EVENT
    record: NDArray[np.int64]  # (m,): index into labels or events
    watermark: int  # all before it has been released


@dataclass(slots=True)
class Lane:
    """What the merger holds of one partition."""

    partition: Partition
    kind: int
    number: int  # stands for the partition in the columns
    last_order: int = BEGINNING  # of the last record that was taken in
    released_order: int = BEGINNING
    released_position: int = 0
    fetched_position: int = 0
    chunks: list[Chunk] = field(default_factory=list)  # not all released yet
    columns: Events | Labels | None = None  # the records not released yet
    live: bool = True  # more may come, so it holds the others back
    closed: bool = False  # it has passed the end of the stretch that is wanted

    def __len__(self) -> int:
        return 0 if self.columns is None else len(self.columns.order)


class Merger:
    """Merges partitions into one stream of records.

    Parameters
    ----------
    events_empty, labels_empty
        Columns without records, which give the shapes.
    """

    def __init__(self, *, events_empty: Events, labels_empty: Labels) -> None:
        self._events_empty = events_empty
        self._labels_empty = labels_empty
        self.lanes: dict[Partition, Lane] = {}
        self.watermark = BEGINNING
        self.settled = END  # up to here nothing can come any more from lanes that are not live
        self._from, self._to = BEGINNING, END
        self._excluded: dict[int, list[tuple[int, int]]] = {}  # by kind of record
        self._behind: list[list[Chunk]] = []  # by lane: the messages behind what was released last

    def add(self, partition: Partition, *, kind: int, position: int = 0, order: int = BEGINNING) -> Lane:
        """Take a partition in, to go on at ``position`` after a record of time ``order``."""
        lane = Lane(partition, kind, len(self.lanes), order, order, position, position)
        self.lanes[partition] = lane
        return lane

    def limit(
        self,
        *,
        from_us: int | None,
        to_us: int | None,
        excluded: Sequence[tuple[int, int]] = (),
        doubtful_us: tuple[int, int] = (0, 0),
    ) -> None:
        """Release only some of the records.

        Parameters
        ----------
        from_us, to_us
            Those merged at the first or later, and before the second.
        excluded
            Of them not those whose own time lies in one of these ranges, [from, to) each. What has no time of its
            own goes by the time it is merged at.
        doubtful_us
            Nor events at most so long before a range (the first) or less than so long after it (the second).
        """
        self._from = BEGINNING if from_us is None else from_us
        self._to = END if to_us is None else to_us
        before_us, after_us = doubtful_us
        around = [(begin - before_us, end + after_us) for begin, end in excluded]
        self._excluded = {LABEL: list(excluded), EVENT: around}

    def wanted(self, at_most: int) -> list[Partition]:
        """The partitions that should be polled: those with few records waiting for the others."""
        return [partition for partition, lane in self.lanes.items() if len(lane) < at_most and not lane.closed]

    def hold(self, chunks: Iterable[Chunk]) -> None:
        """Take newly decoded records in."""
        for chunk in chunks:
            self._append(self.lanes[chunk.partition], chunk)

    def release(self) -> Ordered:
        """Hand out what is in order; columns belong to the caller then."""
        self._behind = [lane.chunks for lane in self.lanes.values()]
        lanes = sorted(self.lanes.values(), key=lambda lane: (lane.kind, lane.partition))
        events, event_ends = _pool(self._events_empty, [lane for lane in lanes if lane.kind == EVENT])
        labels, label_ends = _pool(self._labels_empty, [lane for lane in lanes if lane.kind == LABEL])
        ends = np.array(label_ends + event_ends, dtype=np.int64)
        starts = ends - np.array([len(lane) for lane in lanes], dtype=np.int64)
        heads = starts.copy()
        kinds = np.array([lane.kind for lane in lanes], dtype=np.uint8)
        bound, rank = self._bound(lanes)
        size = len(events.order) + len(labels.order)
        kind, record = np.empty(size, np.uint8), np.empty(size, np.int64)
        released = _release(events.order, labels.order, kinds, heads, ends, bound, rank, kind, record)
        for lane, start, head, end in zip(lanes, starts.tolist(), heads.tolist(), ends.tolist(), strict=True):
            self._leave(lane, events if lane.kind == EVENT else labels, start, head, end)
        if released:
            last = record[released - 1]
            order = events.order[last] if kind[released - 1] == EVENT else labels.order[last]
            self.watermark = max(self.watermark, int(order))
        return Ordered(events, labels, kind[:released], record[:released], self.watermark)

    def message(self, number: int, position: int) -> tuple[Partition, bytes, str | None]:
        """Where a record that was just released came from, its raw message, and why it is dead if it is."""
        for chunk in self._behind[number]:
            if position < chunk.next_position:
                index = int(np.searchsorted(chunk.columns.position, position))
                return chunk.partition, chunk.messages[index], chunk.reasons.get(position)
        raise LookupError(f"lane {number} has not released a message at {position}")

    def messages(self, numbers: NDArray[np.int32], positions: NDArray[np.int64]) -> list[bytes]:
        """The raw messages of records that were just released, by the numbers of their partitions."""
        found = [b""] * len(numbers)
        for number in np.unique(numbers).tolist():
            mine = np.flatnonzero(numbers == number)
            chunks = self._behind[number]
            of = np.searchsorted([chunk.next_position for chunk in chunks], positions[mine], side="right")
            for c in np.unique(of).tolist():
                which = mine[of == c]
                places = np.searchsorted(chunks[c].columns.position, positions[which])
                for at, place in zip(which.tolist(), places.tolist(), strict=True):
                    found[at] = chunks[c].messages[place]
        return found

    def _append(self, lane: Lane, chunk: Chunk) -> None:
        columns = chunk.columns
        # a record without a time goes where its neighbours are
        times = np.where(columns.flaw == SOUND, columns.time, BEGINNING)
        order = np.maximum.accumulate(np.maximum(times, max(lane.last_order, self.watermark)))
        columns = columns._replace(order=order)
        excluded = self._excluded.get(lane.kind, ())
        if self._from > BEGINNING or self._to < END or excluded:
            kept = (order >= self._from) & (order < self._to)
            own = np.where(columns.flaw == SOUND, columns.time, order)
            for begin, end in excluded:
                kept &= (own < begin) | (own >= end)
            columns = _select(columns, kept)
            lane.closed = bool(len(order)) and int(order[-1]) >= self._to
        lane.columns = columns if lane.columns is None else _concatenate([lane.columns, columns])
        lane.chunks.append(chunk)
        lane.fetched_position = chunk.next_position
        if lane.closed:  # what lies past the end has been passed over, not released
            lane.fetched_position = int(chunk.columns.position[np.searchsorted(order, self._to)])
        if len(order):
            lane.last_order = int(order[-1])

    def _bound(self, lanes: Sequence[Lane]) -> tuple[int, int]:
        """The time and the rank of the lane up to which records are complete."""
        open_lanes = [(rank, lane) for rank, lane in enumerate(lanes) if not lane.closed]
        frontiers = [(lane.last_order, rank) if lane.live else (self.settled, len(lanes)) for rank, lane in open_lanes]
        return min(frontiers, default=(END, len(lanes)))

    def _leave(self, lane: Lane, pool: Events | Labels, start: int, head: int, end: int) -> None:
        """Keep of a lane what was not released."""
        if head > start:
            lane.released_order = int(pool.order[head - 1])
        if head == end:
            lane.columns, lane.chunks = None, lane.chunks[:0]
            lane.released_position = lane.fetched_position
            return
        lane.columns = _select(pool, slice(head, end))
        lane.released_position = int(pool.position[head])
        lane.chunks = [chunk for chunk in lane.chunks if chunk.next_position > lane.released_position]


def _select(columns: Columns, which: slice | NDArray[np.bool_]) -> Columns:
    return type(columns)(*(column[which] for column in columns))


def _concatenate(parts: Sequence[Columns]) -> Columns:
    return type(parts[0])(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _pool(empty: Columns, lanes: Sequence[Lane]) -> tuple[Columns, list[int]]:
    """The records of all lanes one after another, and where each lane's end."""
    parts = [lane.columns for lane in lanes if lane.columns is not None]
    ends = np.cumsum([len(lane) for lane in lanes], dtype=np.int64).tolist()
    return (_concatenate(parts) if len(parts) > 1 else parts[0] if parts else empty), ends  # pyrefly: ignore


@njit(cache=True)
def _release(
    event_order: NDArray[np.int64],
    label_order: NDArray[np.int64],
    kinds: NDArray[np.uint8],
    heads: NDArray[np.int64],
    ends: NDArray[np.int64],
    bound: int,
    bound_rank: int,
    kind: NDArray[np.uint8],
    record: NDArray[np.int64],
) -> int:
    """Merge the lanes up to the bound; move their heads and return how many records came out."""
    lanes = len(kinds)
    released = 0
    while True:
        best = -1
        best_order = 0
        next_rank = -1  # the lane to turn to when the best one has passed it
        next_order = 0
        for rank in range(lanes):
            if heads[rank] == ends[rank]:
                continue
            order = event_order[heads[rank]] if kinds[rank] == EVENT else label_order[heads[rank]]
            if best < 0 or order < best_order:
                next_rank, next_order = best, best_order
                best, best_order = rank, order
            elif next_rank < 0 or order < next_order:
                next_rank, next_order = rank, order
        if best < 0:
            return released
        first = released
        while heads[best] < ends[best]:
            order = event_order[heads[best]] if kinds[best] == EVENT else label_order[heads[best]]
            if order > bound or (order == bound and best > bound_rank):
                break
            if next_rank >= 0 and (order > next_order or (order == next_order and best > next_rank)):
                break
            kind[released] = kinds[best]
            record[released] = heads[best]
            released += 1
            heads[best] += 1
        if released == first:
            return released
