"""The loops over slices: which value of a field has a place of its own, and how good its predictions are.

``s`` fields, each with PLACES places for values and one more for all others. A group is field * (PLACES + 1) + place.
A ring of ``length`` panes is these arrays:

- counts int64 (length, groups, BINS, 2): negatives, positives
- sums float64 (length, groups, BINS, 2): sum of probabilities, sum of logloss
- traffic int64 (length, groups, 2): events, expired
- span int64 (length, 2): bins in use, from and up to without; what lies outside is zero
- changed bool (length,): something differs from what was last stored
- clock int64 (2,): newest pane, watermark

Of the values:

- values uint64 (s, PLACES): the hash that has the place
- seen int64 (s, PLACES): newest pane when it last came; NEVER: the place is free
- candidates uint64 (s, CANDIDATES), tries int64 (s, CANDIDATES): values without a place, and how often they came
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from monitors.grid import NEVER
from monitors.kernels import BINS as FINE_BINS
from monitors.kernels import judge
from stream.records import CORRECT, EXPIRE, RESOLVE, SCORE

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Hashes = NDArray[np.uint64]
Flags = NDArray[np.bool_]

BINS = 128
FINE_PER_BIN = FINE_BINS // BINS

PLACES = 32
OTHER = PLACES
AT_ONCE = 16  # places that are given to whatever comes first; the rest has to be earned
EARNED = 100  # events
CANDIDATES = 256

NEWEST, WATERMARK = 0, 1  # places in the clock


@njit(cache=True)
def roll(
    pane: int,
    counts: Ints,
    sums: Floats,
    traffic: Ints,
    span: Ints,
    changed: Flags,
    clock: Ints,
    seen: Ints,
) -> None:
    """Make ``pane`` the newest if it is newer: empty what it takes over, free places whose value the ring forgot."""
    length = len(span)
    for taken in range(max(clock[NEWEST] + 1, pane - length + 1), pane + 1):
        place = taken % length
        if traffic[place].any():
            changed[place] = True
        if span[place, 0] < span[place, 1]:
            counts[place, :, span[place, 0] : span[place, 1]] = 0
            sums[place, :, span[place, 0] : span[place, 1]] = 0.0
            span[place, :] = 0
        traffic[place] = 0
    clock[NEWEST] = max(clock[NEWEST], pane)
    for field in range(seen.shape[0]):
        for place in range(PLACES):
            if seen[field, place] <= clock[NEWEST] - length:
                seen[field, place] = NEVER


@njit(cache=True)
def find(
    field: int,
    hashed: np.uint64,
    record: int,
    newest: int,
    values: Hashes,
    seen: Ints,
    candidates: Hashes,
    tries: Ints,
    begun: Ints,
) -> int:
    """Return the place of a value that has come, giving it one if it has earned it; else OTHER."""
    free, taken = OTHER, 0
    for place in range(PLACES):
        if seen[field, place] == NEVER:
            free = min(free, place)
        elif values[field, place] == hashed:
            seen[field, place] = newest
            return place
        else:
            taken += 1
    if free == OTHER:
        return OTHER
    if taken >= AT_ONCE and not _earned(field, hashed, candidates, tries):
        return OTHER
    values[field, free] = hashed
    seen[field, free] = newest
    begun[field, free] = record
    return free


@njit(cache=True)
def _earned(field: int, hashed: np.uint64, candidates: Hashes, tries: Ints) -> bool:
    """Count a value; whatever makes up 1 in CANDIDATES of the rest is found (Misra and Gries 1982)."""
    free = -1
    for i in range(CANDIDATES):
        if tries[field, i] == 0:
            free = i
        elif candidates[field, i] == hashed:
            tries[field, i] += 1
            if tries[field, i] < EARNED:
                return False
            tries[field, i] = 0
            return True
    if free >= 0:
        candidates[field, free] = hashed
        tries[field, free] = 1
    else:
        for i in range(CANDIDATES):
            tries[field, i] -= 1
    return False


@njit(cache=True)
def widen(place: int, used: int, span: Ints) -> None:
    if span[place, 0] == span[place, 1]:
        span[place, 0] = used
    span[place, 0] = min(span[place, 0], used)
    span[place, 1] = max(span[place, 1], used + 1)


@njit(cache=True)
def walk(
    code: NDArray[np.uint8],
    row: Ints,
    record: Ints,
    label: NDArray[np.int8],
    time: Ints,
    logit: Floats,
    base: int,
    hashes: Hashes,
    placed: NDArray[np.uint8],
    pane_us: int,
    final_before: int,
    counts: Ints,
    sums: Floats,
    traffic: Ints,
    span: Ints,
    changed: Flags,
    clock: Ints,
    values: Hashes,
    seen: Ints,
    candidates: Hashes,
    tries: Ints,
    begun: Ints,
) -> None:
    """Take ops in merged order. ``hashes`` (n, s) are the events' values, ``placed`` (rows, s) gets their places.

    ``begun`` (s, PLACES) gets, for each value that was given a place, the number of its event, else stays as it is.
    """
    length, fields = len(span), seen.shape[0]
    for i in range(len(code)):
        at = row[i] - base
        pane = time[at] // pane_us
        if code[i] & SCORE:
            if pane > clock[NEWEST]:
                roll(pane, counts, sums, traffic, span, changed, clock, seen)
            for field in range(fields):
                placed[at, field] = find(
                    field, hashes[record[i], field], record[i], clock[NEWEST], values, seen, candidates, tries, begun
                )
        in_ring = pane > clock[NEWEST] - length and pane <= clock[NEWEST]
        if not in_ring or (pane < final_before and not code[i] & CORRECT):
            continue
        place = pane % length
        used, probability, logloss, wrong = 0, 0.0, 0.0, 0.0
        positive = label[i] == 1
        if code[i] & (RESOLVE | CORRECT):
            used, probability, logloss = judge(logit[at], positive)
            used //= FINE_PER_BIN
            if code[i] & CORRECT:
                if not span[place, 0] <= used < span[place, 1]:
                    continue  # its pane was asked for and given up, or begun anew
                _, _, wrong = judge(logit[at], not positive)
            else:
                widen(place, used, span)
        changed[place] = True  # also by an event alone: its group is in use from now on
        for field in range(fields):
            group = field * (PLACES + 1) + placed[at, field]
            if code[i] & SCORE:
                traffic[place, group, 0] += 1
            if code[i] & EXPIRE:
                traffic[place, group, 1] += 1
            if code[i] & RESOLVE:
                counts[place, group, used, 1 if positive else 0] += 1
                sums[place, group, used, 0] += probability
                sums[place, group, used, 1] += logloss
            elif (
                code[i] & CORRECT and counts[place, group, used, 0 if positive else 1]
            ):  # else judged before they began
                counts[place, group, used, 1 if positive else 0] += 1
                counts[place, group, used, 0 if positive else 1] -= 1
                sums[place, group, used, 1] += logloss - wrong


@njit(cache=True)
def merge(
    first: int,
    last: int,
    from_group: int,
    counts: Ints,
    sums: Floats,
    traffic: Ints,
    span: Ints,
    into_counts: Ints,
    into_sums: Floats,
    into_traffic: Ints,
) -> None:
    """Add the panes ``first`` to ``last``, all of them in the ring, to zeroed arrays: groups from ``from_group`` on."""
    length = len(span)
    for pane in range(first, last + 1):
        place = pane % length
        for g in range(len(into_traffic)):
            group = from_group + g
            if not traffic[place, group, 0]:
                continue
            into_traffic[g, 0] += traffic[place, group, 0]
            into_traffic[g, 1] += traffic[place, group, 1]
            for j in range(span[place, 0], span[place, 1]):
                into_counts[g, j, 0] += counts[place, group, j, 0]
                into_counts[g, j, 1] += counts[place, group, j, 1]
                into_sums[g, j, 0] += sums[place, group, j, 0]
                into_sums[g, j, 1] += sums[place, group, j, 1]
