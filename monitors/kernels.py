"""The loops over score bins and panes, in one file because numba's cache does not follow calls into another.

A ring of ``length`` panes is these arrays; the place ``length``, after the last pane, is the total of all time:

- counts int64 (length + 1, BINS, 2): negatives, positives
- sums float64 (length + 1, BINS, 2): sum of probabilities, sum of logloss
- traffic int64 (length + 1, 2): events, expired
- span int64 (length + 1, 2): bins in use, from and up to without; what lies outside is zero
- changed bool (length + 1,): counts or sums differ from what was last stored
- clock int64 (3,): newest pane, watermark, outside

Pane k, counted from the epoch, has the place k mod length while it is one of the newest ``length``.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream.records import CORRECT, EXPIRE, RESOLVE, SCORE

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

BINS = 512
BINS_PER_LOGIT = 16.0
LOWEST_LOGIT = -16.0

NEWEST, WATERMARK, OUTSIDE = 0, 1, 2  # places in the clock


@njit(cache=True)
def bin_of(logit: float) -> int:
    position = (logit - LOWEST_LOGIT) * BINS_PER_LOGIT
    # clipped as a float: an integer could not hold 1e300, and "not >=" sends NaN to a bin that exists
    if not position >= 1.0:
        return 0
    if position >= BINS:
        return BINS - 1
    return int(position)


@njit(cache=True)
def judge(logit: float, positive: bool) -> tuple[int, float, float]:
    """Return the bin of an outcome, the probability that was served, and its logloss."""
    # one exp of a number <= 0 serves both figures, so neither overflows nor rounds to certainty
    shrunk = math.exp(-abs(logit))
    probability = 1.0 / (1.0 + shrunk) if logit >= 0.0 else shrunk / (1.0 + shrunk)
    against = -logit if positive else logit
    return bin_of(logit), probability, math.log1p(shrunk) + max(against, 0.0)


@njit(cache=True)
def add(
    place: int, positive: bool, used: int, probability: float, logloss: float, counts: Ints, sums: Floats, span: Ints
) -> None:
    counts[place, used, 1 if positive else 0] += 1
    sums[place, used, 0] += probability
    sums[place, used, 1] += logloss
    if span[place, 0] == span[place, 1]:
        span[place, 0] = used
    span[place, 0] = min(span[place, 0], used)
    span[place, 1] = max(span[place, 1], used + 1)


@njit(cache=True)
def correct(place: int, positive: bool, logit: float, counts: Ints, sums: Floats) -> None:
    """Move an outcome that was judged by the other label, if it is here; its probability stays."""
    used, _, loss = judge(logit, positive)
    if counts[place, used, 0 if positive else 1] == 0:
        return  # judged before these counts began
    _, _, wrong_loss = judge(logit, not positive)
    counts[place, used, 1 if positive else 0] += 1
    counts[place, used, 0 if positive else 1] -= 1
    sums[place, used, 1] += loss - wrong_loss


@njit(cache=True)
def collect(logit: Floats, label: NDArray[np.int8], counts: Ints, sums: Floats) -> None:
    """Add outcomes to one set of bins, shape (BINS, 2) each, one by one in order."""
    for i in range(len(logit)):
        used, probability, logloss = judge(logit[i], label[i] == 1)
        counts[used, 1 if label[i] == 1 else 0] += 1
        sums[used, 0] += probability
        sums[used, 1] += logloss


@njit(cache=True)
def roll(pane: int, counts: Ints, sums: Floats, traffic: Ints, span: Ints, changed: Flags, clock: Ints) -> None:
    """Make ``pane`` the newest if it is newer, and empty the places that it and those before it take over."""
    length = len(span) - 1
    first = max(clock[NEWEST] + 1, pane - length + 1)
    for taken in range(first, pane + 1):
        place = taken % length
        if span[place, 0] < span[place, 1]:
            counts[place, span[place, 0] : span[place, 1]] = 0
            sums[place, span[place, 0] : span[place, 1]] = 0.0
            span[place, :] = 0
            changed[place] = True
        traffic[place, :] = 0
    clock[NEWEST] = max(clock[NEWEST], pane)


@njit(cache=True)
def walk(
    code: NDArray[np.uint8],
    row: Ints,
    label: NDArray[np.int8],
    time: Ints,
    logit: Floats,
    base: int,
    pane_us: int,
    final_before: int,
    counts: Ints,
    sums: Floats,
    traffic: Ints,
    span: Ints,
    changed: Flags,
    clock: Ints,
) -> None:
    """Take ops in merged order; panes before ``final_before`` are final and stay as they are."""
    length = len(span) - 1
    for i in range(len(code)):
        at = row[i] - base
        pane = time[at] // pane_us
        if code[i] & SCORE and pane > clock[NEWEST]:
            roll(pane, counts, sums, traffic, span, changed, clock)
        place = pane % length
        inside = pane >= final_before and pane > clock[NEWEST] - length and pane <= clock[NEWEST]
        if code[i] & SCORE:
            traffic[length, 0] += 1
            if inside:
                traffic[place, 0] += 1
        if code[i] & RESOLVE:
            used, probability, logloss = judge(logit[at], label[i] == 1)
            add(length, label[i] == 1, used, probability, logloss, counts, sums, span)
            changed[length] = True
            if inside:
                add(place, label[i] == 1, used, probability, logloss, counts, sums, span)
                changed[place] = True
        if code[i] & EXPIRE:
            traffic[length, 1] += 1
            if inside:
                traffic[place, 1] += 1
        if code[i] & CORRECT:  # a final pane as well, while it is there: it was wrong
            correct(length, label[i] == 1, logit[at], counts, sums)
            changed[length] = True
            if pane > clock[NEWEST] - length and pane <= clock[NEWEST] and span[place, 0] < span[place, 1]:
                correct(place, label[i] == 1, logit[at], counts, sums)
                changed[place] = True
        elif not inside and code[i] & (SCORE | RESOLVE | EXPIRE):
            clock[OUTSIDE] += 1


@njit(cache=True)
def merge(
    first: int,
    last: int,
    counts: Ints,
    sums: Floats,
    traffic: Ints,
    span: Ints,
    into_counts: Ints,
    into_sums: Floats,
    into_traffic: Ints,
) -> None:
    """Add the panes ``first`` to ``last``, all of them in the ring, to zeroed arrays, in order."""
    length = len(span) - 1
    for pane in range(first, last + 1):
        place = pane % length
        into_traffic[0] += traffic[place, 0]
        into_traffic[1] += traffic[place, 1]
        for j in range(span[place, 0], span[place, 1]):
            into_counts[j, 0] += counts[place, j, 0]
            into_counts[j, 1] += counts[place, j, 1]
            into_sums[j, 0] += sums[place, j, 0]
            into_sums[j, 1] += sums[place, j, 1]
