"""What flows by, labelled or not: scores, fields, delays of labels and dead letters, in panes of event time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitors import traffic_kernels as kernels
from monitors.feature_drift_figures import Drift
from monitors.grid import End, PaneGrid
from monitors.ring import Places, Ring
from monitors.traffic_figures import Traffic, traffic_figures
from monitors.traffic_kernels import BINS, DEAD, DECIDED, DELAY_BINS, LABELS, MESSAGES, NEWEST, NOT_YET
from stream.records import Events, Ops, Rows

SEEN_BYTES = (1 << kernels.SEEN_BITS) // 8


class CategoryColumn(NamedTuple):
    """A category to watch."""

    name: str
    column: int  # of ``Events.categories``
    null: int  # hash of its null


class TrafficPanes:
    """Everything about events and messages that needs no label to be judged, and how long labels take.

    An event counts in the pane in which it was asked, a straggler too, so that its pane is complete as soon as the
    stream has passed its end. The delay of a label counts in the pane of its event, which is complete a join window
    later. A value of a category is unseen if no event had it before; a bitmap of 32 KiB per column tells that,
    and takes about one in 2^18 for seen per value that it knows. Words are not watched.

    Parameters
    ----------
    grid
        As of ``Panes``; the two see the same ops and are told to ``advance`` at the same ticks.
    categories
        Which columns of ``Events.categories`` to watch.
    numbers
        Names of the columns of ``Events.numbers``, in their order.

    Examples
    --------
    >>> hour_us = 3_600_000_000
    >>> grid = PaneGrid(pane_us=hour_us, windows_us=(24 * hour_us,), join_window_us=0)
    >>> panes = TrafficPanes(grid, categories=(), numbers=())
    >>> panes.count(hour_us, messages=200, dead=50)
    >>> panes.advance(hour_us, hour_us)
    >>> panes.window("final", 24 * hour_us, hour_us, threshold=0.5).dead_share
    0.25
    """

    def __init__(self, grid: PaneGrid, *, categories: Sequence[CategoryColumn], numbers: Sequence[str]) -> None:
        self.grid = grid
        self.categories = tuple(categories)
        self.numbers = tuple(numbers)
        length = self._length = grid.length
        self._columns = np.array([watched.column for watched in categories], dtype=np.int64)
        self._nulls = np.array([watched.null for watched in categories], dtype=np.uint64)
        self._scores = np.zeros((length, BINS), dtype=np.int64)
        self._categories = np.zeros((length, len(categories), 2), dtype=np.int64)
        self._values = np.zeros((length, len(numbers)), dtype=np.int64)
        self._moments = np.zeros((length, len(numbers), 3), dtype=np.float64)
        self._delays = np.zeros((length, DELAY_BINS), dtype=np.int64)
        self._books = np.zeros((length, 4), dtype=np.int64)
        self._changed = np.zeros(length, dtype=np.bool_)
        self._clock = np.array([NOT_YET, NOT_YET], dtype=np.int64)
        self._seen = np.zeros((len(categories), SEEN_BYTES), dtype=np.uint8)
        self._seen_changed = np.zeros(len(categories), dtype=np.bool_)
        self._counted = np.zeros(2, dtype=np.int64)  # messages, dead letters, of all time
        self.ring = Ring(
            "traffic",
            shape={
                "pane us": grid.pane_us,
                "join window us": grid.join_window_us,
                "panes": length,
                "categories": len(categories),
                "numbers": len(numbers),
            },
            header={
                "clock": self._clock,
                "books": self._books,
                "counted": self._counted,
            },
            places=[
                Places(
                    self._changed,
                    {
                        "scores": self._scores,
                        "categories": self._categories,
                        "values": self._values,
                        "moments": self._moments,
                        "delays": self._delays,
                    },
                ),
                Places(self._seen_changed, {"seen": self._seen}),
            ],
        )

    def observe(self, ops: Ops, rows: Rows, base: int, events: Events) -> None:
        """Take ops in merged order, once the model has scored the events into their rows.

        SCORE counts an event and what it holds, RESOLVE by a label the delay of that label.
        """
        kernels.walk(
            np.ascontiguousarray(ops.code),
            np.ascontiguousarray(ops.row),
            np.ascontiguousarray(ops.record),
            np.ascontiguousarray(ops.at),
            np.ascontiguousarray(rows.time),
            np.ascontiguousarray(rows.logit),
            base,
            np.ascontiguousarray(events.categories),
            np.ascontiguousarray(events.numbers),
            self._columns,
            self._nulls,
            self.grid.pane_us,
            self._scores,
            self._categories,
            self._values,
            self._moments,
            self._delays,
            self._books,
            self._changed,
            self._clock,
            self._seen,
            self._seen_changed,
        )

    def count(self, now_us: int, *, messages: int, dead: int) -> None:
        """Say at a tick how many messages there have been, and dead letters among them, since the very beginning.

        What is new of them counts in the pane that ends with the tick.
        """
        self._roll((now_us - 1) // self.grid.pane_us)
        totals = np.array([messages, dead], dtype=np.int64)
        self._books[self._clock[NEWEST] % self._length, [MESSAGES, DEAD]] += totals - self._counted
        self._counted[:] = totals

    def advance(self, now_us: int, decided_us: int) -> None:
        """Say at a tick that every event up to ``now_us`` has been observed, and every label of those a join
        window before ``decided_us``.
        """
        self._clock[DECIDED] = max(self._clock[DECIDED], decided_us)
        self._roll(now_us // self.grid.pane_us)

    def window(self, end: End, window_us: int, now_us: int, *, threshold: float, drift: Drift | None = None) -> Traffic:
        """Every figure of one window that ends at ``now_us``, or with the pane before it.

        ``"final"`` has complete panes alone, ``"provisional"`` also the one that is still filling, and delays of
        labels that came early. ``threshold`` is the probability from which on somebody would act, ``drift`` what
        ``FeatureDrift`` says of the same window; without it nothing is compared with a reference.

        Raises
        ------
        ValueError
            If ``window_us`` is none of the windows that were announced.
        """
        self.grid.require(window_us)
        provisional_last = (now_us - 1) // self.grid.pane_us
        last = decided_last = provisional_last
        if end == "final":
            last = now_us // self.grid.pane_us - 1
            decided_last = (min(now_us, int(self._clock[DECIDED])) - self.grid.join_window_us) // self.grid.pane_us - 1
        panes = window_us // self.grid.pane_us
        scores, categories, numbers, books = self._merged(last - panes + 1, last)
        delays = np.zeros(DELAY_BINS, dtype=np.int64)
        kernels.merge_delays(*self._held(decided_last - panes + 1, decided_last), self._delays, self._books, delays)
        books[LABELS] = delays.sum()  # these have an end of their own
        return traffic_figures(
            books=books,
            scores=scores,
            delays=delays,
            categories={watched.name: categories[j].tolist() for j, watched in enumerate(self.categories)},
            numbers={name: numbers[j].tolist() for j, name in enumerate(self.numbers)},
            drift=drift or Drift(),
            threshold=threshold,
        )

    def recent_dead_share(self, *, min_messages: int) -> float | None:
        """Dead letters among the messages of the latest ticks, as many as it takes to have so many; else None."""
        newest = int(self._clock[NEWEST])
        places = np.arange(newest, newest - self._length, -1) % self._length
        messages = self._books[places, MESSAGES].cumsum()
        enough = int(np.searchsorted(messages, min_messages))
        if enough == self._length:
            return None
        return int(self._books[places[: enough + 1], DEAD].sum()) / int(messages[enough])

    def _roll(self, pane: int) -> None:
        """Make ``pane`` the newest."""
        kernels.roll(
            pane,
            self._scores,
            self._categories,
            self._values,
            self._moments,
            self._delays,
            self._books,
            self._changed,
            self._clock,
        )

    def _held(self, first: int, last: int) -> tuple[int, int]:
        newest = int(self._clock[NEWEST])
        return max(first, newest - self._length + 1), min(last, newest)

    def _merged(
        self, first: int, last: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        scores = np.zeros(BINS, dtype=np.int64)
        categories = np.zeros((len(self.categories), 2), dtype=np.int64)
        numbers = np.zeros((len(self.numbers), 4), dtype=np.float64)
        books = np.zeros(4, dtype=np.int64)
        kernels.merge_events(
            *self._held(first, last),
            self._scores,
            self._categories,
            self._values,
            self._moments,
            self._books,
            scores,
            categories,
            numbers,
            books,
        )
        return scores, categories, numbers, books
