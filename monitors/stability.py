"""Whether scores and fields are spread as they once were: the population stability index against a reference."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]

GROUPS = 20  # of about equal mass in the reference
FEWEST = 5  # events that a group of a field should have on either side, by what both sides have together
NOISE_QUANTILE = 0.999
NOISE_Z = NormalDist().inv_cdf(NOISE_QUANTILE)


class Stability(NamedTuple):
    psi: float
    expected: float  # of two samples of one distribution: the mean
    noise: float  # and what one pair of them in a thousand exceeds


def noise_quantile(groups: int, m: int, n: int) -> float:
    """What the index of two samples, m and n independent events of one distribution, exceeds once in a thousand.

    Examples
    --------
    >>> round(noise_quantile(25, 10_000, 1_000), 4)  # by the chi-squared distribution itself: 0.0563
    0.0564

    References
    ----------
    Wilson and Hilferty 1931, "The distribution of chi-square", for the quantile.
    """
    freedom = groups - 1
    if not freedom:
        return 0.0
    part = 2 / (9 * freedom)
    return freedom * (1 - part + NOISE_Z * math.sqrt(part)) ** 3 * (1 / m + 1 / n)


def field_psi(reference: Ints, current: Ints) -> Stability | None:
    """Compare two histograms of a field, shape (bins,) each; None if one of them is empty.

    A bin is a group of its own if both sides should have at least 5 events in it, by what they have together; others
    are put together, in order, until they do, and what is left over joins the smallest group. What both have together
    says nothing of how they differ, so that this choice moves neither ``expected`` nor ``noise``. Half an event is
    added to each group on both sides, so that an empty one has a logarithm.

    Examples
    --------
    >>> rng = np.random.default_rng(7)
    >>> carriers = lambda shares: rng.multinomial(5_000, shares)
    >>> reference = carriers([0.5, 0.3, 0.15, 0.05])
    >>> [round(figure, 4) for figure in field_psi(reference, carriers([0.5, 0.3, 0.15, 0.05]))]
    [0.0008, 0.0012, 0.0066]
    >>> [round(figure, 4) for figure in field_psi(reference, carriers([0.5, 0.2, 0.25, 0.05]))]
    [0.0963, 0.0012, 0.0066]
    """
    m, n = int(reference.sum()), int(current.sum())
    if not m or not n:
        return None
    psi, groups = _field_psi(np.ascontiguousarray(reference), np.ascontiguousarray(current), m, n)
    return _stability(psi, groups, m, n)


def _stability(psi: float, groups: int, m: int, n: int) -> Stability:
    return Stability(psi, (groups - 1) * (1 / n + 1 / m), noise_quantile(groups, m, n))


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
    [0.0107, 0.0076, 0.0176]
    >>> [round(figure, 4) for figure in score_psi(reference, scores(0.5))]
    [0.2731, 0.0076, 0.0176]

    References
    ----------
    Yurdakul 2018, "Statistical properties of population stability index": psi times mn / (m + n) has about a
    chi-squared distribution with one degree of freedom less than there are groups.
    """
    m, n = int(reference.sum()), int(current.sum())
    if not m or not n:
        return None
    psi, groups = _psi(np.ascontiguousarray(reference), np.ascontiguousarray(current), m, n)
    return _stability(psi, groups, m, n)


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


@njit(cache=True)
def _field_psi(reference: Ints, current: Ints, m: int, n: int) -> tuple[float, int]:
    then, now = np.zeros(len(reference), dtype=np.int64), np.zeros(len(reference), dtype=np.int64)
    enough = FEWEST * (m + n) / min(m, n)  # of both together
    groups, rest_then, rest_now = 0, 0, 0
    for j in range(len(reference)):
        few = reference[j] + current[j] < enough
        more_then, more_now = reference[j], current[j]
        if few:
            rest_then += more_then
            rest_now += more_now
            if rest_then + rest_now < enough:
                continue
            more_then, more_now = rest_then, rest_now
            rest_then, rest_now = 0, 0
        then[groups] = more_then
        now[groups] = more_now
        groups += 1
    if groups == 0:
        return 0.0, 1
    smallest = 0
    for i in range(1, groups):
        if then[i] + now[i] < then[smallest] + now[smallest]:
            smallest = i
    then[smallest] += rest_then
    now[smallest] += rest_now
    psi = 0.0
    for i in range(groups):
        share_then = (then[i] + 0.5) / (m + 0.5 * groups)
        share_now = (now[i] + 0.5) / (n + 0.5 * groups)
        psi += (share_now - share_then) * math.log(share_now / share_then)
    return psi, groups
