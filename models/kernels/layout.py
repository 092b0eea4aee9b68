"""Places of the arrays that the compiled learners share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.state import BLOCK_SLOTS

BLOCK_SHIFT = BLOCK_SLOTS.bit_length() - 1

# Places of the settings, all float64.
MIXED, ALPHA, BETA, L1, L2 = range(5)  # MIXED: 1 for the mixture, 0 for FTRL alone
SETTINGS = 5

# What a prediction says, in float32: logits of the experts and of the mixers, and the bound of the answer.
EXPERTS, MIXERS = 7, 3
SAID = EXPERTS + MIXERS + 1
BOUND = SAID - 1

LANES = 8  # so many entries go through the processor at once
# Rows of the scratch: values of the slots; what FTRL looks up of them; of the mixture its shares, its experts' logits
# now and then, and of four of them errors, squared gradients and steps.
VALUE, Z, N, ROOT, WEIGHT, SHARE, NOW, THEN, ERROR, SQUARED, STEP = (*range(10), 13)


def new_scratch(width: int) -> NDArray[np.float64]:
    """Room for what is looked up of an event of at most ``width`` slots."""
    return np.empty((17, -(-width // LANES) * LANES))
