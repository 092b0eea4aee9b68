"""The compiled walk: encode, score, learn. In one file, so that numba's cache can't go stale.

Scoring takes no fast-math flags: whoever scores an event, daemon, HTTP or notebook, gets the same bits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from models.plan import CATEGORY, NUMBER
from models.state import ABSURD, ASKED, BLOCK_SLOTS, COUNT, DEVIATIONS, DROPPED, LEARNED, MEAN, SQUARES
from stream.records import DROP, LEARN, SCORE

CLIP = 3.0  # standard deviations
NORM_LIMIT = 5.0  # of an event's values without the bias
ABSURD_VALUE = 1e15  # beyond it a number is null
BLOCK_SHIFT = BLOCK_SLOTS.bit_length() - 1


class Settings(NamedTuple):
    """The constants of FTRL-Proximal."""

    alpha: float
    beta: float
    l1: float
    l2: float


@njit(cache=True)
def mix(first, second):
    """One 64-bit hash of two (the finaliser of SplitMix64 over an asymmetric sum)."""
    h = first * np.uint64(0x9E3779B97F4A7C15) + (second ^ np.uint64(0xD1B54A32D192ED03))
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@njit(cache=True)
def is_null(x):
    return not (abs(x) <= ABSURD_VALUE)  # true for NaN as well


@njit(cache=True)
def standardise(x, statistics, column, asked):
    """The value of a number, by the statistics of earlier events only, clipped."""
    if column >= len(statistics):  # more columns than are kept: only the sign counts
        return math.copysign(1.0, x) if x != 0.0 else 0.0
    n = statistics[column, COUNT]
    deviations = statistics[column, DEVIATIONS]
    if deviations > 0.0 and n >= 0.5 * asked:
        v = (x - statistics[column, MEAN]) / math.sqrt(deviations / n)
    elif x == 0.0:
        v = 0.0
    else:
        # absent from most events: a centred value would turn absence into a statement
        v = x / math.sqrt((statistics[column, SQUARES] + x * x) / (n + 1.0))
    return min(max(v, -CLIP), CLIP)


@njit(cache=True)
def encode(entries, categories, numbers, statistics, asked, bias, slot, value, start):
    """Write the event's slots and values from ``start`` on, bias first; return how many."""
    mask = np.uint64(bias - 1)
    slot[start] = bias
    value[start] = 1.0
    at = start + 1
    squares = 0.0
    for i in range(len(entries)):
        kind = entries[i, 0]
        column = np.int64(entries[i, 1])
        if kind == CATEGORY:
            hashed = categories[column]
            v = 1.0
        elif kind == NUMBER:
            x = numbers[column]
            if is_null(x):
                hashed = entries[i, 4]
                v = 1.0
            else:
                hashed = entries[i, 3]
                v = standardise(x, statistics, np.int64(entries[i, 2]), asked)
        else:
            hashed = mix(categories[column], categories[np.int64(entries[i, 2])])
            v = 1.0
        slot[at] = np.uint32(hashed & mask)
        value[at] = v
        squares += v * v
        at += 1
    if squares > NORM_LIMIT * NORM_LIMIT:
        shrink = NORM_LIMIT / math.sqrt(squares)
        for i in range(start + 1, at):
            value[i] *= shrink
    return at - start


@njit(cache=True)
def observe_numbers(entries, numbers, statistics, counters):
    """Move the statistics by one event (Welford), after it was encoded."""
    for i in range(len(entries)):
        if entries[i, 0] == NUMBER:
            x = numbers[np.int64(entries[i, 1])]
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


@njit(cache=True)
def weight(weights, slot, bias, settings):
    """A coordinate's weight from z and n: the proximal step of McMahan et al. 2013, algorithm 1."""
    z = float(weights[slot, 0])
    n = float(weights[slot, 1])
    l1 = settings.l1
    l2 = settings.l2
    if slot == bias:  # the base rate is never regularised
        l1 = 0.0
        l2 = 0.0
    if abs(z) <= l1:
        return 0.0
    return -(z - math.copysign(l1, z)) / ((settings.beta + math.sqrt(n)) / settings.alpha + l2)


@njit(cache=True)
def logit_of(weights, bias, settings, slot, value, start, size):
    total = 0.0
    for i in range(start, start + size):
        total += weight(weights, np.int64(slot[i]), bias, settings) * value[i]
    return total


@njit(cache=True)
def sigmoid(logit):
    if logit >= 0.0:
        return 1.0 / (1.0 + math.exp(-logit))
    e = math.exp(logit)
    return e / (1.0 + e)


@njit(cache=True)
def learn(state, bias, settings, slot, value, start, size, label, importance):
    """One step of FTRL-Proximal, by the error that today's weights make on the stored values."""
    weights = state.weights
    error = (sigmoid(logit_of(weights, bias, settings, slot, value, start, size)) - label) * importance
    for i in range(start, start + size):
        s = np.int64(slot[i])
        g = error * value[i]
        n = float(weights[s, 1])
        # entries that share a slot are applied one after another
        sigma = (math.sqrt(n + g * g) - math.sqrt(n)) / settings.alpha
        weights[s, 0] += g - sigma * weight(weights, s, bias, settings)
        weights[s, 1] = n + g * g
        state.dirty[s >> BLOCK_SHIFT] = 1
    state.counters[LEARNED] += 1


@njit(cache=True)
def ask(entries, categories, numbers, state, bias, settings, slot, value, start):
    """Encode, score, then let the event move the statistics; return (size, logit)."""
    size = encode(entries, categories, numbers, state.statistics, state.counters[ASKED], bias, slot, value, start)
    logit = logit_of(state.weights, bias, settings, slot, value, start, size)
    observe_numbers(entries, numbers, state.statistics, state.counters)
    return size, logit


@njit(cache=True)
def give_up(rows, r):
    """A row's features are no longer needed; the arena shrinks at once where they are its last."""
    size = np.int64(rows.size[r])
    if rows.start[r] + size == rows.used[0]:
        rows.used[0] -= size
    else:
        rows.used[1] += size
    rows.size[r] = 0


@njit(cache=True, nogil=True)
def walk(entries, events, ops, rows, base, state, bias, settings):
    """Carry out the ops one after another, from and into the row table."""
    for i in range(len(ops.code)):
        code = ops.code[i]
        r = ops.row[i] - base
        if code & SCORE:
            record = ops.record[i]
            start = rows.used[0]
            size, logit = ask(
                entries,
                events.categories[record],
                events.numbers[record],
                state,
                bias,
                settings,
                rows.slot,
                rows.value,
                start,
            )
            rows.start[r] = start
            rows.size[r] = size
            rows.logit[r] = logit
            rows.used[0] = start + size
        if code & LEARN:
            start = rows.start[r]
            size = np.int64(rows.size[r])
            learn(state, bias, settings, rows.slot, rows.value, start, size, float(ops.label[i]), 1.0)
            give_up(rows, r)
        elif code & DROP:
            state.counters[DROPPED] += 1
            give_up(rows, r)


@njit(cache=True, nogil=True)
def ask_and_learn_many(entries, categories, numbers, labels, importance, state, bias, settings, slot, value):
    """Rows in order, each asked and learned before the next."""
    for i in range(len(labels)):
        size, _ = ask(entries, categories[i], numbers[i], state, bias, settings, slot, value, 0)
        learn(state, bias, settings, slot, value, 0, size, float(labels[i]), importance[i])


@njit(cache=True, nogil=True)
def score_many(entries, categories, numbers, state, bias, settings, slot, value, logits):
    """Rows as they would be scored now; nothing moves."""
    for i in range(len(logits)):
        size = encode(entries, categories[i], numbers[i], state.statistics, state.counters[ASKED], bias, slot, value, 0)
        logits[i] = logit_of(state.weights, bias, settings, slot, value, 0, size)
