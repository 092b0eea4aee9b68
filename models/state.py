"""Everything a model has learned, as arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.hashing import hash_text

BLOCK_SLOTS = 4096  # what a checkpoint looks at at a time
SAMPLE = 64  # values kept of each number, for its ranks

# Places in `counters`.
ASKED, LEARNED, DROPPED, ABSURD = 0, 1, 2, 3

# Columns of `statistics`, one row per number.
COUNT, MEAN, DEVIATIONS, SQUARES = 0, 1, 2, 3


class State(NamedTuple):
    """The learned state of one model with 2^bits slots and j numbers.

    float64, because in float32 a long stream of rare positives loses its calibration: after tens of millions of
    events a gradient is smaller than the last digit of z (20 % too high at a base rate of 0.1 %).
    """

    weights: NDArray[np.float64]  # (2^bits + 1, p): what the learner keeps of a slot; the last is the bias
    statistics: NDArray[np.float64]  # (j, 4): count, mean, squared deviations, sum of squares
    sample: NDArray[np.float64]  # (j, SAMPLE): values of each number, sorted, then infinity; no rows without ranks
    sampled: NDArray[np.int64]  # (j,): how many there are of each
    random: NDArray[np.uint64]  # (j,): state of xorshift64, which draws the sample
    mixing: NDArray[np.float64]  # (r,): what the learner keeps besides, by places of its own
    counters: NDArray[np.int64]  # (4,): events asked, learned, dropped, numbers too large to use
    ahead: NDArray[np.int64]  # (1,): by how much numbers of rows exceed those of events asked
    dirty: NDArray[np.uint8]  # blocks of slots touched since the last checkpoint


# What the state of numbers consists of, and what is small besides.
OF_NUMBERS = ("statistics", "sample", "sampled", "random")
SMALL = (*OF_NUMBERS, "mixing", "counters", "ahead")


def new_state(*, bits: int, numbers: Sequence[str], parameters: int, mixing: NDArray[np.float64], ranks: bool) -> State:
    """Nothing learned yet: ``parameters`` zeros a slot, and ``mixing`` as the learner begins with it."""
    slots = (1 << bits) + 1
    state = State(
        weights=np.zeros((slots, parameters), np.float64),
        statistics=np.zeros((0, 4), np.float64),
        sample=np.full((0, SAMPLE), np.inf),
        sampled=np.zeros(0, np.int64),
        random=np.zeros(0, np.uint64),
        mixing=mixing,
        counters=np.zeros(4, np.int64),
        ahead=np.zeros(1, np.int64),
        dirty=np.zeros(-(-slots // BLOCK_SLOTS), np.uint8),
    )
    return with_numbers(state, numbers, ranks=ranks)


def with_numbers(state: State, names: Sequence[str], *, known: int = 0, ranks: bool) -> State:
    """The state with room for more numbers after the ``known`` first; where it must grow it doubles."""
    first, last = known, known + len(names)
    if last > len(state.statistics):
        state = _grown(state, max(last, 2 * len(state.statistics) if known else last), ranks=ranks)
    if ranks:
        state.random[first:last] = [hash_text(name) or 1 for name in names]  # of zero xorshift makes nothing else
    return state


def _grown(state: State, rows: int, *, ranks: bool) -> State:
    def grow(array: NDArray[Any]) -> NDArray[Any]:
        more = np.zeros((rows - len(array), *array.shape[1:]), array.dtype)
        return np.concatenate([array, more])

    arrays = OF_NUMBERS if ranks else ("statistics",)
    grown = state._replace(**{name: grow(getattr(state, name)) for name in arrays})
    grown.sample[len(state.sample) :] = np.inf
    return grown


def sha256(state: State) -> str:
    """Digest of all that was learned: equal exactly when every later prediction is."""
    digest = hashlib.sha256()
    seen = state.statistics[:, COUNT] > 0  # a number that never came is as good as one that isn't known
    ranked = seen[: len(state.sample)]
    for array in (
        state.weights,
        state.statistics[seen],
        state.sample[ranked],
        state.sampled[ranked],
        state.random[ranked],
        state.mixing,
        state.counters,
    ):
        digest.update(str((array.shape, array.dtype.str)).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
