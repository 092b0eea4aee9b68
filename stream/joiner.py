"""Joins each label to the prediction that it answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream import join_kernels as kernels
from stream.join_index import insert, rebuild
from stream.join_state import (
    COUNTS,
    CURSOR,
    DONE_ALL,
    FIRST_ROW,
    FIRST_WAITING,
    FROZEN,
    FROZEN_SINCE,
    HEAP,
    LAST,
    NEWEST,
    NEXT_EXPIRY,
    NEXT_RECORD,
    NEXT_ROW,
    NEXT_TICK,
    NEXT_WAITING,
    OPS,
    PAUSED,
    REJECTED,
    STALLED,
    TARGET,
    THAWED,
    TICKED,
    TIMELESS,
    WATERMARK,
    Policy,
    Waiting,
)
from stream.late_heap import pop_late, push_late
from stream.merge import Ordered
from stream.records import DONE, OUT_OF_ORDER, Ops
from stream.rows import RowTable
from stream.stall import judge_stall

OPS_AT_ONCE = 1 << 16
MAX_WAITING = 1 << 17  # labels without their events; more are orphans at once
MIN_INDEX = 1 << 12
MAX_LOAD = 0.6
WAITING_COLUMNS = ("key", "check", "time", "deadline", "value")


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done between two ticks."""

    ops: Ops
    rejected: NDArray[np.int64]  # (n, 3): LABEL or EVENT, index into its columns, why
    tick: int | None  # the event time that has been reached, when it is one of the grid
    timeless: bool = False  # no record had a time yet, but there were enough of them to judge


class Joiner:
    """Decides the fate of every record, in merged order.

    Events become rows; labels resolve them. A row that no label answered within the window expires. A key
    stays known for ``remember_us`` after that, so that duplicates and late labels are told from new ones.

    Parameters
    ----------
    policy
        The windows, in microseconds, and when a row is learned.
    table
        Where the rows are kept.
    cells
        What a row keeps of one event at most, in cells of 32 bits.
    quiet_us
        After a gap of this length without records, ticks can't change anything any more and are skipped.

    Attributes
    ----------
    counts : array of int64
        Records by fate, in the order of ``join_state.COUNTS``.
    came_share : float
        Share of the positives expected among the predictions next to expire that has come, as of the last tick.
    """

    def __init__(self, policy: Policy, table: RowTable, *, cells: int, quiet_us: int) -> None:
        self.policy = policy
        self.table = table
        self.came_share = 1.0  # of the positives that were expected to come by now, at the last tick
        self._cells = cells
        self._quiet_us = quiet_us
        self.counts = np.zeros(len(COUNTS), np.int64)
        self.cursor = np.zeros(len(CURSOR), np.int64)
        self.cursor[[NEWEST, WATERMARK, NEXT_TICK, LAST]] = kernels.NEVER
        self._index = np.zeros((MIN_INDEX, 2), np.uint64)
        self._heap = np.zeros((1024, 2), np.int64)
        self._waiting = Waiting(
            key=np.zeros(MAX_WAITING, np.uint64),
            check=np.zeros(MAX_WAITING, np.uint32),
            time=np.zeros(MAX_WAITING, np.int64),
            deadline=np.zeros(MAX_WAITING, np.int64),
            value=np.zeros(MAX_WAITING, np.int8),
        )
        self._waiting_index = np.zeros((2 * MAX_WAITING, 2), np.uint64)
        self._ops = Ops(
            code=np.zeros(OPS_AT_ONCE, np.uint8),
            row=np.zeros(OPS_AT_ONCE, np.int64),
            record=np.zeros(OPS_AT_ONCE, np.int64),
            label=np.zeros(OPS_AT_ONCE, np.int8),
            at=np.zeros(OPS_AT_ONCE, np.int64),
        )
        self._rejected = np.zeros((4096, 3), np.int64)

    @property
    def first_row(self) -> int:
        """The oldest row that is still known."""
        return int(self.cursor[FIRST_ROW])

    @property
    def watermark(self) -> int:
        return int(self.cursor[WATERMARK])

    @property
    def learning(self) -> bool:
        """Whether labels are learned; otherwise they are joined and judged, and their predictions dropped."""
        return not self.cursor[PAUSED]

    @learning.setter
    def learning(self, on: bool) -> None:
        self.cursor[PAUSED] = not on

    @property
    def stalled(self) -> bool:
        """Expiry stands still, because labels do: to take them all for negatives would be worse."""
        return bool(self.cursor[FROZEN] == STALLED)

    @property
    def stalled_since(self) -> int | None:
        """The event time since when it does, or None."""
        return int(self.cursor[FROZEN_SINCE]) if self.stalled else None

    def thaw(self) -> None:
        """Let predictions expire although labels have stalled, until these flow again or for one window."""
        if self.stalled:
            self.cursor[FROZEN], self.cursor[FROZEN_SINCE] = THAWED, self.watermark

    def decided(self, watermark: int) -> int:
        """The watermark by which no label can come any more: behind it while expiry stands still."""
        if not self.stalled:
            return watermark
        rows, base = self.table.rows, self.table.base
        oldest = watermark - self.policy.window_us
        if self.cursor[NEXT_EXPIRY] < self.table.next:
            oldest = min(oldest, int(rows.time[self.cursor[NEXT_EXPIRY] - base]))
        while self.cursor[HEAP] and rows.status[self._heap[0, 1] - base] & DONE:
            pop_late(self._heap, self.cursor)  # answered since; after a restart it would not be there
        if self.cursor[HEAP]:
            oldest = min(oldest, int(self._heap[0, 0]))
        return oldest + self.policy.window_us

    def fates(self) -> dict[str, int]:
        """Records by fate; ``messages`` is their sum."""
        fates = dict(zip(COUNTS, self.counts.tolist(), strict=True))
        messages = fates["events"] + fates["labels"] + fates["tombstones"] + fates["dead"]
        return {"messages": messages} | fates

    def advance(self, ordered: Ordered) -> Iterator[Step]:
        """Walk the released records; ops refer to ``ordered.events`` and are valid until the next step."""
        self._reserve(len(ordered.events.order))
        cursor = self.cursor
        cursor[NEXT_RECORD] = 0
        while True:
            stopped = kernels.advance(
                ordered,
                self.table.rows,
                self.table.base,
                self._index,
                self._heap,
                self._waiting,
                self._waiting_index,
                self.policy,
                self._ops,
                self._rejected,
                cursor,
                self.counts,
            )
            self.table.next = int(cursor[NEXT_ROW])
            count = int(cursor[OPS])
            tick = int(cursor[NEXT_TICK]) if stopped == TICKED else None
            if count or cursor[REJECTED] or stopped in (TICKED, TIMELESS):
                yield Step(
                    _first(self._ops, count), self._rejected[: cursor[REJECTED]], tick, timeless=stopped == TIMELESS
                )
            if tick is not None:
                cursor[NEXT_TICK] = self._tick_after(tick)
                if self.policy.missing_is_negative:
                    self.came_share = judge_stall(cursor, self.table, self.policy, tick)
            if stopped == DONE_ALL:
                return

    def _tick_after(self, tick: int) -> int:
        following = tick + self.policy.tick_us
        if tick - int(self.cursor[LAST]) <= self._quiet_us:
            return following
        target = int(self.cursor[TARGET])
        return max(following, target // self.policy.tick_us * self.policy.tick_us)

    def _reserve(self, events: int) -> None:
        self.table.reserve(first=self.first_row, events=events, cells=self._cells)
        late = int(self.cursor[HEAP]) + events
        if late > len(self._heap):
            self._heap = np.concatenate([self._heap, np.zeros((late, 2), np.int64)])
        known = self.table.next - self.first_row + events
        if known > MAX_LOAD * len(self._index) and self._knows_ids:
            self._rebuild_index(known)

    @property
    def _knows_ids(self) -> bool:
        return not self.policy.labelled or self.policy.remember_us > 0

    def _rebuild_index(self, known: int) -> None:
        size = len(self._index)
        while known > MAX_LOAD * size:
            size *= 2
        self._index = np.zeros((size, 2), np.uint64)
        rebuild(self._index, self.table.rows.key, self.first_row, self.table.next, self.table.base)

    def state(self) -> dict[str, NDArray[Any]]:
        """What can't be told from the rows."""
        first, last = int(self.cursor[FIRST_WAITING]), int(self.cursor[NEXT_WAITING])
        places = np.arange(first, last) % MAX_WAITING
        waiting = {f"waiting_{name}": getattr(self._waiting, name)[places] for name in WAITING_COLUMNS}
        came_share = np.array([self.came_share])
        return {"cursor": self.cursor.copy(), "counts": self.counts.copy(), "came_share": came_share, **waiting}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state, once the table has its rows."""
        self.cursor[:] = state["cursor"]
        self.counts[:] = state["counts"]
        self.came_share = float(state["came_share"][0])
        if self.cursor[NEXT_TICK] != kernels.NEVER:  # the tick may be another one now
            self.cursor[NEXT_TICK] = -(-self.cursor[NEXT_TICK] // self.policy.tick_us) * self.policy.tick_us
        first, last = int(self.cursor[FIRST_WAITING]), int(self.cursor[NEXT_WAITING])
        places = np.arange(first, last)
        for name in WAITING_COLUMNS:
            getattr(self._waiting, name)[places % MAX_WAITING] = state[f"waiting_{name}"]
        for place in places[np.asarray(state["waiting_value"]) >= 0].tolist():
            insert(self._waiting_index, self._waiting.key[place % MAX_WAITING], place)
        if self._knows_ids:
            self._rebuild_index(self.table.next - self.first_row)
        self._rebuild_heap()

    def _rebuild_heap(self) -> None:
        rows, base = self.table.rows, self.table.base
        status = rows.status[self.first_row - base : self.table.next - base]
        # one that is done may have left the heap or not: when it leaves nothing happens
        late = np.flatnonzero((status & OUT_OF_ORDER != 0) & (status & DONE == 0)) + self.first_row
        self._heap = np.zeros((len(late) + 1024, 2), np.int64)
        self.cursor[HEAP] = 0
        for row in late.tolist():
            push_late(self._heap, self.cursor, rows.time[row - base], row)


def _first(ops: Ops, count: int) -> Ops:
    return Ops(ops.code[:count], ops.row[:count], ops.record[:count], ops.label[:count], ops.at[:count])
