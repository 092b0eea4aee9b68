"""The bets of e-detectors, compiled. A detector is one row of each of these arrays:

- stakes float64 (n, BETS): by bet, the Shiryaev-Roberts sum of what a gambler would own who began at each event
- centre float64 (n, 2): mean of the logits, by which slopes turn, and how many it is of
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SHIFTS = np.array([0.1, -0.1, 0.2, -0.2, 0.4, -0.4, 0.8, -0.8])  # of the logit, beyond the tolerance
SLOPES = np.array([0.5, 0.75, 1.33, 2.0])  # by which the logit's distance from its mean is multiplied
BETS = len(SHIFTS) + len(SLOPES)
MOST_LOGIT = 36.0
MEMORY = 1000.0  # events over which the centre is averaged


def shift_odds(tolerance: float) -> Floats:
    """What odds against are multiplied by at the tolerance's edge, and where a bet on a shift is; shape (SHIFTS, 2)."""
    edges = np.copysign(tolerance, SHIFTS)
    return np.exp(-np.stack([edges, edges + SHIFTS], axis=1))


@njit(cache=True, error_model="numpy", inline="always")
def _ratio(against, at_edge, at_shift, positive):
    """Likelihood of the outcome under the shift, over that at the edge."""
    ratio = (1.0 + against * at_edge) / (1.0 + against * at_shift)
    return ratio if positive else ratio * (at_shift / at_edge)


@njit(cache=True, error_model="numpy", inline="always")
def bet(logit, positive, tolerance, odds, stakes, centre, of):
    """Let one outcome pay or cost every bet of detector ``of``; return its evidence, the mean of what they own.

    A bet on a shift is the likelihood ratio of the shifted logit against the tolerance's edge on the same side. Its
    expectation is at most 1 wherever within the tolerance the true logit lies, so the evidence after n events is at
    most n in expectation, and passes A no sooner than after A events on average (Shin, Ramdas and Rinaldo 2023,
    "E-detectors", theorem 2.4 there).
    """
    logit = min(max(logit, -MOST_LOGIT), MOST_LOGIT)
    against = math.exp(-logit)  # the odds against
    evidence = 0.0
    for k in range(SHIFTS.size):
        stakes[of, k] = (1.0 + stakes[of, k]) * _ratio(against, odds[k, 0], odds[k, 1], positive)
        evidence += stakes[of, k]
    away = logit - centre[of, 0]
    for j in range(SLOPES.size):
        k = SHIFTS.size + j
        shift = min(max((SLOPES[j] - 1.0) * away, -2.0), 2.0)  # no event alone decides
        ratio = 1.0
        if abs(shift) > tolerance:
            edge = tolerance if shift > 0.0 else -tolerance
            ratio = _ratio(against, math.exp(-edge), math.exp(-shift), positive)
        stakes[of, k] = (1.0 + stakes[of, k]) * ratio
        evidence += stakes[of, k]
    # known before the next outcome, as it must be
    centre[of, 1] = min(centre[of, 1] + 1.0, MEMORY)
    centre[of, 0] += away / centre[of, 1]
    return evidence / BETS


@njit(cache=True, error_model="numpy")
def scan(
    logit: Floats,
    label: NDArray[np.int8],
    tolerance: float,
    odds: Floats,
    bound: float,
    stakes: Floats,
    centre: Floats,
    alarms: Ints,
) -> int:
    """Take outcomes one by one; write the places at which there was an alarm, and return how many there were.

    After an alarm the detector begins anew.
    """
    count = 0
    for i in range(len(logit)):
        if bet(logit[i], label[i] == 1, tolerance, odds, stakes, centre, 0) >= bound:
            alarms[count] = i
            count += 1
            stakes[0] = 0.0
    return count
