"""Panes: the quality of served predictions by event time, in a ring that remembers as far as the windows reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitors.bins import Tally
from monitors.kernels import BINS, NEVER, NEWEST, OUTSIDE, WATERMARK, merge, roll, walk
from stream.records import MICROSECONDS, Ops, Rows

PANES_AT_MOST = 4096  # 64 MiB
SPARE_PANES = 4  # ops may run ahead of the watermark, up to the next tick

End = Literal["final", "provisional"]
State = dict[str, NDArray[np.generic]]


def panes_needed(*, pane_us: int, windows_us: Sequence[int], join_window_us: int) -> int:
    """Length of the ring: the longest window, the join window, and the panes still open."""
    # the pane in which the watermark stands, and one that the join window may cut
    return max(windows_us, default=pane_us) // pane_us + -(-join_window_us // pane_us) + 2 + SPARE_PANES


class Window(NamedTuple):
    """The tally of a stretch of event time: from ``start_us`` up to, without, ``end_us``."""

    start_us: int
    end_us: int
    tally: Tally


class Panes:
    """Predictions judged by the score that was served then, in the pane of their own event time.

    Pane k holds the events from k * ``pane_us`` up to (k + 1) * ``pane_us``. It is final, and never changes
    again, once the watermark has passed its end by the join window; until then it is provisional. What
    comes out depends on the order of the ops and on where in it ``advance`` was called, not on how they
    were cut into batches.

    Parameters
    ----------
    pane_us
        Length of a pane.
    windows_us
        Lengths of the windows to be asked for, each a multiple of ``pane_us``.
    join_window_us
        How long after its event time a label may come.
    stall_us
        How far ``advance`` may lag behind the events, when labels are waited for beyond their window.

    Attributes
    ----------
    outside : int
        Ops that no pane took, because their row's pane was final or had left the ring. The total has them.
    total : Tally
        Everything ever judged.

    Raises
    ------
    ValueError
        If a window is no multiple of the pane, or the ring would need more than 4,096 panes.

    Examples
    --------
    >>> panes = Panes(pane_us=3_600_000_000, windows_us=(86_400_000_000,), join_window_us=7_200_000_000)
    >>> panes.advance(100 * 3_600_000_000)
    >>> window = panes.window("final", 86_400_000_000, now_us=100 * 3_600_000_000)
    >>> window.start_us // 3_600_000_000, window.end_us // 3_600_000_000, window.tally.events
    (74, 98, 0)
    """

    def __init__(self, *, pane_us: int, windows_us: Sequence[int], join_window_us: int, stall_us: int = 0) -> None:
        if pane_us <= 0 or join_window_us < 0:
            raise ValueError(f"a pane of {pane_us} us and a join window of {join_window_us} us: need > 0 and >= 0")
        for window_us in windows_us:
            if window_us <= 0 or window_us % pane_us:
                raise ValueError(f"the window of {window_us} us is no multiple of the pane of {pane_us} us")
        # while labels have stalled, finality stands still and the ring has to reach further back
        length = panes_needed(pane_us=pane_us, windows_us=windows_us, join_window_us=join_window_us + stall_us)
        if length > PANES_AT_MOST:
            raise ValueError(
                f"a window of {_seconds(max(windows_us, default=pane_us))} and a join window of "
                f"{_seconds(join_window_us)} in panes of {_seconds(pane_us)} make {length:,} panes, "
                f"more than {PANES_AT_MOST:,}.\n"
                "  Make the shortest window longer (it sets the pane), or the longest window shorter."
            )
        self.pane_us = pane_us
        self.windows_us = tuple(windows_us)
        self.join_window_us = join_window_us
        self._length = length
        self._counts = np.zeros((length + 1, BINS, 2), dtype=np.int64)
        self._sums = np.zeros((length + 1, BINS, 2), dtype=np.float64)
        self._traffic = np.zeros((length + 1, 2), dtype=np.int64)
        self._span = np.zeros((length + 1, 2), dtype=np.int64)
        self._changed = np.zeros(length + 1, dtype=np.bool_)
        self._clock = np.array([NEVER, NEVER, 0], dtype=np.int64)

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
            self.pane_us,
            self._final_before(),
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
            pane = now_us // self.pane_us
            if pane > self._clock[NEWEST]:
                roll(pane, self._counts, self._sums, self._traffic, self._span, self._changed, self._clock)

    def window(self, end: End, window_us: int, now_us: int) -> Window:
        """Merge the panes of one window, in order.

        ``"final"`` is the latest whole window of final panes: it ends a join window ago. Panes that ``advance``
        has not made final are not, whatever ``now_us`` says. ``"provisional"`` ends with the pane that holds the
        microsecond before ``now_us``; labels are still missing. What the stream or the ring does not reach is empty.

        Raises
        ------
        ValueError
            If ``window_us`` is none of the windows that were announced.
        """
        if window_us not in self.windows_us:
            raise ValueError(f"no window of {window_us} us, only {self.windows_us}")
        if end == "final":
            last = self.final_end(now_us) // self.pane_us - 1
            reached = min(last, self._final_before() - 1)
        else:
            reached = last = (now_us - 1) // self.pane_us
        first = last - window_us // self.pane_us + 1
        counts = np.zeros((BINS, 2), dtype=np.int64)
        sums = np.zeros((BINS, 2), dtype=np.float64)
        traffic = np.zeros(2, dtype=np.int64)
        newest = int(self._clock[NEWEST])
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
        return Window(first * self.pane_us, (last + 1) * self.pane_us, Tally(events, expired, counts, sums))

    def final_end(self, now_us: int) -> int:
        """Event time up to which panes are final at ``now_us``."""
        known_us = now_us if self._clock[WATERMARK] == NEVER else min(now_us, int(self._clock[WATERMARK]))
        return (known_us - self.join_window_us) // self.pane_us * self.pane_us

    def _final_before(self) -> int:
        watermark_us = int(self._clock[WATERMARK])
        return NEVER if watermark_us == NEVER else (watermark_us - self.join_window_us) // self.pane_us

    # The whole state is the union of the header and one block per place; a place without a block is empty.
    # A checkpoint stores the header and the blocks of dirty places, then calls clean().

    def dirty(self) -> list[int]:
        """Places whose block has changed since ``clean``, ascending."""
        return np.flatnonzero(self._changed).tolist()

    def clean(self) -> None:
        """Say that all blocks have been copied for storing; should that fail, store the whole ``state`` next."""
        self._changed[:] = False

    def header(self) -> State:
        """Everything that is no block: 16 bytes per pane and a few numbers. Copies."""
        return {
            "shape": np.array([self.pane_us, self.join_window_us, self._length], dtype=np.int64),
            "clock": self._clock.copy(),
            "traffic": self._traffic.copy(),
        }

    def block(self, place: int) -> State:
        """The bins of one place, 16 KiB, under names that say which. Copies."""
        return {f"counts/{place}": self._counts[place].copy(), f"sums/{place}": self._sums[place].copy()}

    def state(self) -> State:
        """The header and all blocks that are not empty. Copies."""
        state = self.header()
        for place in np.flatnonzero(self._span[:, 1]).tolist():
            state |= self.block(place)
        return state

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Become what ``state`` was taken from, to the bit; nothing is dirty then.

        Raises
        ------
        ValueError
            If it was taken with another pane, join window or length of the ring; then nothing has changed.
        """
        ours, theirs = self.header()["shape"].tolist(), state["shape"].tolist()
        if ours != theirs:
            raise ValueError(
                f"the stored panes have (pane us, join window us, panes) = {tuple(theirs)}, the configuration says "
                f"{tuple(ours)}.\n  Put the former windows back, or start the monitors anew."
            )
        self._clock[:] = state["clock"]
        self._traffic[:] = state["traffic"]
        self._changed[:] = False
        for place in range(self._length + 1):
            self._counts[place] = state.get(f"counts/{place}", 0)
            self._sums[place] = state.get(f"sums/{place}", 0.0)
            used = np.flatnonzero(self._counts[place].any(axis=1))
            self._span[place] = (used[0], used[-1] + 1) if len(used) else (0, 0)


def _seconds(duration_us: int) -> str:
    return f"{duration_us / MICROSECONDS:,.0f} s"
