"""The reference: a learner's answer of one moment, kept as it was, so that what the learner absorbs stays visible.

Every learner here is one linear model in its slots, so all of it freezes into two numbers a slot. Features are encoded
as the learner sees them: the standardisation of numbers goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.explanation import linear_weights
from models.state import BLOCK_SLOTS, State


def frozen_weights(state: State, settings: NDArray[np.float64], slots: NDArray[np.int64]) -> NDArray[np.float32]:
    """Of each slot its weight as a hat, and what is added to that for other features; shape (n, 2)."""
    hats = linear_weights(state, settings, slots, hats=True)
    plain = linear_weights(state, settings, slots, hats=False)
    # the bias is no hat, and its weight holds the base rate: all of it is plain
    hats[slots == len(state.weights) - 1] = 0.0
    return np.stack([hats, plain - hats], axis=1).astype(np.float32)


class Frozen:
    """A frozen linear model, or none yet.

    Attributes
    ----------
    weights : float32 array, shape (slots, 2) or (0, 2)
        Of each slot its weight as a hat, and what is added to that for other features; no rows: nothing is frozen.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self.weights: NDArray[np.float32] = np.zeros((0, 2), np.float32)
        self._dirty: set[int] = set()

    def freeze(self, state: State, settings: NDArray[np.float64]) -> None:
        """Become what the learner says now."""
        self.weights = np.empty((self._slots, 2), np.float32)
        for number, first in enumerate(range(0, self._slots, BLOCK_SLOTS)):
            slots = np.arange(first, min(first + BLOCK_SLOTS, self._slots))
            self.weights[slots] = frozen_weights(state, settings, slots)
            self._dirty.add(number)

    def take_dirty(self) -> list[int]:
        """Blocks that no checkpoint has; they count as stored from now on."""
        dirty = sorted(self._dirty)
        self._dirty.clear()
        return dirty

    def mark_dirty(self, blocks: Iterable[int]) -> None:
        """These blocks did not reach the store after all."""
        self._dirty.update(blocks)

    def block(self, number: int) -> dict[str, NDArray[Any]]:
        """A copy of one block: slots in use, and their weights."""
        weights = self.weights[number * BLOCK_SLOTS : (number + 1) * BLOCK_SLOTS]
        used = np.flatnonzero(weights.any(axis=1))
        return {"slots": used.astype(np.uint16), "weights": weights[used]}

    def restore(self, blocks: Mapping[int, Mapping[str, NDArray[Any]]]) -> None:
        """Go on from what ``block`` gave."""
        self.weights = np.zeros((self._slots if blocks else 0, 2), np.float32)
        for number, block in blocks.items():
            self.weights[number * BLOCK_SLOTS + block["slots"].astype(np.int64)] = block["weights"]
