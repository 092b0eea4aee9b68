"""Whether one of two models was better on the same events, or chance made it look so."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from monitors.bins import Tally
from monitors.kernels import BINS, judge

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MOST_BLOCKS = 512  # of event time; when they are full, two neighbours become one
SHORTEST_BLOCK_US = 1_000_000
FEWEST_BLOCKS = 8  # with an event in each, that it takes to tell chance from more
FIRST, LAST, LENGTH = range(3)  # places in the cursor


@dataclass(frozen=True, slots=True)
class Paired:
    """The mean difference of two losses over the same events, and how far chance may have moved it.

    Positive: the second model lost less. What chance can do is None where there are too few blocks to tell.
    """

    events: int
    blocks: int  # of event time, those with an event
    difference: float  # nats per event, first less second
    standard_error: float | None
    degrees_of_freedom: int | None
    low: float | None  # this and the next: the 95 % interval
    high: float | None
    p_value: float | None  # two-sided
    detectable: float | None  # a true difference of this size would be found four times in five


class PairedLosses:
    """Compares two models by their logloss on the same events, as served at the time, in the order of a stream.

    Losses of neighbours in time are not independent: a storm makes both models wrong for a day, and one more than the
    other. So differences are summed over blocks of event time, 256 to 512 of them over the whole, and the variance of
    their mean is estimated by the lowest frequencies of those sums, those that a slow change moves: the equal-weighted
    cosine estimator, with Student's distribution. It is Diebold and Mariano's test with a variance that keeps its size
    in short and persistent series.

    Attributes
    ----------
    first, second : Tally
        Every figure of either model over these events.

    Examples
    --------
    The second model knows more, by a logit of spread 0.3:

    >>> rng = np.random.default_rng(7)
    >>> known, more = rng.normal(-1.0, 1.0, 20_000), rng.normal(0.0, 0.3, 20_000)
    >>> label = rng.random(20_000) < 1 / (1 + np.exp(-known - more))
    >>> losses = PairedLosses()
    >>> losses.add(np.arange(20_000) * 60_000_000, known, known + more, label)
    >>> paired = losses.paired()
    >>> paired.events, paired.blocks, round(paired.difference, 4), f"{paired.p_value:.0e}"
    (20000, 293, 0.0067, '2e-05')

    References
    ----------
    Diebold and Mariano 1995, "Comparing predictive accuracy".
    Lazarus, Lewis, Stock and Watson 2018, "HAR inference: recommendations for practice".
    """

    def __init__(self) -> None:
        self._cursor = np.array([0, -1, SHORTEST_BLOCK_US], np.int64)
        self._sums = np.zeros(MOST_BLOCKS)
        self._sizes = np.zeros(MOST_BLOCKS, np.int64)
        self._counts = np.zeros((2, BINS, 2), np.int64)
        self._tallied = np.zeros((2, BINS, 2))

    def add(self, time_us: Ints, first: Floats, second: Floats, label: NDArray[np.bool_]) -> None:
        """Take events of shape (n,) with the logits that either model served; one by one in this order."""
        _add(
            np.ascontiguousarray(time_us, np.int64),
            np.ascontiguousarray(first, np.float64),
            np.ascontiguousarray(second, np.float64),
            np.ascontiguousarray(label, np.bool_),
            self._cursor,
            self._sums,
            self._sizes,
            self._counts,
            self._tallied,
        )

    @property
    def first(self) -> Tally:
        return self._tally(0)

    @property
    def second(self) -> Tally:
        return self._tally(1)

    def _tally(self, model: int) -> Tally:
        counts = self._counts[model].copy()
        return Tally(int(counts.sum()), 0, counts, self._tallied[model].copy())

    def paired(self) -> Paired | None:
        """The difference over all events so far; None before the first."""
        used = self._sizes > 0
        return paired_of(self._sums[used], self._sizes[used])


def paired_of(sums: Floats, sizes: Ints) -> Paired | None:
    """The mean difference from sums over blocks of event time in their order, and the numbers of events in them."""
    events, blocks = int(sizes.sum()), len(sums)
    if not events:
        return None
    difference = math.fsum(sums) / events
    if blocks < FEWEST_BLOCKS:
        return Paired(events, blocks, difference, None, None, None, None, None, None)
    degrees = max(int(0.4 * blocks ** (2 / 3)), 1)
    residuals = sums - difference * sizes  # the mean is a ratio: a block of many events counts by them
    waves = np.cos(np.pi * np.outer(np.arange(1, degrees + 1), np.arange(blocks) + 0.5) / blocks)
    amplitudes = math.sqrt(2.0 / blocks) * (waves * residuals).sum(axis=1)
    error = math.sqrt(blocks * float((amplitudes**2).mean())) / events
    half = student_quantile(0.975, degrees) * error
    return Paired(
        events=events,
        blocks=blocks,
        difference=difference,
        standard_error=error,
        degrees_of_freedom=degrees,
        low=difference - half,
        high=difference + half,
        p_value=_p_value(difference, error, degrees),
        detectable=half + student_quantile(0.8, degrees) * error,
    )


def _p_value(difference: float, error: float, degrees: int) -> float:
    if difference == 0.0:
        return 1.0
    return student_beyond(abs(difference) / error, degrees) if error > 0 else 0.0


def student_beyond(t: float, degrees: int) -> float:
    """Probability that Student's t is farther from zero than ``t``, on either side; exact in the tail too.

    >>> round(student_beyond(2.228138852, 10), 6), student_beyond(0.0, 10)
    (0.05, 1.0)
    """
    square = t * t
    if square < degrees:
        return 1.0 - _incomplete_beta(square / (degrees + square), 0.5, degrees / 2)
    return _incomplete_beta(degrees / (degrees + square), degrees / 2, 0.5)


def student_quantile(probability: float, degrees: int) -> float:
    """The value, above zero, that Student's t exceeds with one less ``probability``.

    >>> round(student_quantile(0.975, 10), 6)
    2.228139
    """
    low, high = 0.0, 1.0
    while student_beyond(high, degrees) > 2.0 * (1.0 - probability):
        high *= 2.0
    for _ in range(60):
        middle = (low + high) / 2
        if student_beyond(middle, degrees) > 2.0 * (1.0 - probability):
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised one, by its continued fraction on the side where that is fast."""
    if x <= 0.0 or x >= 1.0:
        return min(max(x, 0.0), 1.0)
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _incomplete_beta(1.0 - x, b, a)
    scale = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x) - math.log(a)
    )
    tiny = 1e-300
    c, d = 1.0, 1.0 / max(abs(1.0 - (a + b) * x / (a + 1.0)), tiny)
    fraction = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        before = fraction
        for step in (even, odd):
            d, c = 1.0 / (1.0 + step * d), 1.0 + step / c
            fraction *= c * d
        if abs(fraction - before) <= 1e-15 * abs(fraction):
            break
    return scale * fraction


@njit(cache=True)
def _coarsen(cursor: Ints, sums: Floats, sizes: Ints) -> None:
    """Make one block of each two."""
    first = cursor[FIRST]
    for i in range(cursor[LAST] - first + 1):
        total, size = sums[i], sizes[i]
        sums[i], sizes[i] = 0.0, 0
        to = ((first + i) >> 1) - (first >> 1)
        sums[to] += total
        sizes[to] += size
    cursor[FIRST], cursor[LAST] = first >> 1, cursor[LAST] >> 1
    cursor[LENGTH] *= 2


@njit(cache=True)
def _add(
    time_us: Ints,
    first: Floats,
    second: Floats,
    label: NDArray[np.bool_],
    cursor: Ints,
    sums: Floats,
    sizes: Ints,
    counts: Ints,
    tallied: Floats,
) -> None:
    for i in range(len(time_us)):
        kind = 1 if label[i] else 0
        difference = 0.0
        for model in range(2):
            used, probability, loss = judge(first[i] if model == 0 else second[i], label[i])
            counts[model, used, kind] += 1
            tallied[model, used, 0] += probability
            tallied[model, used, 1] += loss
            difference += loss if model == 0 else -loss
        if cursor[LAST] < cursor[FIRST]:
            cursor[FIRST] = cursor[LAST] = time_us[i] // cursor[LENGTH]
        while True:
            block = time_us[i] // cursor[LENGTH]
            if max(cursor[LAST], block) - min(cursor[FIRST], block) < MOST_BLOCKS:
                break
            _coarsen(cursor, sums, sizes)
        earlier = cursor[FIRST] - block
        if earlier > 0:
            for k in range(cursor[LAST] - cursor[FIRST], -1, -1):
                sums[k + earlier], sizes[k + earlier] = sums[k], sizes[k]
            for k in range(earlier):
                sums[k], sizes[k] = 0.0, 0
            cursor[FIRST] = block
        cursor[LAST] = max(cursor[LAST], block)
        sums[block - cursor[FIRST]] += difference
        sizes[block - cursor[FIRST]] += 1
