"""What quality would be if the served probabilities were true: known from scores alone, before any label.

These are no measurements of quality: a model that is wrong and certain of it has the best of figures. They say what
the labels ought to show, and how that moves with the events that come.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from monitors.kernels import LOWEST_LOGIT

Ints = NDArray[np.int64]


class Expected(NamedTuple):
    """Figures if the probabilities are true."""

    logloss: float  # nats: the mean entropy of a label
    roc_auc: float


def expected_quality(scores: Ints) -> Expected | None:
    """Logloss and area under the ROC curve if the probabilities are true; None without a score.

    Parameters
    ----------
    scores
        Served logits of labelled and unlabelled events alike, shape (bins,): a histogram over -16 to 16, whose outer
        bins also hold what lies beyond. Each score is taken as the middle of its bin.

    Examples
    --------
    A thousand events at a probability of about 0.12, and a thousand at 0.88:

    >>> scores = np.zeros(512, dtype=np.int64)
    >>> scores[[224, 287]] = 1000
    >>> [round(figure, 4) for figure in expected_quality(scores)]
    [0.3719, 0.8775]

    References
    ----------
    Bröcker 2009, "Reliability, sufficiency, and the decomposition of proper scores": the entropy is what a
    calibrated forecast loses. For the area each event is in part a positive and in part a negative.
    """
    events = int(scores.sum())
    if not events:
        return None
    entropy, area = _expected(np.ascontiguousarray(scores))
    return Expected(entropy / events, area)


@njit(cache=True)
def _expected(scores: Ints) -> tuple[float, float]:
    """Sum of the entropies in nats, and the area; pairs within one bin count half."""
    bins = len(scores)
    width = -2.0 * LOWEST_LOGIT / bins
    entropy, concordant, below, positives = 0.0, 0.0, 0.0, 0.0
    for j in range(bins):
        if scores[j] == 0:
            continue
        logit = LOWEST_LOGIT + (j + 0.5) * width
        probability = 1.0 / (1.0 + math.exp(-logit))
        against = 1.0 / (1.0 + math.exp(logit))  # 1 - probability would have few digits left
        entropy += scores[j] * (math.log1p(math.exp(-logit)) + against * logit)
        concordant += scores[j] * probability * (below + 0.5 * scores[j] * against)
        below += scores[j] * against
        positives += scores[j] * probability
    return entropy, concordant / (below * positives)
