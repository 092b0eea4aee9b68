"""Why a logit is what it is: every learner here is one linear model in the encoded features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.kernels.layout import ALPHA, BETA, EXPERTS, L1, L2, MIXERS, SHARE, new_scratch
from models.kernels.mixture import (
    ADAGRADS,
    BASE_RATE,
    NEGATIVES,
    NEWTON,
    PLAIN_SGD,
    POSITIVES,
    PRIOR,
    REGRET_A,
    REGRET_B,
    REGRET_TOP,
    SGD,
    SQUARED_A,
    SQUARED_B,
    SQUARED_TOP,
    TOP_PRIOR,
    TOP_TRUST,
    share,
)
from models.learner import is_mixed
from models.plan import Plan, names_of_slots
from models.prediction import expanded
from models.state import State

PLAIN_COLUMNS = [0, 1, 2, SGD, ADAGRADS - 1, PLAIN_SGD]  # of the weights, in the order of the experts
HAT_EXPERTS = 4


def linear_weights(
    state: State, settings: NDArray[np.float64], slots: NDArray[np.int64], *, hats: bool
) -> NDArray[np.float64]:
    """The weight of each slot in the one linear model that the learner is now, shape (n,).

    A slot has two weights where hats and other features may share it: ``hats`` says which is asked for. The weight
    of the bias holds the base rate. Before the answer's bound, a logit is the sum of weights times values.
    """
    weights = state.weights[slots]
    if not is_mixed(settings):
        return _ftrl_weights(weights, settings, slots == len(state.weights) - 1)
    shares = expert_shares(state)
    columns = PLAIN_COLUMNS[:HAT_EXPERTS] if hats else PLAIN_COLUMNS
    result = weights[:, columns] @ shares[: len(columns)]
    base_rate = np.log((state.mixing[POSITIVES] + 0.5) / (state.mixing[NEGATIVES] + 0.5))
    result[slots == len(state.weights) - 1] += shares[BASE_RATE] * base_rate
    return result


def expert_shares(state: State) -> NDArray[np.float64]:
    """How much each expert of the mixture has to say now, shape (7,); they need not add up to 1."""
    mixing = state.mixing
    a, b = _shares(mixing, REGRET_A, SQUARED_A, PRIOR), _shares(mixing, REGRET_B, SQUARED_B, PRIOR)
    top = TOP_TRUST * _shares(mixing, REGRET_TOP, SQUARED_TOP, TOP_PRIOR) + (1.0 - TOP_TRUST) * TOP_PRIOR
    return top[0] * a + top[1] * b + top[2] * mixing[NEWTON : NEWTON + EXPERTS]


def _shares(mixing: NDArray[np.float64], regret: int, squared: int, prior: NDArray[np.float64]) -> NDArray[np.float64]:
    scratch = new_scratch(EXPERTS + MIXERS)
    share(mixing, regret, squared, prior, scratch)
    return scratch[SHARE, : len(prior)].copy()


def _ftrl_weights(
    weights: NDArray[np.float64], settings: NDArray[np.float64], bias: NDArray[np.bool_]
) -> NDArray[np.float64]:
    z, n = weights[:, 0], weights[:, 1]
    l1, l2 = np.where(bias, 0.0, settings[L1]), np.where(bias, 0.0, settings[L2])
    divisor = np.maximum((settings[BETA] + np.sqrt(n)) / settings[ALPHA] + l2, 1e-12)
    return -np.copysign(np.maximum(np.abs(z) - l1, 0.0), z) / divisor


def contributions(
    state: State, settings: NDArray[np.float64], plan: Plan, cells: NDArray[np.uint32], bias: int
) -> dict[str, float]:
    """By name, what each feature of an event adds to its logit, the largest first."""
    slots, values, plain = expanded(plan.entries, bias, cells)
    values[:plain] *= linear_weights(state, settings, slots[:plain], hats=False)
    values[plain:] *= linear_weights(state, settings, slots[plain:], hats=True)
    total: dict[str, float] = {}
    for name, contribution in zip(names_of_slots(plan, cells), values.tolist(), strict=True):
        total[name] = total.get(name, 0.0) + contribution
    return dict(sorted(total.items(), key=lambda item: -abs(item[1])))
