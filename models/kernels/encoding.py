"""Compiled: from an event to its cells, and from its cells to slots and values.

*Cells* are what a pending prediction keeps of an event, 32 bits each: by entry of the plan a slot (category, cross), a
value and its rank (number), or a count and that many slots (words). Slots of numbers stand in the plan. Scoring and
learning both work on what the cells say, so they see the same bits.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from models.plan import CATEGORY, NUMBER, WORDS
from models.state import ABSURD, ASKED, COUNT, DEVIATIONS, MEAN, SAMPLE, SQUARES
from stream.records import MAX_WORDS

CLIP = 3.0  # standard deviations
NORM_LIMIT = 5.0  # of an event's values without the bias
ABSURD_VALUE = 1e15  # beyond it a number is null
TINY_VALUE = 1e-150  # below it a number is zero: its square would be lost

HATS = 8  # pieces of the curve that each number has; there is a hat at each end of a piece
HAT_STRIDE = 97531  # between the hashes of a number's hats
RANK_PRIOR = 4.0  # values that the middle counts for, while the sample is small
CENTRED_SHARE = 0.5  # a number in fewer events is not centred,
RANKED_SHARE = 0.1  # and in fewer has no rank
NO_RANK = -1.0


@njit(cache=True, error_model="numpy")
def mix(first, second):
    """One 64-bit hash of two (the finaliser of SplitMix64 over an asymmetric sum)."""
    h = first * np.uint64(0x9E3779B97F4A7C15) + (second ^ np.uint64(0xD1B54A32D192ED03))
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@njit(cache=True, error_model="numpy")
def is_null(x):
    return not (abs(x) <= ABSURD_VALUE)  # true for NaN as well


@njit(cache=True, error_model="numpy", inline="always")
def standardise(x, statistics, column, asked):
    """The value of a number, by the statistics of earlier events only, clipped."""
    if abs(x) < TINY_VALUE:
        x = 0.0
    if column >= len(statistics):  # more columns than are kept: only the sign counts
        return math.copysign(1.0, x) if x != 0.0 else 0.0
    n = statistics[column, COUNT]
    deviations = statistics[column, DEVIATIONS]
    spread = math.sqrt(deviations / n) if deviations > 0.0 else 0.0
    if spread > 0.0 and n >= CENTRED_SHARE * asked:
        v = (x - statistics[column, MEAN]) / spread
    elif x == 0.0:
        v = 0.0
    else:
        # absent from most events: a centred value would turn absence into a statement
        v = x / math.sqrt((statistics[column, SQUARES] + x * x) / (n + 1.0))
    return min(max(v, -CLIP), CLIP)


@njit(cache=True, error_model="numpy", inline="always")
def count_below(x, sample, column):
    """How many of the column's kept values are less than ``x``, and how many less or equal.

    All places are looked at, those not in use hold infinity: the compiler makes vectors of that, and no branch.
    """
    less = np.int64(0)
    up_to = np.int64(0)
    for i in range(SAMPLE):
        less += sample[column, i] < x
        up_to += sample[column, i] <= x
    return less, up_to


@njit(cache=True, error_model="numpy", inline="always")
def rank(x, statistics, sample, sampled, column, asked):
    """Where ``x`` lies among the hats of its column, from 0 to ``HATS``, by earlier events only; or ``NO_RANK``.

    The empirical distribution function is interpolated between kept values, and drawn to the middle while they are few.
    """
    if column >= len(sample):
        return NO_RANK
    n = statistics[column, COUNT]
    if not (statistics[column, DEVIATIONS] > 0.0 and n >= RANKED_SHARE * asked):
        return NO_RANK
    kept = sampled[column]
    less, up_to = count_below(x, sample, column)
    if up_to > less:
        k = 0.5 * (less + up_to)
    elif less == 0 or less == kept:
        k = float(less)
    else:
        below = sample[column, less - 1]
        k = less - 0.5 + (x - below) / (sample[column, less] - below)
    r = (2.0 * (k + 0.5) / (kept + 1.0) - 1.0) * kept / (kept + RANK_PRIOR)
    return min(max((r + 1.0) * (0.5 * HATS), 0.0), float(HATS))


@njit(cache=True, error_model="numpy", inline="always")
def take_sample(x, n, sample, sampled, random, column):
    """Let ``x``, the value after n others, into the reservoir (Vitter 1985, algorithm R), which stays sorted."""
    kept = sampled[column]
    if kept < SAMPLE:
        gone = kept
        sampled[column] = kept + 1
    else:
        state = random[column]
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        random[column] = state
        p = np.float64(state >> np.uint64(11)) * 2.0**-53 * (n + 1.0)
        if p >= SAMPLE:
            return
        gone = np.int64(p)
    at, _ = count_below(x, sample, column)
    if at > gone:  # the hole moves up to where x belongs
        at -= 1
        for i in range(gone, at):
            sample[column, i] = sample[column, i + 1]
    else:
        for i in range(gone, at, -1):
            sample[column, i] = sample[column, i - 1]
    sample[column, at] = x


@njit(cache=True, error_model="numpy", inline="always")
def encode(entries, categories, numbers, words, at, statistics, sample, sampled, asked, bias, cell, real, start):
    """Write the cells of event ``at`` from ``start`` on; return how many. ``real`` is ``cell`` seen as float32."""
    mask = np.uint64(bias - 1)
    end = start
    for i in range(len(entries)):
        kind = entries[i, 0]
        column = np.int64(entries[i, 1])
        if kind == NUMBER:
            x = numbers[at, column]
            if is_null(x):
                real[end] = np.nan
                real[end + 1] = NO_RANK
            else:
                of = np.int64(entries[i, 2])
                real[end] = standardise(x, statistics, of, asked)
                real[end + 1] = rank(x, statistics, sample, sampled, of, asked)
            end += 2
        elif kind == WORDS:
            count = end
            for word in range(column, column + MAX_WORDS):
                hashed = words[at, word]
                if hashed == 0:
                    break
                end += 1
                cell[end] = np.uint32(hashed & mask)
            cell[count] = np.uint32(end - count)
            end += 1
        else:
            hashed = categories[at, column]
            if kind != CATEGORY:
                hashed = mix(hashed, categories[at, np.int64(entries[i, 2])])
            cell[end] = np.uint32(hashed & mask)
            end += 1
    return end - start


@njit(cache=True, error_model="numpy", inline="always")
def expand(entries, bias, cell, real, start, slot, value):
    """Write slots and values of an event's features, the bias first; return (how many without hats, with hats)."""
    mask = np.uint64(bias - 1)
    at = start
    slot[0] = bias
    value[0] = 1.0
    end = np.int64(1)
    ranked = np.int64(0)
    squares = 0.0
    for i in range(len(entries)):
        kind = entries[i, 0]
        if kind == NUMBER:
            v = np.float64(real[at])
            null = math.isnan(v)
            slot[end] = np.int64((entries[i, 4] if null else entries[i, 3]) & mask)
            value[end] = 1.0 if null else v
            squares += value[end] * value[end]
            ranked += real[at + 1] >= 0.0
            at += 2
            end += 1
        elif kind == WORDS:
            count = np.int64(cell[at])
            for word in range(at + 1, at + 1 + count):
                slot[end] = np.int64(cell[word])
                value[end] = 1.0
                end += 1
            squares += count
            at += 1 + count
        else:
            slot[end] = np.int64(cell[at])
            value[end] = 1.0
            squares += 1.0
            at += 1
            end += 1
    plain = end
    at = start
    for i in range(len(entries) if ranked else 0):
        kind = entries[i, 0]
        if kind == NUMBER:
            u = np.float64(real[at + 1])
            if u >= 0.0:
                piece = min(math.floor(u), HATS - 1.0)
                hashed = entries[i, 5] + np.uint64(HAT_STRIDE) * np.uint64(piece + 1.0)
                slot[end] = np.int64(hashed & mask)
                slot[end + 1] = np.int64((hashed + np.uint64(HAT_STRIDE)) & mask)
                u -= piece
                value[end] = 1.0 - u
                value[end + 1] = u
                squares += u * u + (1.0 - u) * (1.0 - u)
                end += 2
            at += 2
        elif kind == WORDS:
            at += 1 + np.int64(cell[at])
        else:
            at += 1
    if squares > NORM_LIMIT * NORM_LIMIT:
        shrink = NORM_LIMIT / math.sqrt(squares)
        for i in range(1, end):
            value[i] *= shrink
    return plain, end


@njit(cache=True, error_model="numpy", inline="always")
def observe_numbers(entries, numbers, at, statistics, sample, sampled, random, counters):
    """Move the statistics by one event (Welford) and its numbers into the samples, after it was encoded."""
    asked = counters[ASKED]
    for i in range(len(entries)):
        if entries[i, 0] == NUMBER:
            x = numbers[at, np.int64(entries[i, 1])]
            column = np.int64(entries[i, 2])
            if is_null(x):
                if not math.isnan(x):
                    counters[ABSURD] += 1
            elif column < len(statistics):
                n = statistics[column, COUNT]
                if column < len(sample) and n >= RANKED_SHARE * asked:
                    take_sample(x, n, sample, sampled, random, column)
                n += 1.0
                delta = x - statistics[column, MEAN]
                statistics[column, COUNT] = n
                statistics[column, MEAN] += delta / n
                statistics[column, DEVIATIONS] += delta * (x - statistics[column, MEAN])
                statistics[column, SQUARES] += x * x
    counters[ASKED] = asked + 1
