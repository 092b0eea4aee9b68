"""What a model remembers to be quick, and could do without."""

from __future__ import annotations

import numpy as np

from models.hashing import CategoryHashes
from models.kernels.layout import new_scratch
from models.plan import Plan
from models.recipes import Recipe, Shape

MAX_REMEMBERED = 1 << 10  # sets of names, or shapes of dicts


class WorkingMemory:
    """Plans by the names of the columns, recipes by the shapes of dicts, hashes, and room for the kernels.

    Copies and pickles begin without any of it, so nothing of it is part of the model.
    """

    def __init__(self) -> None:
        self._plans: dict[tuple[tuple[str, ...], ...], Plan] = {}
        self._recipes: dict[Shape, Recipe | None] = {}
        self._hashes: dict[str, CategoryHashes] = {}
        self.slots, self.scratch = np.empty(1, np.int64), new_scratch(1)

    def __reduce__(self) -> tuple[type[WorkingMemory], tuple[()]]:
        return WorkingMemory, ()

    @property
    def plans(self) -> dict[tuple[tuple[str, ...], ...], Plan]:
        if len(self._plans) >= MAX_REMEMBERED:
            self._plans.clear()
        return self._plans

    @property
    def recipes(self) -> dict[Shape, Recipe | None]:
        if len(self._recipes) >= MAX_REMEMBERED:
            self._recipes.clear()
        return self._recipes

    def hashes_of(self, name: str) -> CategoryHashes:
        """One for all recipes: a name may have many values, and a stream many shapes."""
        if name not in self._hashes:
            if len(self._hashes) >= MAX_REMEMBERED:
                self._hashes.clear()
                self._recipes.clear()
            self._hashes[name] = CategoryHashes(name)
        return self._hashes[name]

    def make_room(self, width: int) -> None:
        """For events of so many slots."""
        if width > len(self.slots):
            self.slots, self.scratch = np.empty(width, np.int64), new_scratch(width)

    def forget(self) -> None:
        """A new number is known: what was laid out without it may be wrong."""
        self._plans.clear()
        self._recipes.clear()
