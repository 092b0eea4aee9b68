"""How far chance may have moved a figure: standard errors from a tally of score bins.

All answer one question, as DeLong's does for the area: how much would the figure vary if as many events were drawn
anew, scores and labels together? None assumes that the scores are calibrated.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from monitors.bins import Tally
from monitors.kernels import LOWEST_LOGIT

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

Z_95 = 1.959963984540054  # 97.5 % of a standard normal lie below


class Interval(NamedTuple):
    low: float
    high: float


def logloss_error(tally: Tally) -> float | None:
    """Standard error of the mean logloss, in nats; it needs two labelled events.

    Within a bin losses take two values, a logit apart; the bin's own logloss says where. Their spread within a label
    is that of scores spread evenly over the bin.

    Examples
    --------
    >>> from monitors.bins import tally
    >>> logit, label = [-2.0, -1.0, 0.5, 2.0], [0, 1, 0, 1]
    >>> losses = np.log1p(np.exp(np.where(label, -1, 1) * logit))
    >>> round(float(losses.std(ddof=1)) / 2, 4), round(logloss_error(tally(logit=logit, label=label)), 4)
    (0.3016, 0.3016)
    """
    labelled = tally.labelled
    if labelled < 2:
        return None
    return math.sqrt(_loss_deviations(tally.counts, tally.sums) / (labelled - 1) / labelled)


def observed_expected_error(tally: Tally) -> float | None:
    """Standard error of ``observed_expected``; it needs two labelled events.

    That of a ratio of two means, by the residuals of labels against probabilities that are scaled to fit on average.
    Where scores are wrong otherwise too it is larger than the variance of the labels alone would make it, since the
    next events may have other scores. Labels of one kind show no spread: they are given half an event's.

    Examples
    --------
    >>> from monitors.bins import tally
    >>> round(observed_expected_error(tally(logit=[0.0] * 100, label=[0, 0, 0, 1] * 25)), 4)
    0.087
    >>> round(observed_expected_error(tally(logit=[0.0] * 100, label=[0] * 100)), 4)
    0.0142

    References
    ----------
    Cochran 1977, "Sampling techniques", chapter 6.
    """
    labelled, positives = tally.labelled, tally.positives
    expected, squares = _residuals(tally.counts, tally.sums, float(positives))
    if labelled < 2 or expected <= 0:
        return None
    if positives in (0, labelled):
        squares += 0.5
    return math.sqrt(squares * labelled / (labelled - 1)) / expected


def share_error(share: float, of: float) -> float:
    """Standard error of a share of ``of`` events: the standard deviation under Jeffreys' prior.

    For many events it is sqrt(share (1 - share) / of), and for none or all of a few it is still not zero.

    Examples
    --------
    >>> round(share_error(0.25, 100), 4), round(share_error(0.0, 100), 4)
    (0.043, 0.0069)

    References
    ----------
    Brown, Cai and DasGupta 2001, "Interval estimation for a binomial proportion".
    """
    # where panes have begun anew, labels come of events that were not counted
    mean = (min(share, 1.0) * of + 0.5) / (of + 1)
    return math.sqrt(mean * (1 - mean) / (of + 2))


def share_interval(share: float, of: float) -> Interval:
    """Wilson's 95 % interval of a share of ``of`` events, at least one.

    Examples
    --------
    >>> [round(edge, 4) for edge in share_interval(0.25, 100)]
    [0.1755, 0.343]
    >>> [round(edge, 4) for edge in share_interval(0.0, 10)]
    [0.0, 0.2775]

    References
    ----------
    Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    square = Z_95 * Z_95
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = Z_95 / (1 + square / of) * math.sqrt(share * (1 - share) / of + square / (4 * of * of))
    # rounding may leave the share itself just outside
    return Interval(max(min(middle - half, share), 0.0), min(max(middle + half, share), 1.0))


@njit(cache=True)
def _loss_deviations(counts: Ints, sums: Floats) -> float:
    """Sum over labelled events of the squared distance of their logloss from the mean."""
    bins = len(counts)
    width = -2.0 * LOWEST_LOGIT / bins
    labelled, loss = 0.0, 0.0
    for j in range(bins):
        labelled += counts[j, 0] + counts[j, 1]
        loss += sums[j, 1]
    mean = loss / labelled
    total = 0.0
    for j in range(bins):
        negatives, positives = counts[j, 0], counts[j, 1]
        size = negatives + positives
        if size == 0:
            continue
        probability = sums[j, 0] / size
        wrong = positives if j == 0 else negatives
        if (j == 0 or j == bins - 1) and wrong:
            # a bin without an end: who was right there lost nothing, who was wrong all of it
            total += wrong * (sums[j, 1] / wrong - mean) ** 2 + (size - wrong) * mean**2
        elif 0.0 < probability < 1.0:
            apart = math.log(probability) - math.log1p(-probability)
            total += size * (sums[j, 1] / size - mean) ** 2 + negatives * (positives / size) * apart**2
            within = negatives * probability**2 + positives * (1.0 - probability) ** 2
            total += within * width**2 / 12.0
        else:
            total += size * (sums[j, 1] / size - mean) ** 2
    return total


@njit(cache=True)
def _residuals(counts: Ints, sums: Floats, positives: float) -> tuple[float, float]:
    """Sum of probabilities, and of squares of the labels less the probabilities that are scaled to match."""
    expected = 0.0
    for j in range(len(counts)):
        expected += sums[j, 0]
    if expected <= 0.0:
        return expected, 0.0
    ratio = positives / expected
    squares = 0.0
    for j in range(len(counts)):
        size = counts[j, 0] + counts[j, 1]
        if size:
            scaled = ratio * sums[j, 0] / size
            squares += counts[j, 1] * (1.0 - scaled) ** 2 + counts[j, 0] * scaled**2
    return expected, squares
