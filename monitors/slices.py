"""Slices: the quality of served predictions by the values of a field, in coarser bins and the same panes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitors import slice_kernels as kernels
from monitors.bins import Tally
from monitors.grid import NEVER, End, PaneGrid
from monitors.ring import Places, Ring
from monitors.slice_kernels import BINS, CANDIDATES, NEWEST, OTHER, PLACES, WATERMARK
from stream.records import Events, Ops, Rows

NAME_BYTES = 64
OTHERS = "other"

Name = Callable[[int, str], str]


class Slice(NamedTuple):
    """The events of one value of a field, or of all values without a place of their own."""

    field: str
    value: str

    def __str__(self) -> str:
        return f"{self.field}={self.value}"


class SlicePanes:
    """Predictions judged as by ``Panes``, apart for each of the values of some fields.

    A field has 32 places. The first 16 values have one at once, later ones when they have come 100 times; everything
    else is "other". A value that has not come for as long as the ring remembers gives its place up, so an old
    campaign makes room for a new one. What came before a value had its place stays with "other".

    Parameters
    ----------
    grid
        As of ``Panes``; the two see the same ops and are told to ``advance`` at the same ticks.
    fields
        Names of the columns of ``Events.slices``, in their order.

    Attributes
    ----------
    ring : Ring
        The state, for the store.

    Examples
    --------
    >>> hour_us = 3_600_000_000
    >>> slices = SlicePanes(PaneGrid(pane_us=hour_us, windows_us=(24 * hour_us,), join_window_us=0), ["carrier"])
    >>> [str(of) for of in slices.tallies("final", 24 * hour_us, 0)]
    ['carrier=other']
    """

    def __init__(self, grid: PaneGrid, fields: Sequence[str]) -> None:
        self.grid = grid
        self.fields = tuple(fields)
        length, count = grid.length, len(fields)
        groups = count * (PLACES + 1)
        self._length = length
        self._counts = np.zeros((length, groups, BINS, 2), dtype=np.int64)
        self._sums = np.zeros((length, groups, BINS, 2), dtype=np.float64)
        self._traffic = np.zeros((length, groups, 2), dtype=np.int64)
        self._span = np.zeros((length, 2), dtype=np.int64)
        self._changed = np.zeros(length, dtype=np.bool_)
        self._clock = np.array([NEVER, NEVER], dtype=np.int64)
        self._values = np.zeros((count, PLACES), dtype=np.uint64)
        self._seen = np.full((count, PLACES), NEVER, dtype=np.int64)
        self._candidates = np.zeros((count, CANDIDATES), dtype=np.uint64)
        self._tries = np.zeros((count, CANDIDATES), dtype=np.int64)
        self._names = np.zeros((count, PLACES, NAME_BYTES), dtype=np.uint8)
        self.ring = Ring(
            "slices",
            shape={
                "pane us": grid.pane_us,
                "join window us": grid.join_window_us,
                "panes": length,
                "fields": count,
            },
            header={
                "clock": self._clock,
                "traffic": self._traffic,
                "span": self._span,
                "values": self._values,
                "seen": self._seen,
                "candidates": self._candidates,
                "tries": self._tries,
                "names": self._names,
            },
            places=[
                Places(self._changed, {"counts": self._counts, "sums": self._sums}, self._span, self._traffic[..., 0])
            ],
        )

    def observe(self, ops: Ops, rows: Rows, base: int, events: Events, name: Name) -> None:
        """Take ops in merged order, once the model has scored the events into their rows.

        ``name`` is asked for the text of a value that gets a place: it is given the number of an event that has the
        value, and the field.
        """
        if not self.fields:
            return
        begun = np.full((len(self.fields), PLACES), -1, dtype=np.int64)
        kernels.walk(
            np.ascontiguousarray(ops.code),
            np.ascontiguousarray(ops.row),
            np.ascontiguousarray(ops.record),
            np.ascontiguousarray(ops.label),
            np.ascontiguousarray(rows.time),
            np.ascontiguousarray(rows.logit),
            base,
            np.ascontiguousarray(events.slices),
            np.ascontiguousarray(rows.slices),
            self.grid.pane_us,
            self.grid.final_before(int(self._clock[WATERMARK])),
            self._counts,
            self._sums,
            self._traffic,
            self._span,
            self._changed,
            self._clock,
            self._values,
            self._seen,
            self._candidates,
            self._tries,
            begun,
        )
        for field, place in np.argwhere(begun >= 0).tolist():
            self._write_name(field, place, name(int(begun[field, place]), self.fields[field]))

    def advance(self, now_us: int) -> None:
        """Say that everything up to the watermark ``now_us`` has been observed. To be called at every tick."""
        if self.fields and now_us > self._clock[WATERMARK]:
            self._clock[WATERMARK] = now_us
            pane = now_us // self.grid.pane_us
            if pane > self._clock[NEWEST]:
                kernels.roll(
                    pane,
                    self._counts,
                    self._sums,
                    self._traffic,
                    self._span,
                    self._changed,
                    self._clock,
                    self._seen,
                )

    def tallies(self, end: End, window_us: int, now_us: int) -> dict[Slice, Tally]:
        """The tally of each value with a place, in the order of their names, and of "other", field by field.

        Window and end are as for ``Panes.window``.

        Raises
        ------
        ValueError
            If ``window_us`` is none of the windows of the grid.
        """
        tallies: dict[Slice, Tally] = {}
        for field in range(len(self.fields)):
            of_places = self._merged(end, window_us, now_us, field * (PLACES + 1), PLACES + 1)
            named = sorted((self._name(field, place), place) for place in self._held(field))
            for name, place in [*named, (OTHERS, OTHER)]:
                tallies[Slice(self.fields[field], name)] = of_places[place]
        return tallies

    def tally(self, of: Slice, end: End, window_us: int, now_us: int) -> Tally | None:
        """The tally of one slice, or None while the value has no place."""
        field = self.fields.index(of.field)
        place = next((place for place in self._held(field) if self._name(field, place) == of.value), None)
        if of.value == OTHERS and place is None:
            place = OTHER
        if place is None:
            return None
        return self._merged(end, window_us, now_us, field * (PLACES + 1) + place, 1)[0]

    @property
    def values(self) -> NDArray[np.uint64]:
        """By field the hashes of the values that have a place, shape (fields, PLACES); 0 where none has."""
        return self._values.copy()

    def slice_at(self, field: int, place: int) -> Slice:
        """The slice of a field's place."""
        return Slice(self.fields[field], OTHERS if place == OTHER else self._name(field, place))

    def _held(self, field: int) -> list[int]:
        return np.flatnonzero(self._seen[field] != NEVER).tolist()

    def _merged(self, end: End, window_us: int, now_us: int, from_group: int, count: int) -> list[Tally]:
        newest = int(self._clock[NEWEST])
        first, _, reached = self.grid.window(end, window_us, now_us=now_us, watermark_us=int(self._clock[WATERMARK]))
        counts = np.zeros((count, BINS, 2), dtype=np.int64)
        sums = np.zeros((count, BINS, 2), dtype=np.float64)
        traffic = np.zeros((count, 2), dtype=np.int64)
        kernels.merge(
            max(first, newest - self._length + 1),
            min(reached, newest),
            from_group,
            self._counts,
            self._sums,
            self._traffic,
            self._span,
            counts,
            sums,
            traffic,
        )
        return [Tally(int(traffic[g, 0]), int(traffic[g, 1]), counts[g], sums[g]) for g in range(count)]

    def _write_name(self, field: int, place: int, name: str) -> None:
        data = (f'"{name}"' if name == OTHERS else name).encode(errors="replace")
        if len(data) > NAME_BYTES:  # the end of its hash keeps it apart from others that begin alike
            end = f"~{int(self._values[field, place]) & 0xFFFFFF:06x}"
            data = data[: NAME_BYTES - len(end)].decode(errors="ignore").encode() + end.encode()
        self._names[field, place] = 0
        self._names[field, place, : len(data)] = np.frombuffer(data, dtype=np.uint8)

    def _name(self, field: int, place: int) -> str:
        return self._names[field, place].tobytes().rstrip(b"\0").decode()


def parse_slice(text: str, fields: Sequence[str]) -> Slice | None:
    """Read "carrier=UA"; None if it begins with none of the fields.

    Examples
    --------
    >>> parse_slice("carrier=UA", ["carrier"])
    Slice(field='carrier', value='UA')
    """
    return next((Slice(field, text[len(field) + 1 :]) for field in fields if text.startswith(f"{field}=")), None)
