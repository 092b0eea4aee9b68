"""How dicts of one shape become columns: worked out once, then done for each with few steps."""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Mapping
from typing import Any

import numpy as np

from models.features import Columns
from models.hashing import CategoryHashes
from models.plan import Plan

Shape = tuple[tuple[Any, ...], tuple[type, ...]]  # names and types of the values, in their order
CATEGORIES, NUMBERS = (str, bool), (float, int)  # of other types every value is looked at: models/features.py


def shape_of(x: Mapping[Any, Any]) -> Shape:
    """What decides which of the values are categories, numbers and nulls.

    >>> shape_of({"carrier": "UA", "distance": 733.0})
    (('carrier', 'distance'), (<class 'str'>, <class 'float'>))
    """
    return tuple(x), tuple(map(type, x.values()))


def is_plain(shape: Shape, known_numbers: Container[str]) -> bool:
    """Whether there is a recipe: values are text, booleans, nulls, and numbers that are known as such."""
    return all(
        type(name) is str and (kind in CATEGORIES or kind is type(None) or (kind in NUMBERS and name in known_numbers))
        for name, kind in zip(*shape, strict=True)
    )


class Recipe:
    """Takes dicts of one shape into columns, always the same arrays, and has room for what kernels make of them.

    Parameters
    ----------
    shape
        One that ``is_plain``.
    known_numbers
        Names whose null is a number's.
    plan_of
        Lays out columns.
    hashes_of
        Gives the hashes of a name's values, which all recipes share.
    said
        Numbers that a prediction keeps.

    Attributes
    ----------
    columns : Columns
        One event, the one that was taken last.
    """

    def __init__(
        self,
        shape: Shape,
        known_numbers: Container[str],
        plan_of: Callable[[Columns], Plan],
        hashes_of: Callable[[str], CategoryHashes],
        *,
        said: int,
    ) -> None:
        kinds = dict(zip(*shape, strict=True))
        self._numbers = [name for name, kind in kinds.items() if kind in NUMBERS]
        nulls = [name for name, kind in kinds.items() if kind is type(None) and name in known_numbers]
        self._hashes = [(name, hashes_of(name)) for name in kinds if name not in {*self._numbers, *nulls}]
        categories = len(self._hashes)
        room = np.zeros(categories + len(self._numbers) + len(nulls), np.uint64)
        numbers = room[categories:].view(np.float64)
        numbers[len(self._numbers) :] = np.nan
        self.columns = Columns(
            tuple(name for name, _ in self._hashes),
            (*self._numbers, *nulls),
            (),
            room[:categories].reshape(1, categories),
            numbers.reshape(1, len(numbers)),
            np.zeros((1, 0), np.uint64),
        )
        self._room: Any = room.view(np.uint8)
        self._pack = struct.Struct(f"={categories}Q{len(self._numbers)}d").pack_into
        self.plan = plan_of(self.columns)
        self.cells, self.said = np.zeros(self.plan.cells, np.uint32), np.zeros((1, said), np.float32)
        self.logits, self.labels, self.importance = np.zeros(1), np.zeros(1), np.ones(1)

    def take(self, x: Mapping[str, Any]) -> bool:
        """Put the event into the columns; False where a number is too large for that."""
        try:
            self._pack(
                self._room, 0, *[hashes[x[name]] for name, hashes in self._hashes], *[x[name] for name in self._numbers]
            )
        except (OverflowError, struct.error):
            return False
        return True
