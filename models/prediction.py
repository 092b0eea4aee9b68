"""What was said of an event, kept until its label comes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.kernels import walk
from models.kernels.sigmoid import sigmoid


def expanded(
    entries: NDArray[np.uint64], bias: int, cells: NDArray[np.uint32]
) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """Slots and values that an event's cells stand for, and how many there are before those of hats."""
    width = 1 + 3 * len(cells)  # a cell stands for two slots at most
    slots, values = np.empty(width, np.int64), np.empty(width)
    plain, size = walk.slots_and_values(entries, bias, cells, slots, values)
    return slots[:size], values[:size], int(plain)


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What was said of an event, and on what grounds: ``learn`` needs exactly this."""

    logit: float
    number: int  # of the events asked up to here, this one included
    said: NDArray[np.float32]  # (1, k): logits of experts and mixers, and the bound; k = 0 with FTRL alone
    cells: NDArray[np.uint32]
    entries: NDArray[np.uint64]  # what the cells are about
    bias: int  # slot of the bias

    @property
    def probability(self) -> float:
        return float(sigmoid(self.logit))

    @property
    def slots(self) -> NDArray[np.int64]:
        """Where the event's features lie among the weights, the bias first, hats of numbers last."""
        return self._expanded()[0]

    @property
    def values(self) -> NDArray[np.float64]:
        """The features' values, in the order of ``slots``."""
        return self._expanded()[1]

    def _expanded(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        slots, values, _ = expanded(self.entries, self.bias, self.cells)
        return slots, values
