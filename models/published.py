"""A published state: all that an answer of that moment needs, in two floats a slot.

Every learner here is one linear model in its slots, so a state says what it said, to within float32, by the frozen
weights of its slots, the statistics of its numbers, and the bound of its answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.frozen import frozen_weights
from models.kernels.mixture import answer_bound
from models.learner import is_mixed
from models.state import ASKED, SMALL, State


@dataclass(frozen=True, slots=True)
class Published:
    """What a state says of an event, and nothing that it would need to learn.

    Its weights take 8 bytes of memory for each slot that was in use, and about as much address space for all others.
    """

    weights: NDArray[np.float32]  # (slots, 2), as in ``Frozen``
    statistics: NDArray[np.float64]
    sample: NDArray[np.float64]
    sampled: NDArray[np.int64]
    asked: int
    bound: float  # of the logit, either way


def state_of(whole_state: Mapping[str, NDArray[Any]], *, slots: int) -> State:
    """The state that ``StreamModel.whole_state`` gave, of a model with so many slots, the bias included."""
    used = np.asarray(whole_state["weights"])
    weights = np.zeros((slots, used.shape[1]), np.float64)  # what is not in use takes no memory
    weights[whole_state["slots"]] = used
    small = {name: np.array(whole_state[name]) for name in SMALL}  # kernels take writable arrays alone
    return State(weights=weights, dirty=np.zeros(0, np.uint8), **small)


def publish(whole_state: Mapping[str, NDArray[Any]], settings: NDArray[np.float64], *, slots: int) -> Published:
    """What ``StreamModel.whole_state`` gave, as it will be asked."""
    state = state_of(whole_state, slots=slots)
    weights = np.zeros((slots, 2), np.float32)
    used = np.asarray(whole_state["slots"])  # the bias is among them, once anything was learned
    weights[used] = frozen_weights(state, settings, used)
    return Published(
        weights,
        state.statistics,
        state.sample,
        state.sampled,
        int(state.counters[ASKED]),
        float(answer_bound(state.counters)) if is_mixed(settings) else math.inf,
    )
