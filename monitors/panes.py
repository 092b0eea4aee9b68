"""Panes: the quality of served predictions by event time, in a ring that remembers as far as the windows reach."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from monitors.bins import Tally
from monitors.grid import NEVER, End, PaneGrid
from monitors.kernels import BINS, NEWEST, OUTSIDE, WATERMARK, merge, roll, walk
from monitors.ring import Places, Ring
from stream.records import Ops, Rows


class Window(NamedTuple):
    """The tally of a stretch of event time: from ``start_us`` up to, without, ``end_us``."""

    start_us: int
    end_us: int
    tally: Tally


class Panes:
    """Predictions judged by the score that was served then, in the pane of their own event time.

    A pane is final once the watermark has passed its end by the join window. What comes out depends on the order of
    the ops and on where in it ``advance`` was called, not on how they were cut into batches.

    Parameters
    ----------
    grid
        The panes and the windows.

    Attributes
    ----------
    outside : int
        Ops that no pane took, because their row's pane was final or had left the ring. The total has them.
    total : Tally
        Everything ever judged.
    ring : Ring
        The state, for the store.

    Examples
    --------
    >>> hour_us = 3_600_000_000
    >>> panes = Panes(PaneGrid(pane_us=hour_us, windows_us=(24 * hour_us,), join_window_us=2 * hour_us))
    >>> panes.advance(100 * hour_us)
    >>> window = panes.window("final", 24 * hour_us, now_us=100 * hour_us)
    >>> window.start_us // hour_us, window.end_us // hour_us, window.tally.events
    (74, 98, 0)
    """

    def __init__(self, grid: PaneGrid) -> None:
        self.grid = grid
        length = self._length = grid.length
        self._counts = np.zeros((length + 1, BINS, 2), dtype=np.int64)
        self._sums = np.zeros((length + 1, BINS, 2), dtype=np.float64)
        self._traffic = np.zeros((length + 1, 2), dtype=np.int64)
        self._span = np.zeros((length + 1, 2), dtype=np.int64)
        self._changed = np.zeros(length + 1, dtype=np.bool_)
        self._clock = np.array([NEVER, NEVER, 0], dtype=np.int64)
        self.ring = Ring(
            "panes",
            shape={"pane us": grid.pane_us, "join window us": grid.join_window_us, "panes": length},
            header={"clock": self._clock, "traffic": self._traffic, "span": self._span},
            places=[Places(self._changed, {"counts": self._counts, "sums": self._sums}, self._span)],
        )

    @property
    def outside(self) -> int:
        return int(self._clock[OUTSIDE])

    @property
    def total(self) -> Tally:
        events, expired = self._traffic[self._length].tolist()
        return Tally(events, expired, self._counts[self._length].copy(), self._sums[self._length].copy())

    def observe(self, ops: Ops, rows: Rows, base: int) -> None:
        """Take ops in merged order; the row ``r`` of an op is at ``r - base`` in ``rows`` and has a finite logit.

        SCORE counts an event, RESOLVE judges the served logit by the op's label, EXPIRE counts an expiry, and
        CORRECT judges anew what was judged by the other label: also in a final pane, while the ring has it.
        """
        walk(
            np.ascontiguousarray(ops.code),
            np.ascontiguousarray(ops.row),
            np.ascontiguousarray(ops.label),
            np.ascontiguousarray(rows.time),
            np.ascontiguousarray(rows.logit),
            base,
            self.grid.pane_us,
            self.grid.final_before(int(self._clock[WATERMARK])),
            self._counts,
            self._sums,
            self._traffic,
            self._span,
            self._changed,
            self._clock,
        )

    def advance(self, now_us: int) -> None:
        """Say that everything up to the watermark ``now_us`` has been observed. To be called at every tick.

        This alone makes panes final, so call it where the order of the ops says, never where a batch happens
        to end. It costs no more than emptying the ring, however far it jumps; going back does nothing.
        """
        if now_us > self._clock[WATERMARK]:
            self._clock[WATERMARK] = now_us
            pane = now_us // self.grid.pane_us
            if pane > self._clock[NEWEST]:
                roll(pane, self._counts, self._sums, self._traffic, self._span, self._changed, self._clock)

    def window(self, end: End, window_us: int, now_us: int) -> Window:
        """Merge the panes of one window, in order; what the stream or the ring does not reach is empty.

        Raises
        ------
        ValueError
            If ``window_us`` is none of the windows that were announced.
        """
        pane_us, newest = self.grid.pane_us, int(self._clock[NEWEST])
        first, last, reached = self.grid.window(end, window_us, now_us=now_us, watermark_us=int(self._clock[WATERMARK]))
        counts = np.zeros((BINS, 2), dtype=np.int64)
        sums = np.zeros((BINS, 2), dtype=np.float64)
        traffic = np.zeros(2, dtype=np.int64)
        merge(
            max(first, newest - self._length + 1),
            min(reached, newest),
            self._counts,
            self._sums,
            self._traffic,
            self._span,
            counts,
            sums,
            traffic,
        )
        events, expired = traffic.tolist()
        return Window(first * pane_us, (last + 1) * pane_us, Tally(events, expired, counts, sums))

    def final_end(self, now_us: int) -> int:
        """Event time up to which panes are final at ``now_us``."""
        return self.grid.final_end(now_us=now_us, watermark_us=int(self._clock[WATERMARK]))
