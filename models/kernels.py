"""The compiled walk: encode, score, learn. In one file, so that numba's cache can't go stale.

Scoring takes no fast-math flags: whoever scores an event, daemon, HTTP or notebook, gets the same bits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.plan import CATEGORY, NUMBER, WORDS
from models.state import ABSURD, ASKED, BLOCK_SLOTS, COUNT, DEVIATIONS, DROPPED, LEARNED, MEAN, SQUARES
from stream.records import DROP, LEARN, MAX_WORDS, SCORE

CLIP = 3.0  # standard deviations
NORM_LIMIT = 5.0  # of an event's values without the bias
ABSURD_VALUE = 1e15  # beyond it a number is null
TINY_VALUE = 1e-150  # below it a number is zero: its square would be lost
FLATTEST = 1e-12  # divisor of a weight: without beta, n may be zero where z is not
BLOCK_SHIFT = BLOCK_SLOTS.bit_length() - 1


class Settings(NamedTuple):
    """The constants of FTRL-Proximal."""

    alpha: float
    beta: float
    l1: float
    l2: float


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
    if spread > 0.0 and n >= 0.5 * asked:
        v = (x - statistics[column, MEAN]) / spread
    elif x == 0.0:
        v = 0.0
    else:
        # absent from most events: a centred value would turn absence into a statement
        v = x / math.sqrt((statistics[column, SQUARES] + x * x) / (n + 1.0))
    return min(max(v, -CLIP), CLIP)


@njit(cache=True, error_model="numpy", inline="always")
def encode(entries, categories, numbers, words, at, statistics, asked, bias, slot, value, start):
    """Write the slots and values of event ``at`` from ``start`` on, bias first; return how many."""
    mask = np.uint64(bias - 1)
    slot[start] = bias
    value[start] = 1.0
    end = start + 1
    squares = 0.0
    for i in range(len(entries)):
        kind = entries[i, 0]
        column = np.int64(entries[i, 1])
        if kind == CATEGORY:
            hashed = categories[at, column]
            v = 1.0
        elif kind == NUMBER:
            x = numbers[at, column]
            if is_null(x):
                hashed = entries[i, 4]
                v = 1.0
            else:
                hashed = entries[i, 3]
                v = standardise(x, statistics, np.int64(entries[i, 2]), asked)
        elif kind == WORDS:
            for place in range(column, column + MAX_WORDS):
                hashed = words[at, place]
                if hashed == 0:
                    break
                slot[end] = np.uint32(hashed & mask)
                value[end] = 1.0
                squares += 1.0
                end += 1
            continue
        else:
            hashed = mix(categories[at, column], categories[at, np.int64(entries[i, 2])])
            v = 1.0
        slot[end] = np.uint32(hashed & mask)
        value[end] = v
        squares += v * v
        end += 1
    if squares > NORM_LIMIT * NORM_LIMIT:
        shrink = NORM_LIMIT / math.sqrt(squares)
        for i in range(start + 1, end):
            value[i] *= shrink
    return end - start


@njit(cache=True, error_model="numpy", inline="always")
def observe_numbers(entries, numbers, at, statistics, counters):
    """Move the statistics by one event (Welford), after it was encoded."""
    for i in range(len(entries)):
        if entries[i, 0] == NUMBER:
            x = numbers[at, np.int64(entries[i, 1])]
            column = np.int64(entries[i, 2])
            if is_null(x):
                if not math.isnan(x):
                    counters[ABSURD] += 1
            elif column < len(statistics):
                n = statistics[column, COUNT] + 1.0
                delta = x - statistics[column, MEAN]
                statistics[column, COUNT] = n
                statistics[column, MEAN] += delta / n
                statistics[column, DEVIATIONS] += delta * (x - statistics[column, MEAN])
                statistics[column, SQUARES] += x * x
    counters[ASKED] += 1


LANES = 8  # so many entries go through the processor at once
Z, N, ROOT, WEIGHT, VALUE = range(5)  # rows of the scratch


def new_scratch(width: int) -> NDArray[np.float64]:
    """Room for what is looked up of an event of at most ``width`` entries."""
    return np.empty((5, -(-width // LANES) * LANES))


@njit(cache=True, error_model="numpy", inline="always")
def logit_of(weights, settings, slot, value, start, size, scratch):
    """The logit of stored slots and values, by today's weights; ``scratch`` then has what it is made of.

    A weight is the proximal step of McMahan et al. 2013, algorithm 1. Rows are filled up with nothings to whole
    ``LANES``: the compiler's vector loop then takes them all, and leaves none to its slow remainder.
    """
    padded = (size + LANES - 1) // LANES * LANES
    for i in range(size):
        s = np.int64(slot[start + i])
        scratch[Z, i] = weights[s, 0]
        scratch[N, i] = weights[s, 1]
        scratch[VALUE, i] = value[start + i]
    for i in range(size, padded):
        scratch[Z, i] = 0.0
        scratch[N, i] = 0.0
        scratch[VALUE, i] = 0.0
    alpha, beta, l1, l2 = settings.alpha, settings.beta, settings.l1, settings.l2
    for i in range(padded):
        z = scratch[Z, i]
        root = math.sqrt(scratch[N, i])
        scratch[ROOT, i] = root
        scratch[WEIGHT, i] = -math.copysign(max(abs(z) - l1, 0.0), z) / max((beta + root) / alpha + l2, FLATTEST)
    # the first entry is the bias: the base rate is never regularised
    scratch[WEIGHT, 0] = -scratch[Z, 0] / max((beta + scratch[ROOT, 0]) / alpha, FLATTEST)
    total = 0.0
    for i in range(size):
        total += scratch[WEIGHT, i] * scratch[VALUE, i]
    return total


@njit(cache=True, error_model="numpy")
def sigmoid(logit):
    if logit >= 0.0:
        return 1.0 / (1.0 + math.exp(-logit))
    e = math.exp(logit)
    return e / (1.0 + e)


@njit(cache=True, error_model="numpy", inline="always")
def learn(weights, dirty, counters, settings, slot, value, start, size, label, importance, scratch):
    """One step of FTRL-Proximal, by the error that today's weights make on the stored values.

    Entries that share a slot take the same weight, and are added one after another.
    """
    error = (sigmoid(logit_of(weights, settings, slot, value, start, size, scratch)) - label) * importance
    alpha = settings.alpha
    for i in range((size + LANES - 1) // LANES * LANES):
        g = error * scratch[VALUE, i]
        n = scratch[N, i]
        scratch[Z, i] = g - (math.sqrt(n + g * g) - scratch[ROOT, i]) / alpha * scratch[WEIGHT, i]
        scratch[N, i] = g * g
    for i in range(size):
        s = np.int64(slot[start + i])
        weights[s, 0] += scratch[Z, i]
        weights[s, 1] += scratch[N, i]
        dirty[s >> BLOCK_SHIFT] = 1
    counters[LEARNED] += 1


@njit(cache=True, error_model="numpy")
def ask(entries, categories, numbers, words, at, state, bias, settings, slot, value, start, scratch):
    """Encode and score event ``at``, then let it move the statistics; return (size, logit)."""
    weights, statistics, counters = state.weights, state.statistics, state.counters
    size = encode(entries, categories, numbers, words, at, statistics, counters[ASKED], bias, slot, value, start)
    logit = logit_of(weights, settings, slot, value, start, size, scratch)
    observe_numbers(entries, numbers, at, statistics, counters)
    return size, logit


@njit(cache=True, error_model="numpy", nogil=True)
def walk(entries, events, ops, rows, base, state, bias, settings, scratch):
    """Carry out the ops one after another, from and into the row table."""
    # fields of tuples are taken out once: in the loop each would cost a count of references
    weights, statistics, counters, dirty = state.weights, state.statistics, state.counters, state.dirty
    categories, numbers, words = events.categories, events.numbers, events.words
    codes, op_rows, records, labels = ops.code, ops.row, ops.record, ops.label
    starts, sizes, logits, used = rows.start, rows.size, rows.logit, rows.used
    slot, value, importance = rows.slot, rows.value, rows.weight
    for i in range(len(codes)):
        code = codes[i]
        r = op_rows[i] - base
        if code & SCORE:
            at, start = records[i], used[0]
            size = encode(
                entries, categories, numbers, words, at, statistics, counters[ASKED], bias, slot, value, start
            )
            logits[r] = logit_of(weights, settings, slot, value, start, size, scratch)
            observe_numbers(entries, numbers, at, statistics, counters)
            starts[r] = start
            sizes[r] = size
            used[0] = start + size
        if code & LEARN:
            start, size = starts[r], np.int64(sizes[r])
            learn(
                weights,
                dirty,
                counters,
                settings,
                slot,
                value,
                start,
                size,
                float(labels[i]),
                float(importance[r]),
                scratch,
            )
        elif code & DROP:
            counters[DROPPED] += 1
        if code & (LEARN | DROP):  # the features are no longer needed; at the arena's end they make room at once
            start, size = starts[r], np.int64(sizes[r])
            if start + size == used[0]:
                used[0] -= size
            else:
                used[1] += size
            sizes[r] = 0


@njit(cache=True, error_model="numpy", nogil=True)
def ask_and_learn_many(
    entries, categories, numbers, words, labels, importance, state, bias, settings, slot, value, scratch
):
    """Rows in order, each asked and learned before the next."""
    start = np.int64(0)  # a literal 0 would compile ``ask`` once more
    for i in range(len(labels)):
        size, _ = ask(entries, categories, numbers, words, i, state, bias, settings, slot, value, start, scratch)
        learn(
            state.weights,
            state.dirty,
            state.counters,
            settings,
            slot,
            value,
            start,
            size,
            labels[i],
            importance[i],
            scratch,
        )


@njit(cache=True, error_model="numpy", nogil=True)
def score_many(entries, categories, numbers, words, state, bias, settings, slot, value, scratch, logits):
    """Rows as they would be scored now; nothing moves."""
    weights, statistics, asked = state.weights, state.statistics, state.counters[ASKED]
    for i in range(len(logits)):
        size = encode(entries, categories, numbers, words, i, statistics, asked, bias, slot, value, 0)
        logits[i] = logit_of(weights, settings, slot, value, 0, size, scratch)
