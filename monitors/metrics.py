"""How good judged predictions are: figures from a tally of score bins.

None says that a figure is undefined: nothing labelled, or, where a figure compares the classes, only one of them.
Ranks are known to the bin, 1/16 logit wide. Everything else is exact.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from monitors.bins import Tally

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

ECE_GROUPS = 15


class RocAuc(NamedTuple):
    area: float
    bound: float
    error: float | None


class CalibrationError(NamedTuple):
    observed: float
    expected: float


def coverage(tally: Tally) -> float | None:
    """Labelled events among all events; 0 when no label has come yet.

    Examples
    --------
    >>> from monitors.bins import tally
    >>> coverage(tally(logit=[0.3], label=[1])._replace(events=4))
    0.25
    """
    return tally.labelled / tally.events if tally.events else None


def positive_rate(tally: Tally) -> float | None:
    """Positives among labelled events.

    Examples
    --------
    >>> from monitors.bins import tally
    >>> positive_rate(tally(logit=[-2.0, -1.0, 0.5, 2.0], label=[0, 1, 0, 0]))
    0.25
    """
    labelled = tally.labelled
    return tally.positives / labelled if labelled else None


def logloss(tally: Tally) -> float | None:
    """Mean negative log-likelihood of the labels, in nats, from logits: never clipped, never infinite.

    Examples
    --------
    >>> from monitors.bins import tally
    >>> round(logloss(tally(logit=[-2.0, -1.0, 0.5, 2.0], label=[0, 1, 0, 1])), 6)
    0.635299
    >>> logloss(tally(logit=[-10_000.0], label=[1]))
    10000.0
    """
    labelled = tally.labelled
    return _total(tally.sums, 1) / labelled if labelled else None


def normalized_entropy(tally: Tally) -> float | None:
    """Logloss in units of the logloss of always predicting the base rate: 1 is worthless, 0 perfect.

    Examples
    --------
    >>> from monitors.bins import tally
    >>> round(normalized_entropy(tally(logit=[-2.0, -1.0, 0.5, 2.0], label=[0, 1, 0, 1])), 6)
    0.916542

    References
    ----------
    He et al. 2014, "Practical lessons from predicting clicks on ads at Facebook".
    """
    loss, rate = logloss(tally), positive_rate(tally)
    if loss is None or rate is None or rate in (0.0, 1.0):
        return None
    return loss / -(rate * math.log(rate) + (1 - rate) * math.log1p(-rate))


def roc_auc(tally: Tally) -> RocAuc | None:
    """Probability that a positive scores above a negative; pairs within one bin count half.

    ``bound`` is half the share of such pairs, so the exact area lies within. ``error`` is DeLong's standard
    error with bins for scores; it needs two of each class.

    Examples
    --------
    >>> from monitors.bins import tally
    >>> [round(figure, 4) for figure in roc_auc(tally(logit=[-2.0, -1.0, -0.99, 0.5, 2.0], label=[0, 0, 1, 0, 1]))]
    [0.75, 0.0833, 0.2887]

    References
    ----------
    DeLong, DeLong and Clarke-Pearson 1988, "Comparing the areas under two or more correlated receiver
    operating characteristic curves".
    """
    negatives, positives = tally.labelled - tally.positives, tally.positives
    if not negatives or not positives:
        return None
    area, bound, error = _roc(tally.counts, float(negatives), float(positives))
    return RocAuc(area, bound, error if min(negatives, positives) > 1 else None)


def average_precision(tally: Tally) -> float | None:
    """Mean over positives of the precision at their score; within a bin both classes are taken as well mixed.

    Examples
    --------
    >>> from monitors.bins import tally
    >>> average_precision(tally(logit=[-2.0, -1.0, 0.5, 2.0], label=[0, 1, 0, 1]))
    0.8333333333333333
    """
    negatives, positives = tally.labelled - tally.positives, tally.positives
    return _precision(tally.counts) / positives if negatives and positives else None


def ece(tally: Tally) -> CalibrationError | None:
    """Expected calibration error: mean gap between observed and predicted rate over 15 groups of equal mass.

    Chance alone keeps it above zero, so ``expected`` says what a perfectly calibrated model would show on these
    scores. Groups are merged from bins, as equal as whole bins allow.

    Examples
    --------
    >>> from monitors.bins import tally
    >>> import numpy as np
    >>> rng = np.random.default_rng(7)
    >>> logit = rng.normal(-4.4, 1.0, 20_000)
    >>> label = rng.random(20_000) < 1 / (1 + np.exp(-logit))
    >>> [round(figure, 5) for figure in ece(tally(logit=logit, label=label))]
    [0.00258, 0.00268]

    References
    ----------
    Roelofs et al. 2022, "Mitigating bias in calibration error estimation". Expected: De Moivre's mean
    absolute deviation of a binomial that has the group's mean and variance.
    """
    labelled = tally.labelled
    return CalibrationError(*_calibration(tally.counts, tally.sums, labelled)) if labelled else None


def observed_expected(tally: Tally) -> float | None:
    """Positives that came per positive that was predicted: above 1 the model says too little.

    Examples
    --------
    >>> from monitors.bins import tally
    >>> observed_expected(tally(logit=[0.0, 0.0, 0.0, 0.0], label=[1, 1, 1, 0]))
    1.5
    """
    expected = _total(tally.sums, 0)
    return tally.positives / expected if expected > 0 else None


@njit(cache=True)
def _total(sums: Floats, column: int) -> float:
    total = 0.0
    for j in range(len(sums)):
        total += sums[j, column]
    return total


@njit(cache=True)
def _roc(counts: Ints, negatives: float, positives: float) -> tuple[float, float, float]:
    concordant, tied = 0.0, 0.0  # floats: pairs of a long total overflow int64
    below = 0.0
    for j in range(len(counts)):
        concordant += counts[j, 1] * (below + 0.5 * counts[j, 0])
        tied += 1.0 * counts[j, 1] * counts[j, 0]
        below += counts[j, 0]
    area = concordant / (negatives * positives)
    # DeLong: how each positive fares among the negatives, and each negative among the positives
    of_positives, of_negatives = 0.0, 0.0
    below, above = 0.0, positives
    for j in range(len(counts)):
        above -= counts[j, 1]
        of_positives += counts[j, 1] * ((below + 0.5 * counts[j, 0]) / negatives - area) ** 2
        of_negatives += counts[j, 0] * ((above + 0.5 * counts[j, 1]) / positives - area) ** 2
        below += counts[j, 0]
    error = math.nan
    if negatives > 1 and positives > 1:
        error = math.sqrt(of_positives / (positives - 1) / positives + of_negatives / (negatives - 1) / negatives)
    return area, 0.5 * tied / (negatives * positives), error


@njit(cache=True)
def _precision(counts: Ints) -> float:
    """Sum over the positives of the precision at their place."""
    exact = 64  # terms of a bin added one by one, before the sum may be taken as an integral
    total, seen_positives, seen = 0.0, 0.0, 0.0
    for j in range(len(counts) - 1, -1, -1):
        positives, negatives = counts[j, 1], counts[j, 0]
        if positives:
            # before the i-th positive come (i - 1/2) / positives of the bin's negatives
            slope = 1.0 + negatives / positives
            start = (seen - 0.5 * negatives / positives) / slope
            for i in range(1, min(positives, exact) + 1):
                total += (seen_positives + i) / (slope * (start + i))
            if positives > exact:
                rest = math.log((positives + 0.5 + start) / (exact + 0.5 + start))
                total += (positives - exact + (seen_positives - start) * rest) / slope
        seen_positives += positives
        seen += positives + negatives
    return total


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
def _calibration(counts: Ints, sums: Floats, labelled: int) -> tuple[float, float]:
    observed, expected = 0.0, 0.0
    group, taken = 1, 0
    predicted, variance, positives = 0.0, 0.0, 0
    for j in range(len(counts)):
        size = counts[j, 0] + counts[j, 1]
        if size == 0:
            continue
        predicted += sums[j, 0]
        variance += sums[j, 0] * (1.0 - sums[j, 0] / size)
        positives += counts[j, 1]
        taken += size
        if taken * ECE_GROUPS >= group * labelled:
            observed += abs(positives - predicted)
            expected += _deviation(predicted, variance)
            group = taken * ECE_GROUPS // labelled + 1
            predicted, variance, positives = 0.0, 0.0, 0
    return observed / labelled, expected / labelled
