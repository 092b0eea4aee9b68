"""How good judged predictions are: figures from a tally of score bins.

None says that a figure is undefined: nothing labelled, or, where a figure compares the classes, only one of them.
Ranks are known to the bin, 1/16 logit wide (1/4 for slices). Everything else is exact.
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


class RocAuc(NamedTuple):
    area: float
    bound: float
    error: float | None


class Decisions(NamedTuple):
    precision: float | None
    recall: float | None
    alert_rate: float


def coverage(tally: Tally) -> float | None:
    """Labelled events among all events; 0 when no label has come yet.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from monitors.bins import tally
    >>> coverage(replace(tally(logit=[0.3], label=[1]), events=4))
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
    return total(tally.sums, 1) / labelled if labelled else None


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


def decisions(tally: Tally, threshold: float) -> Decisions | None:
    """What comes of alerting on labelled events whose probability is at least ``threshold``, between 0 and 1.

    ``alert_rate`` is the share of labelled events that are alerted on. Exact for a threshold at the edge of a bin,
    as .5 is; else the scores within its bin are taken as evenly spread.

    Examples
    --------
    >>> from monitors.bins import tally
    >>> decisions(tally(logit=[-2.0, -1.0, 0.5, 2.0], label=[0, 1, 0, 1]), 0.5)
    Decisions(precision=0.5, recall=0.5, alert_rate=0.5)
    """
    labelled, positives = tally.labelled, tally.positives
    if not labelled:
        return None
    false_alerts, true_alerts = (share_above(tally.counts[:, of], threshold) for of in (0, 1))
    alerts = false_alerts + true_alerts
    return Decisions(
        precision=true_alerts / alerts if alerts else None,
        recall=true_alerts / positives if positives else None,
        alert_rate=alerts / labelled,
    )


def share_above(counts: Ints, threshold: float) -> float:
    """Of a histogram of scores, bins from -16 to 16, the number of scores at or above a probability."""
    bins = len(counts)
    above_lowest = math.log(threshold) - math.log1p(-threshold) - LOWEST_LOGIT
    place = min(max(above_lowest * bins / (-2 * LOWEST_LOGIT), 0.0), float(bins))
    first = math.ceil(place)
    return float(counts[first:].sum()) + (first - place) * (float(counts[first - 1]) if first > place else 0.0)


@njit(cache=True)
def total(sums: Floats, column: int) -> float:
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
