"""Whether fields hold what they held in a reference: histograms of every watched field, in panes of event time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monitors import feature_drift_kernels as kernels
from monitors.feature_drift_figures import Drift, field_drift
from monitors.feature_drift_kernels import ENDLESS, FROM, OPEN, PHASE, TAKEN, TO, WANTED, Hashes, Ints
from monitors.grid import End, PaneGrid
from monitors.reference import Reference
from monitors.ring import Places, Ring
from monitors.traffic import CategoryColumn
from stream.records import Events, Ops, Rows


class FeatureDrift:
    """Compares what fields hold in a window with what they held in a reference.

    Categories are counted in 64 bins by their hash, numbers between edges that come from a column's first 2,000
    values, or from however many there are once the reference is whole, and never change. Null has a bin of its own.
    An event counts in the pane in which it was asked, and in the reference if its own time lies there.

    The noise that PSI is held against supposes that events are independent. They rarely are: over a day the hours
    differ, over a week the days. A reference, and a window, of whole days or weeks removes that part.

    Parameters
    ----------
    grid
        As of ``Panes``; the two see the same ops and are told to ``advance`` at the same ticks.
    categories
        Which columns of ``Events.categories`` to watch.
    numbers
        Names of the columns of ``Events.numbers``, in their order.
    reference
        Which events to compare with. Left out: the first full window, the longest one.

    Examples
    --------
    >>> hour_us = 3_600_000_000
    >>> grid = PaneGrid(pane_us=hour_us, windows_us=(24 * hour_us,), join_window_us=0)
    >>> drift = FeatureDrift(grid, categories=(), numbers=("temp",))
    >>> drift.advance(24 * hour_us)
    >>> drift.window("final", 24 * hour_us, 24 * hour_us).fields["temp"].psi is None
    True

    References
    ----------
    Yurdakul 2018, "Statistical properties of population stability index".
    """

    def __init__(
        self,
        grid: PaneGrid,
        *,
        categories: Sequence[CategoryColumn],
        numbers: Sequence[str],
        reference: Reference | None = None,
    ) -> None:
        self.grid = grid
        self.reference = reference or Reference(length_us=grid.longest_us)
        self.categories = tuple(categories)
        self.numbers = tuple(numbers)
        self._columns = np.array([watched.column for watched in categories], dtype=np.int64)
        self._nulls = np.array([watched.null for watched in categories], dtype=np.uint64)
        self._bounds = np.full((len(numbers), 2), np.nan)  # nothing is beyond them
        state = self._state = kernels.new_state(grid.length, len(categories), len(numbers))
        self._await_reference()
        self.ring = Ring(
            "feature drift",
            shape={
                "pane us": grid.pane_us,
                "panes": grid.length,
                "categories": len(categories),
                "numbers": len(numbers),
            },
            header={
                "events": state.events,
                "newest": state.newest,
                "edges": state.edges,
                "held": state.held,
                "bounds": self._bounds,
                "book": state.book,
                "reference_categories": state.reference_categories,
                "reference_numbers": state.reference_numbers,
                "reference_scores": state.reference_scores,
                "newcomers": state.newcomers,
            },
            places=[
                Places(
                    state.changed,
                    {"categories": state.categories, "numbers": state.numbers, "clipped": state.clipped},
                ),
                Places(
                    state.waiting_changed,
                    {
                        "waiting": state.waiting,
                        "waiting_pane": state.waiting_pane,
                        "waiting_taken": state.waiting_taken,
                    },
                ),
            ],
        )

    def observe(self, ops: Ops, rows: Rows, base: int, events: Events) -> None:
        """Take ops in merged order, once the model has scored the events into their rows."""
        kernels.walk(
            np.ascontiguousarray(ops.code),
            np.ascontiguousarray(ops.row),
            np.ascontiguousarray(ops.record),
            np.ascontiguousarray(rows.time),
            np.ascontiguousarray(rows.logit),
            base,
            np.ascontiguousarray(events.categories),
            np.ascontiguousarray(events.numbers),
            self._columns,
            self._nulls,
            self._bounds,
            self.grid.pane_us,
            self._state,
        )

    def advance(self, now_us: int, clip_bounds: NDArray[np.float64] | None = None) -> None:
        """Say at a tick that every event up to ``now_us`` has been observed.

        ``clip_bounds``, shape (k, 2), are the least and the greatest number of each column that the model takes as
        it is; they hold until the next tick. NaN, as in the beginning: none is clipped.
        """
        if clip_bounds is not None:
            self._bounds[:] = clip_bounds
        book = self._state.book
        if book[PHASE] == OPEN and now_us >= book[TO]:
            kernels.close(self._state)
        kernels.roll(now_us // self.grid.pane_us, self._state)

    def is_over(self, now_us: int) -> bool:
        """Whether the reference is whole, and a window that ends here no longer lies within it."""
        book = self._state.book
        return bool(book[PHASE] == TAKEN and (book[TO] == ENDLESS or book[TO] <= now_us))

    def reset_reference(self) -> None:
        """Compare with what is to come: the reference, and the edges of numbers, begin anew with the next event.

        A reference of a given time stays: it can't be had again.
        """
        if not self.reference.moves:
            return
        state = self._state
        state.changed[state.events > 0] = True
        state.waiting_changed[state.held > 0] = True
        for array in (
            state.categories,
            state.numbers,
            state.clipped,
            state.events,
            state.held,
            state.waiting,
            state.waiting_pane,
            state.waiting_taken,
        ):
            array[:] = 0
        self._await_reference()

    def window(self, end: End, window_us: int, now_us: int) -> Drift:
        """How far one window that ends at ``now_us``, or with the pane before it, is from the reference.

        ``"final"`` has complete panes alone, ``"provisional"`` also the one that is still filling.

        Raises
        ------
        ValueError
            If ``window_us`` is none of the windows that were announced.
        """
        first, last = self._panes(end, window_us, now_us)
        categories, numbers, clipped = self._merged(first, last)
        state = self._state
        whole = bool(state.book[PHASE] == TAKEN)
        fields = {
            watched.name: field_drift(whole, state.reference_categories[j], categories[j])
            for j, watched in enumerate(self.categories)
        }
        for j, name in enumerate(self.numbers):
            known = int(numbers[j, :-1].sum()) + self._waiting(j, first, last)
            share = int(clipped[j]) / known if known and not np.isnan(self._bounds[j]).any() else None
            fields[name] = field_drift(whole, state.reference_numbers[j], numbers[j], share)
        if not whole:
            return Drift(fields=fields)
        return Drift(state.reference_scores.copy(), int(state.reference_scores.sum()), fields)

    def values(self, end: End, window_us: int, now_us: int) -> dict[str, tuple[Hashes, Ints]]:
        """Of each category, hashes of values that came in a window, one of each bin, and the events of their bins.

        Where more values than bins are about, the hash is that of the latest of its bin, so that the more frequent
        stand for the others. Null is among them.
        """
        categories, _, _ = self._merged(*self._panes(end, window_us, now_us))
        return {
            watched.name: (self._state.newcomers[j][categories[j] > 0], categories[j][categories[j] > 0])
            for j, watched in enumerate(self.categories)
        }

    def _await_reference(self) -> None:
        state, reference = self._state, self.reference
        for array in (state.reference_categories, state.reference_numbers, state.reference_scores):
            array[:] = 0
        length_us = ENDLESS if reference.length_us is None else reference.length_us
        begin_us = reference.from_us or 0
        state.book[FROM] = begin_us
        state.book[TO] = length_us if reference.length_us is None else begin_us + length_us
        state.book[WANTED] = ENDLESS if reference.events is None else reference.events
        state.book[PHASE] = kernels.AWAITED if reference.moves else OPEN

    def _panes(self, end: End, window_us: int, now_us: int) -> tuple[int, int]:
        self.grid.require(window_us)
        pane_us = self.grid.pane_us
        last = now_us // pane_us - 1 if end == "final" else (now_us - 1) // pane_us
        return last - window_us // pane_us + 1, last

    def _waiting(self, j: int, first: int, last: int) -> int:
        """Values of a number that wait for its edges, of the panes ``first`` to ``last``."""
        panes = self._state.waiting_pane[j, : max(int(self._state.held[j]), 0)]
        return int(np.count_nonzero((first <= panes) & (panes <= last)))

    def _merged(self, first: int, last: int) -> tuple[Ints, Ints, Ints]:
        state = self._state
        newest = int(state.newest[0])
        merged = tuple(np.zeros(array.shape[1:], dtype=np.int64) for array in state[:3])
        kernels.merge(max(first, newest - len(state.events) + 1), min(last, newest), state, *merged)
        return merged[0], merged[1], merged[2]
