"""The loops over what flows by, in one file because numba's cache does not follow calls into another.

A ring of ``length`` panes is these arrays:

- scores int64 (length, BINS): events by the bin of their served logit
- categories int64 (length, c, 2): per column nulls, and values never seen before
- values int64 (length, k): per column numbers that are none of them null
- moments float64 (length, k, 3): per column a first value, and sum and sum of squares of the distances from it
- delays int64 (length, DELAY_BINS): labels by how long they took
- books int64 (length, 4): events, labels, messages, dead letters
- changed bool (length,): something else than the books differs from what was last stored
- clock int64 (2,): newest pane, watermark of labels

An event, and what it holds, belongs to the pane in which it was asked: stragglers too. A label belongs to the pane
of its event's time, so that a window of final panes has every delay, the long ones too.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream.records import NEVER, RESOLVE, SCORE

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

BINS = 512  # of scores, as in monitors/kernels.py
BINS_PER_LOGIT = 16.0
LOWEST_LOGIT = -16.0

FIRST_OCTAVE = 10  # 2^10 us is about a millisecond
OCTAVES = 39  # up to 17 years
PER_OCTAVE = 8
DELAY_BINS = 1 + OCTAVES * PER_OCTAVE

SEEN_BITS = 18  # of a category's hash: a bit of 32 KiB per column says whether it has been seen
ABSURD = 1e15  # a number beyond that is null, as for the model

NOT_YET = -(2**62)  # a pane before all others
NEWEST, DECIDED = 0, 1  # places in the clock
EVENTS, LABELS, MESSAGES, DEAD = 0, 1, 2, 3  # places in the books


@njit(cache=True)
def delay_bin(delay_us: int) -> int:
    """Log-linear: eight bins to every doubling; the first holds what is under a millisecond, or early."""
    if delay_us < 1 << FIRST_OCTAVE:
        return 0
    fraction, exponent = math.frexp(float(delay_us))
    within = int((2.0 * fraction - 1.0) * PER_OCTAVE)
    return min(1 + (exponent - 1 - FIRST_OCTAVE) * PER_OCTAVE + within, DELAY_BINS - 1)


@njit(cache=True)
def roll(
    pane: int,
    scores: Ints,
    categories: Ints,
    values: Ints,
    moments: Floats,
    delays: Ints,
    books: Ints,
    changed: Flags,
    clock: Ints,
) -> None:
    """Make ``pane`` the newest if it is newer, and empty the places that it and those before it take over."""
    length = len(books)
    for taken in range(max(clock[NEWEST] + 1, pane - length + 1), pane + 1):
        place = taken % length
        if books[place, EVENTS] or books[place, LABELS]:
            scores[place] = 0
            categories[place] = 0
            values[place] = 0
            moments[place] = 0.0
            delays[place] = 0
            changed[place] = True
        books[place] = 0
    clock[NEWEST] = max(clock[NEWEST], pane)


@njit(cache=True)
def walk(
    code: NDArray[np.uint8],
    row: Ints,
    record: Ints,
    label_time: Ints,
    time: Ints,
    logit: Floats,
    base: int,
    hashes: NDArray[np.uint64],
    numbers: Floats,
    columns: Ints,
    nulls: NDArray[np.uint64],
    pane_us: int,
    scores: Ints,
    categories: Ints,
    values: Ints,
    moments: Floats,
    delays: Ints,
    books: Ints,
    changed: Flags,
    clock: Ints,
    seen: NDArray[np.uint8],
    seen_changed: Flags,
) -> None:
    """Take ops in merged order; ``columns`` are the columns of ``hashes`` to watch, ``nulls`` their nulls' hashes."""
    length = len(books)
    width = values.shape[1]
    for i in range(len(code)):
        if not code[i] & (SCORE | RESOLVE):
            continue
        at = row[i] - base
        pane = time[at] // pane_us
        if code[i] & SCORE:
            if pane > clock[NEWEST]:
                roll(pane, scores, categories, values, moments, delays, books, changed, clock)
            place = clock[NEWEST] % length
            books[place, EVENTS] += 1
            changed[place] = True
            position = (logit[at] - LOWEST_LOGIT) * BINS_PER_LOGIT
            used = 0
            if position >= 1.0:  # clipped as a float: an integer could not hold 1e300
                used = BINS - 1 if position >= BINS else int(position)
            scores[place, used] += 1
            event = record[i]
            for j in range(len(columns)):
                hashed = hashes[event, columns[j]]
                if hashed == nulls[j]:
                    categories[place, j, 0] += 1
                else:
                    bit = np.int64(hashed & np.uint64((1 << SEEN_BITS) - 1))
                    mask = np.uint8(1 << (bit & 7))
                    if not seen[j, bit >> 3] & mask:
                        seen[j, bit >> 3] |= mask
                        seen_changed[j] = True
                        categories[place, j, 1] += 1
            for j in range(width):
                x = numbers[event, j]
                if abs(x) <= ABSURD:  # false of NaN
                    if values[place, j] == 0:
                        moments[place, j, 0] = x
                    values[place, j] += 1
                    distance = x - moments[place, j, 0]
                    moments[place, j, 1] += distance
                    moments[place, j, 2] += distance * distance
        if code[i] & RESOLVE and label_time[i] != NEVER and clock[NEWEST] - length < pane <= clock[NEWEST]:
            place = pane % length
            books[place, LABELS] += 1
            changed[place] = True
            delays[place, delay_bin(label_time[i] - time[at])] += 1


@njit(cache=True)
def merge_events(
    first: int,
    last: int,
    scores: Ints,
    categories: Ints,
    values: Ints,
    moments: Floats,
    books: Ints,
    into_scores: Ints,
    into_categories: Ints,
    into_numbers: Floats,
    into_books: Ints,
) -> None:
    """Add the panes ``first`` to ``last``, all of them in the ring, to zeroed arrays, in order.

    ``into_numbers`` (k, 4) receives count, mean, sum of squared deviations from it, and sum.
    """
    length = len(books)
    for pane in range(first, last + 1):
        place = pane % length
        for j in range(len(into_books)):
            into_books[j] += books[place, j]
        if not books[place, EVENTS]:
            continue
        for j in range(len(into_scores)):
            into_scores[j] += scores[place, j]
        for j in range(len(into_categories)):
            into_categories[j, 0] += categories[place, j, 0]
            into_categories[j, 1] += categories[place, j, 1]
        for j in range(len(into_numbers)):
            if values[place, j]:
                more = float(values[place, j])
                distance = moments[place, j, 1] / more
                mean = moments[place, j, 0] + distance
                before = into_numbers[j, 0]
                apart = mean - into_numbers[j, 1]
                # Chan, Golub and LeVeque 1983: deviations of two sets about their common mean
                into_numbers[j, 2] += max(moments[place, j, 2] - moments[place, j, 1] * distance, 0.0)
                into_numbers[j, 2] += apart * apart * before * more / (before + more)
                into_numbers[j, 1] += apart * more / (before + more)
                into_numbers[j, 0] = before + more
                into_numbers[j, 3] += moments[place, j, 0] * more + moments[place, j, 1]


@njit(cache=True)
def merge_delays(first: int, last: int, delays: Ints, books: Ints, into_delays: Ints) -> None:
    """Add the labels of the panes ``first`` to ``last``, all of them in the ring, to a zeroed array."""
    length = len(books)
    for pane in range(first, last + 1):
        place = pane % length
        if books[place, LABELS]:
            for j in range(len(into_delays)):
                into_delays[j] += delays[place, j]
