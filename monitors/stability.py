"""Whether scores are spread as they once were: the population stability index against a reference."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
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
    psi, groups = _psi(np.ascontiguousarray(reference), np.ascontiguousarray(current), m, n)
    return Stability(psi, (groups - 1) * (1 / n + 1 / m))


@njit(cache=True)
def _psi(reference: Ints, current: Ints, m: int, n: int) -> tuple[float, int]:
    then, now = np.zeros(GROUPS, dtype=np.int64), np.zeros(GROUPS, dtype=np.int64)
    groups, taken, closed = 0, 0, True
    for j in range(len(reference)):
        if closed and taken < m:  # what lies above all of the reference counts with its highest group
            groups += 1
        then[groups - 1] += reference[j]
        now[groups - 1] += current[j]
        # a group ends with the bin that completes a further twentieth of the reference
        closed = (taken + reference[j]) * GROUPS // m > taken * GROUPS // m
        taken += reference[j]
    psi = 0.0
    for i in range(groups):
        share_then = (then[i] + 0.5) / (m + 0.5 * groups)
        share_now = (now[i] + 0.5) / (n + 0.5 * groups)
        psi += (share_now - share_then) * math.log(share_now / share_then)
    return psi, groups
