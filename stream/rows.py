"""The row table: predictions that still wait for something, in merged order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream.records import DONE, Rows

KEPT_COLUMNS = ("key", "check", "content", "time", "logit", "reference", "weight", "said", "size", "slices")

SEGMENT = 1 << 16  # rows by which the table grows and shrinks at least
SMALL_ARENA = 1 << 20


class RowTable:
    """Rows ``base`` to ``next``, and an arena that holds the features of those not learned yet.

    Arrays grow in place (the allocator moves pages, not bytes) and shed their oldest rows by moving down, so
    memory follows what is pending.

    Parameters
    ----------
    slices
        Fields that are judged by value.
    said
        Numbers that a model keeps of each answer.

    Attributes
    ----------
    rows : Rows
        The columns; index with ``row - base``. Valid until the next ``reserve``.
    base : int
        The row at index 0.
    next : int
        The row that the next event will get.
    """

    def __init__(self, *, slices: int = 0, said: int = 0) -> None:
        self.base = 0
        self.next = 0
        self.rows = Rows(
            key=np.zeros(SEGMENT, np.uint64),
            check=np.zeros(SEGMENT, np.uint32),
            content=np.zeros(SEGMENT, np.uint32),
            time=np.zeros(SEGMENT, np.int64),
            status=np.zeros(SEGMENT, np.uint8),
            logit=np.zeros(SEGMENT, np.float64),
            reference=np.zeros(SEGMENT, np.float32),
            weight=np.zeros(SEGMENT, np.float32),
            said=np.zeros((SEGMENT, said), np.float32),
            start=np.zeros(SEGMENT, np.int64),
            size=np.zeros(SEGMENT, np.uint16),
            cell=np.zeros(SMALL_ARENA, np.uint32),
            used=np.zeros(2, np.int64),
            slices=np.zeros((SEGMENT, slices), np.uint8),
        )

    def reserve(self, *, first: int, events: int, cells: int) -> None:
        """Shed the rows before ``first`` and make room for so many events of at most ``cells`` each."""
        self._shed(first)
        rows = self.rows
        capacity = len(rows.key)
        needed = self.next - self.base + events
        if needed > capacity:
            grown = max(needed, capacity + max(SEGMENT, capacity // 8))
            for column in _per_row(rows):
                column.resize((grown, *column.shape[1:]), refcheck=False)
        if rows.used[1] > max(SMALL_ARENA, rows.used[0] // 2):
            _compact(rows, self.next - self.base)
        needed = int(rows.used[0]) + events * cells
        capacity = len(rows.cell)
        if needed > capacity:
            rows.cell.resize(max(needed, capacity + max(SMALL_ARENA, capacity // 8)), refcheck=False)

    def _shed(self, first: int) -> None:
        gone, live = first - self.base, self.next - first
        if not gone or (live and gone < max(SEGMENT, live)):
            return  # moving down would cost more than it frees
        rows = self.rows
        for column in _per_row(rows):
            column[:live] = column[gone : gone + live]
        self.base = first

    def run(self, first: int, last: int) -> dict[str, NDArray[Any]]:
        """A copy of the rows ``first`` to ``last``, without, and of the features they still have."""
        rows, begin, end = self.rows, first - self.base, last - self.base
        columns: dict[str, NDArray[Any]] = {name: getattr(rows, name)[begin:end].copy() for name in KEPT_COLUMNS}
        cell = np.empty(int(rows.size[begin:end].sum(dtype=np.int64)), np.uint32)
        _gather(rows, begin, end, cell)
        return columns | {"cell": cell}

    def status(self, first: int, last: int) -> NDArray[np.uint8]:
        """A view of the status bytes of the rows ``first`` to ``last``, without."""
        return self.rows.status[first - self.base : last - self.base]

    def restore(
        self, first: int, runs: Sequence[tuple[int, Mapping[str, NDArray[Any]]]], status: NDArray[np.uint8]
    ) -> None:
        """Become the rows from ``first`` on, of which ``status`` tells the fates.

        ``runs`` are what ``run`` gave, each with its first row, without gaps; the first may begin earlier.
        """
        self.base = self.next = first
        count = len(status)
        cells = sum(len(run["cell"]) for _, run in runs)
        self.reserve(first=first, events=count, cells=0)
        self.rows.used[:] = 0
        if cells > len(self.rows.cell):
            self.rows.cell.resize(cells, refcheck=False)
        for start, run in runs:
            skip = max(0, first - start)
            size = np.asarray(run["size"])
            begin = start + skip - first
            end = begin + len(size) - skip
            for name in KEPT_COLUMNS:
                getattr(self.rows, name)[begin:end] = run[name][skip:]
            _scatter(self.rows, begin, end, status, run["cell"], int(size[:skip].sum(dtype=np.int64)))
        self.rows.status[:count] = status
        self.next = first + count


def _per_row(rows: Rows) -> Sequence[NDArray[Any]]:
    return [getattr(rows, name) for name in (*KEPT_COLUMNS, "status", "start")]


@njit(cache=True)
def _gather(rows: Rows, begin: int, end: int, cell: NDArray[np.uint32]) -> None:
    """Copy the features of rows one after another."""
    at = 0
    for r in range(begin, end):
        start = rows.start[r]
        for i in range(np.int64(rows.size[r])):
            cell[at] = rows.cell[start + i]
            at += 1


@njit(cache=True)
def _scatter(rows: Rows, begin: int, end: int, status: NDArray[np.uint8], cell: NDArray[np.uint32], at: int) -> None:
    """Put back the features of rows that still need theirs; ``at`` is where the first row's begin."""
    for r in range(begin, end):
        size = np.int64(rows.size[r])
        if status[r] & DONE:
            rows.size[r] = 0
        else:
            start = rows.used[0]
            rows.start[r] = start
            for i in range(size):
                rows.cell[start + i] = cell[at + i]
            rows.used[0] = start + size
        at += int(size)


@njit(cache=True)
def _compact(rows: Rows, count: int) -> None:
    """Move the features that are still needed down over those given up."""
    at = np.int64(0)
    for r in range(count):
        size = np.int64(rows.size[r])
        if size == 0:
            continue
        start = rows.start[r]
        for i in range(size):
            rows.cell[at + i] = rows.cell[start + i]
        rows.start[r] = at
        at += size
    rows.used[0] = at
    rows.used[1] = 0
