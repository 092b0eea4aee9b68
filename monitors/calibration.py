"""Whether the probabilities that were served are true: figures from a tally of score bins."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from monitors.bins import Tally
from monitors.errors import share_interval
from monitors.metrics import total

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

GROUPS = 15


class CalibrationError(NamedTuple):
    observed: float
    expected: float
    debiased: float


class Group(NamedTuple):
    """Labelled events of about one score."""

    events: int
    predicted: float  # mean of the probabilities served
    observed: float  # share of positives
    low: float  # this and the next: Wilson's 95 % interval of that share
    high: float


def observed_expected(tally: Tally) -> float | None:
    """Positives that came per positive that was predicted: above 1 the model says too little.

    Examples
    --------
    >>> from monitors.bins import tally
    >>> observed_expected(tally(logit=[0.0, 0.0, 0.0, 0.0], label=[1, 1, 1, 0]))
    1.5
    """
    expected = total(tally.sums, 0)
    return tally.positives / expected if expected > 0 else None


def ece(tally: Tally) -> CalibrationError | None:
    """Expected calibration error: mean gap between observed and predicted rate over 15 groups of equal mass.

    Chance alone keeps it above zero, so ``expected`` says what a perfectly calibrated model would show on these
    scores. ``debiased`` is the root mean square of the gaps after the variance that chance gives them has been
    taken off: its square is right on average, whatever the number of events; it is 0 where nothing is left.
    Groups are merged from bins, as equal as whole bins allow.

    Examples
    --------
    >>> from monitors.bins import tally
    >>> import numpy as np
    >>> rng = np.random.default_rng(7)
    >>> logit = rng.normal(-4.4, 1.0, 20_000)
    >>> label = rng.random(20_000) < 1 / (1 + np.exp(-logit))
    >>> [round(figure, 5) for figure in ece(tally(logit=logit, label=label))]
    [0.00258, 0.00268, 0.0]
    >>> [round(figure, 5) for figure in ece(tally(logit=logit + 0.2, label=label))]
    [0.00485, 0.00293, 0.00637]

    References
    ----------
    Roelofs et al. 2022, "Mitigating bias in calibration error estimation". Expected: De Moivre's mean
    absolute deviation of a binomial that has the group's mean and variance. Debiased: Ferro and Fricker 2012,
    "A bias-corrected decomposition of the Brier score"; Kumar, Liang and Ma 2019, "Verified uncertainty calibration".
    """
    labelled = tally.labelled
    if not labelled:
        return None
    groups, count = _groups(tally.counts, tally.sums, labelled)
    return CalibrationError(*_calibration(groups, count, labelled))


def reliability(tally: Tally) -> list[Group]:
    """The groups over which ``ece`` is taken, from the lowest scores to the highest.

    Examples
    --------
    >>> from monitors.bins import tally
    >>> [group] = reliability(tally(logit=[0.0] * 4, label=[1, 1, 1, 0]))
    >>> group.events, group.predicted, group.observed, round(group.low, 4), round(group.high, 4)
    (4, 0.5, 0.75, 0.3006, 0.9544)
    """
    groups, count = _groups(tally.counts, tally.sums, tally.labelled)
    return [
        Group(int(events), predicted / events, positives / events, *share_interval(positives / events, events))
        for events, positives, predicted, _ in groups[:count].tolist()
    ]


def spiegelhalter_z(tally: Tally) -> float | None:
    """Spiegelhalter's test of calibration: standard normal if the probabilities are true, whatever they are.

    Beyond -3 or 3 they are not. Each score is taken as the mean of its bin.

    Examples
    --------
    >>> from monitors.bins import tally
    >>> round(spiegelhalter_z(tally(logit=[-2.0] * 9 + [2.0] * 9, label=[0] * 18)), 4)
    4.986

    References
    ----------
    Spiegelhalter 1986, "Probabilistic prediction in patient management and clinical trials".
    """
    score, variance = _brier_moments(tally.counts, tally.sums)
    return score / math.sqrt(variance) if variance > 0 else None


@njit(cache=True)
def _deviation(mean: float, variance: float) -> float:
    """Mean absolute deviation of a count with this mean and variance (De Moivre, for a real number of trials)."""
    if not 0.0 < variance < mean:
        return 0.0 if variance <= 0.0 else 2.0 * mean * math.exp(-mean)
    failure = variance / mean
    trials = mean / (1.0 - failure)
    whole = math.floor(mean)
    if trials <= whole:
        return 0.0
    log_choose = math.lgamma(trials + 1.0) - math.lgamma(whole + 1.0) - math.lgamma(trials - whole)
    return 2.0 * math.exp(log_choose + (whole + 1.0) * math.log1p(-failure) + (trials - whole) * math.log(failure))


@njit(cache=True)
def _groups(counts: Ints, sums: Floats, labelled: int) -> tuple[Floats, int]:
    """Bins merged into groups of equal mass: events, positives, sum of probabilities, and its variance."""
    groups = np.zeros((GROUPS, 4))
    group, taken, next_share = 0, 0, 1
    for j in range(len(counts)):
        size = counts[j, 0] + counts[j, 1]
        if size == 0:
            continue
        groups[group, 0] += size
        groups[group, 1] += counts[j, 1]
        groups[group, 2] += sums[j, 0]
        groups[group, 3] += sums[j, 0] * (1.0 - sums[j, 0] / size)
        taken += size
        if taken * GROUPS >= next_share * labelled:
            next_share = taken * GROUPS // labelled + 1
            group += 1
    return groups, group


@njit(cache=True)
def _calibration(groups: Floats, count: int, labelled: int) -> tuple[float, float, float]:
    observed, expected, squares = 0.0, 0.0, 0.0
    for i in range(count):
        size, positives, predicted, variance = groups[i]
        gap = positives - predicted
        observed += abs(gap)
        expected += _deviation(predicted, variance)
        # of the labels themselves, since the scores may be wrong; a single one has no spread to show
        chance = positives * (size - positives) / (size - 1.0) if size > 1.0 else variance
        squares += (gap * gap - chance) / size
    return observed / labelled, expected / labelled, math.sqrt(max(squares, 0.0) / labelled)


@njit(cache=True)
def _brier_moments(counts: Ints, sums: Floats) -> tuple[float, float]:
    """Brier score less what it should be, and the variance of that, both summed over events."""
    score, variance = 0.0, 0.0
    for j in range(len(counts)):
        size = counts[j, 0] + counts[j, 1]
        if size:
            mean = sums[j, 0] / size
            score += (counts[j, 1] - sums[j, 0]) * (1.0 - 2.0 * mean)
            variance += sums[j, 0] * (1.0 - mean) * (1.0 - 2.0 * mean) ** 2
    return score, variance
