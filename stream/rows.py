"""The row table: predictions that still wait for something, in merged order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream.records import DONE, Rows

KEPT_COLUMNS = ("key", "check", "content", "time", "logit", "reference", "weight", "said", "size", "slices")
# What each model that learns has of its own; the rest is the same for all.
OWN_COLUMNS = ("logit", "reference", "said", "size")
SHADOW = "shadow_"

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
    shadow : Rows or None
        The same rows for a challenger: its own answers and features. NaN: it was not asked.
    version : int
        Rises when rows that are there already are no longer what ``run`` gave.
    """

    def __init__(self, *, slices: int = 0, said: int = 0) -> None:
        self.base = 0
        self.next = 0
        self.version = 0
        self.shadow: Rows | None = None
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
            for column in self._columns():
                column.resize((grown, *column.shape[1:]), refcheck=False)
        for arena in self._arenas():
            if arena.used[1] > max(SMALL_ARENA, arena.used[0] // 2):
                _compact(arena, self.next - self.base)
            needed = int(arena.used[0]) + events * cells
            capacity = len(arena.cell)
            if needed > capacity:
                arena.cell.resize(max(needed, capacity + max(SMALL_ARENA, capacity // 8)), refcheck=False)

    def _shed(self, first: int) -> None:
        gone, live = first - self.base, self.next - first
        if not gone or (live and gone < max(SEGMENT, live)):
            return  # moving down would cost more than it frees
        for column in self._columns():
            column[:live] = column[gone : gone + live]
        self.base = first

    def _arenas(self) -> list[Rows]:
        return [self.rows] if self.shadow is None else [self.rows, self.shadow]

    def _columns(self) -> Sequence[NDArray[Any]]:
        """Every column once: those of the shadow that are its own."""
        columns = [getattr(self.rows, name) for name in (*KEPT_COLUMNS, "status", "start")]
        if self.shadow is not None:
            columns += [getattr(self.shadow, name) for name in (*OWN_COLUMNS, "start")]
        return columns

    def begin_shadow(self) -> None:
        """Let a challenger be asked from the next row on; of those before it has the features, and said nothing."""
        rows = self.rows
        self.version += 1
        self.shadow = rows._replace(
            logit=np.full(len(rows.key), np.nan),
            reference=np.full(len(rows.key), np.nan, np.float32),
            said=np.full(rows.said.shape, np.nan, np.float32),
            start=rows.start.copy(),
            size=rows.size.copy(),
            cell=rows.cell.copy(),
            used=rows.used.copy(),
        )

    def end_shadow(self, *, promoted: bool) -> None:
        """Let the challenger go, or have its features be those of all rows: what was served stays what was served."""
        shadow, self.shadow = self.shadow, None
        assert shadow is not None
        self.version += 1
        if promoted:
            self.rows = self.rows._replace(start=shadow.start, size=shadow.size, cell=shadow.cell, used=shadow.used)
            self.forget_said()

    def forget_said(self) -> None:
        """Another model learns from now on: what led to the answers of the one before moves no mixture of its."""
        self.version += 1
        self.rows.said[:] = np.nan

    def run(self, first: int, last: int) -> dict[str, NDArray[Any]]:
        """A copy of the rows ``first`` to ``last``, without, and of the features they still have."""
        rows, begin, end = self.rows, first - self.base, last - self.base
        columns: dict[str, NDArray[Any]] = {name: getattr(rows, name)[begin:end].copy() for name in KEPT_COLUMNS}
        columns["cell"] = _cells(rows, begin, end)
        if self.shadow is not None:
            columns |= {f"{SHADOW}{name}": getattr(self.shadow, name)[begin:end].copy() for name in OWN_COLUMNS}
            columns[f"{SHADOW}cell"] = _cells(self.shadow, begin, end)
        return columns

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
        self.shadow = None
        self.reserve(first=first, events=len(status), cells=0)
        if runs and f"{SHADOW}size" in runs[-1][1]:
            self.begin_shadow()
        self.rows.status[: len(status)] = status
        self._fill(self.rows, first, runs, status, names=KEPT_COLUMNS, prefix="")
        if self.shadow is not None:
            self._fill(self.shadow, first, runs, status, names=OWN_COLUMNS, prefix=SHADOW)
        self.next = first + len(status)

    @staticmethod
    def _fill(
        rows: Rows,
        first: int,
        runs: Sequence[tuple[int, Mapping[str, NDArray[Any]]]],
        status: NDArray[np.uint8],
        *,
        names: Sequence[str],
        prefix: str,
    ) -> None:
        cells = sum(len(run[f"{prefix}cell"]) for _, run in runs)
        rows.used[:] = 0
        if cells > len(rows.cell):
            rows.cell.resize(cells, refcheck=False)
        for start, run in runs:
            skip = max(0, first - start)
            size = np.asarray(run[f"{prefix}size"])
            begin = start + skip - first
            end = begin + len(size) - skip
            for name in names:
                getattr(rows, name)[begin:end] = run[f"{prefix}{name}"][skip:]
            _scatter(rows, begin, end, status, run[f"{prefix}cell"], int(size[:skip].sum(dtype=np.int64)))


def _cells(rows: Rows, begin: int, end: int) -> NDArray[np.uint32]:
    cell = np.empty(int(rows.size[begin:end].sum(dtype=np.int64)), np.uint32)
    _gather(rows, begin, end, cell)
    return cell


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
