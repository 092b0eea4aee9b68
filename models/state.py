"""Everything a model has learned, as arrays."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK_SLOTS = 4096  # what a checkpoint writes at a time: 64 KiB

# Places in `counters`.
ASKED, LEARNED, DROPPED, ABSURD = 0, 1, 2, 3

# Columns of `statistics`, one row per number.
COUNT, MEAN, DEVIATIONS, SQUARES = 0, 1, 2, 3


class State(NamedTuple):
    """The learned state of one model with 2^bits slots and j numbers.

    float64, because in float32 a long stream of rare positives loses its calibration: after tens of millions of
    events a gradient is smaller than the last digit of z (20 % too high at a base rate of 0.1 %).
    """

    weights: NDArray[np.float64]  # (2^bits + 1, 2): z and n of FTRL; the last slot is the bias
    statistics: NDArray[np.float64]  # (j, 4): count, mean, squared deviations, sum of squares
    counters: NDArray[np.int64]  # (4,): events asked, learned, dropped, numbers too large to use
    dirty: NDArray[np.uint8]  # blocks of slots touched since the last checkpoint


def new_state(*, bits: int, numbers: int) -> State:
    slots = (1 << bits) + 1
    return State(
        weights=np.zeros((slots, 2), np.float64),
        statistics=np.zeros((numbers, 4), np.float64),
        counters=np.zeros(4, np.int64),
        dirty=np.zeros(-(-slots // BLOCK_SLOTS), np.uint8),
    )


def sha256(state: State) -> str:
    """Digest of all that was learned: equal exactly when every later prediction is."""
    digest = hashlib.sha256()
    seen = state.statistics[:, COUNT] > 0  # a number that never came is as good as one that isn't known
    for array in (state.weights, state.statistics[seen], state.counters):
        digest.update(str((array.shape, array.dtype.str)).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
