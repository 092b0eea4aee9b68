"""A ring of panes as the store sees it: a small header, and a block per place, of which few change.

A checkpoint stores the header and the blocks of dirty places, then calls ``clean``. A place without a block is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

State = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Places:
    """Arrays with one entry per place, and which of the entries differ from what was last stored.

    With ``span``, shape (places, 2), only the bins from and up to without are in use; bins are the last axis but one.
    With ``groups``, shape (places, groups), only those that are not zero there; groups are the axis before.
    """

    changed: NDArray[np.bool_]
    arrays: Mapping[str, NDArray[Any]]
    span: NDArray[np.int64] | None = None
    groups: NDArray[np.int64] | None = None

    def used(self, place: int) -> Any:
        """Index of what is in use."""
        if self.span is None:
            return (place,)
        bins = slice(*self.span[place].tolist())
        return (place, bins) if self.groups is None else (place, np.flatnonzero(self.groups[place]), bins)


class Ring:
    """The state of a monitor, in the parts in which it is stored.

    Parameters
    ----------
    what
        The monitor's name in errors.
    shape
        What the state depends on, by name: it fits no other.
    header
        Arrays that are stored whole each time.
    places
        The rest. Places are numbered through all of it.
    """

    def __init__(
        self, what: str, *, shape: Mapping[str, int], header: Mapping[str, NDArray[Any]], places: Sequence[Places]
    ) -> None:
        self._what = what
        self._shape = dict(shape)
        self._header = dict(header)
        self._places = tuple(places)

    def dirty(self) -> list[int]:
        """Places whose block has changed since ``clean``, ascending."""
        return np.flatnonzero(np.concatenate([places.changed for places in self._places])).tolist()

    def clean(self) -> None:
        """Say that all blocks have been copied for storing; should that fail, store those places again."""
        for places in self._places:
            places.changed[:] = False

    def header(self) -> State:
        """Everything that is no block. Copies."""
        shape = np.array(list(self._shape.values()), dtype=np.int64)
        return {"shape": shape} | {name: array.copy() for name, array in self._header.items()}

    def block(self, place: int) -> State:
        """The arrays of one place, under names that say which. Copies."""
        first = 0
        for places in self._places:
            if place < first + len(places.changed):
                used = places.used(place - first)
                return {f"{name}/{place}": array[used].copy() for name, array in places.arrays.items()}
            first += len(places.changed)
        raise IndexError(f"{self._what}: no place {place}, only {first}")

    def state(self) -> State:
        """The header and all blocks that are not empty. Copies."""
        state = self.header()
        for place in range(sum(len(places.changed) for places in self._places)):
            block = self.block(place)
            if any(array.any() for array in block.values()):
                state |= block
        return state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Become what ``state`` was taken from, to the bit; nothing is dirty then.

        Raises
        ------
        ValueError
            If it is the state of another shape; then nothing has changed.
        """
        ours, theirs = tuple(self._shape.values()), tuple(state["shape"].tolist())
        if ours != theirs:
            raise ValueError(
                f"the stored {self._what} has ({', '.join(self._shape)}) = {theirs}, the configuration says {ours}.\n"
                "  Put the former settings back, or start the monitors anew."
            )
        for name, array in self._header.items():
            array[:] = state[name]
        first = 0
        for places in self._places:
            for place in range(len(places.changed)):
                used = places.used(place)
                for name, array in places.arrays.items():
                    array[place] = 0
                    array[used] = state.get(f"{name}/{first + place}", 0)
            first += len(places.changed)
        self.clean()
