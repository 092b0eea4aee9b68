"""Whether scores are spread as they once were: the population stability index against a reference."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

GROUPS = 20  # of about equal mass in the reference


class Stability(NamedTuple):
    psi: float
    expected: float  # of two samples of one distribution


def score_psi(reference: Ints, current: Ints) -> Stability | None:
    """Compare two histograms of scores, shape (bins,) each; None if one of them is empty.

    The bins are merged into at most 20 groups, as equal in the reference as whole bins allow; from then on these
    edges stand. Half an event is added to each group on both sides, so that an empty one has a logarithm. Chance
    alone keeps the index above zero: ``expected`` is what it shows on average when nothing has changed.

    Examples
    --------
    >>> rng = np.random.default_rng(7)
    >>> scores = lambda mean: np.histogram(rng.normal(mean, 1.0, 5_000), bins=64, range=(-4, 4))[0]
    >>> reference = scores(0.0)
    >>> [round(figure, 4) for figure in score_psi(reference, scores(0.0))]
    [0.0107, 0.0076]
    >>> [round(figure, 4) for figure in score_psi(reference, scores(0.5))]
    [0.2731, 0.0076]

    References
    ----------
    Yurdakul 2018, "Statistical properties of population stability index": psi times mn / (m + n) has about a
    chi-squared distribution with one degree of freedom less than there are groups.
    """
    m, n = int(reference.sum()), int(current.sum())
    if not m or not n:
        return None
    # a group ends with the bin that completes a further twentieth of the reference
    twentieths = np.cumsum(reference) * GROUPS // m
    group = np.concatenate([[0], twentieths[:-1]])
    group = np.minimum(group, group[np.searchsorted(twentieths, GROUPS)])  # what lies above all counts with the highest
    _, group = np.unique(group, return_inverse=True)
    count = int(group[-1]) + 1
    psi = 0.0
    for then, now in zip(_merged(reference, group, count), _merged(current, group, count), strict=True):
        share_then, share_now = (then + 0.5) / (m + 0.5 * count), (now + 0.5) / (n + 0.5 * count)
        psi += (share_now - share_then) * math.log(share_now / share_then)
    return Stability(psi, (count - 1) * (1 / n + 1 / m))


def _merged(histogram: Ints, group: Ints, count: int) -> list[int]:
    merged = np.zeros(count, dtype=np.int64)
    np.add.at(merged, group, histogram)
    return merged.tolist()
