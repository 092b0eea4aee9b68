"""The loops over what fields hold, in one file because numba's cache does not follow calls into another.

An event belongs to the pane in which it was asked, as in traffic_kernels.py, and to the reference by its own time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream.records import SCORE

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Hashes = NDArray[np.uint64]
Flags = NDArray[np.bool_]

CATEGORY_BITS = 6
CATEGORY_BINS = (1 << CATEGORY_BITS) + 1  # null last
SHIFT = np.uint64(64 - CATEGORY_BITS)  # the upper bits: slots of the model are the lower ones
CELLS = 24  # of about equal mass that a number is cut into
EDGES = 32  # a value that occurs often has a cell of its own, so there may be more than CELLS
NUMBER_BINS = EDGES + 2  # null last
SAMPLE = 2_000  # values of a column from which its edges come
FIXED = -1
ABSURD = 1e15  # a number beyond that is null, as for the model

BINS = 512  # of scores, as in monitors/kernels.py
BINS_PER_LOGIT = 16.0
LOWEST_LOGIT = -16.0

NOT_YET = -(2**62)  # a pane before all others
AWAITED, OPEN, TAKEN = 0, 1, 2  # how far a reference is
PHASE, FROM, TO, WANTED = 0, 1, 2, 3  # places in the book
ENDLESS = 2**62  # an end that is none, a number that is not reached


class DriftState(NamedTuple):
    """A ring of n panes over c categories and k numbers, and what is kept of all time."""

    categories: Ints  # (n, c, CATEGORY_BINS): events by a part of their value's hash
    numbers: Ints  # (n, k, NUMBER_BINS): events between a column's edges
    clipped: Ints  # (n, k): numbers beyond the bounds at which the model clips
    events: Ints  # (n,)
    changed: Flags  # (n,): differs from what was last stored
    newest: Ints  # (1,): the newest pane
    edges: Floats  # (k, EDGES): where bins begin, infinity behind the last; fixed once
    held: Ints  # (k,): values that wait for the edges, or FIXED
    waiting: Floats  # (k, SAMPLE): these values, in order,
    waiting_pane: Ints  # (k, SAMPLE): their panes,
    waiting_taken: Flags  # (k, SAMPLE): whether the reference has them,
    waiting_changed: Flags  # (k,): and whether they differ from what was last stored
    reference_categories: Ints  # (c, CATEGORY_BINS): events of the reference
    reference_numbers: Ints  # (k, NUMBER_BINS)
    reference_scores: Ints  # (BINS,)
    book: Ints  # (4,): how far the reference is, from when to when it takes events, how many it still wants
    newcomers: Hashes  # (c, CATEGORY_BINS): the latest hash in each bin


def new_state(panes: int, categories: int, numbers: int) -> DriftState:
    """Nothing seen yet, and no reference awaited."""

    def zeros(*shape: int) -> Ints:
        return np.zeros(shape, dtype=np.int64)

    def flags(*shape: int) -> Flags:
        return np.zeros(shape, dtype=np.bool_)

    return DriftState(
        categories=zeros(panes, categories, CATEGORY_BINS),
        numbers=zeros(panes, numbers, NUMBER_BINS),
        clipped=zeros(panes, numbers),
        events=zeros(panes),
        changed=flags(panes),
        newest=np.full(1, NOT_YET, dtype=np.int64),
        edges=np.full((numbers, EDGES), np.inf),
        held=zeros(numbers),
        waiting=np.zeros((numbers, SAMPLE)),
        waiting_pane=zeros(numbers, SAMPLE),
        waiting_taken=flags(numbers, SAMPLE),
        waiting_changed=flags(numbers),
        reference_categories=zeros(categories, CATEGORY_BINS),
        reference_numbers=zeros(numbers, NUMBER_BINS),
        reference_scores=zeros(BINS),
        book=zeros(4),
        newcomers=np.zeros((categories, CATEGORY_BINS), dtype=np.uint64),
    )


@njit(cache=True)
def cut(sample: Floats, edges: Floats) -> None:
    """Write the edges of cells of about equal mass, ascending; ``sample`` is sorted, and a value is in one cell.

    A cell ends once it has its share, or half of it where a value comes that fills one alone.
    """
    edges[:] = np.inf
    share = len(sample) / CELLS
    found, inside, i = 0, 0, 0
    while i < len(sample):
        after = i + 1
        while after < len(sample) and sample[after] == sample[i]:
            after += 1
        if inside > 0 and (inside >= share or (2 * inside >= share and after - i >= share)):
            edges[found] = sample[i]
            found += 1
            inside = 0
        inside += after - i
        i = after


@njit(cache=True)
def number_bin(x: float, edges: Floats) -> int:
    """How many edges lie at or below ``x``; all of them are looked at, without a branch."""
    below = 0
    for i in range(EDGES):
        below += edges[i] <= x
    return below


@njit(cache=True)
def score_bin(logit: float) -> int:
    """As in monitors/kernels.py."""
    position = (logit - LOWEST_LOGIT) * BINS_PER_LOGIT
    if not position >= 1.0:
        return 0
    return BINS - 1 if position >= BINS else int(position)  # an integer could not hold 1e300


@njit(cache=True)
def fix(state: DriftState, j: int) -> None:
    """Cut number ``j`` by the values that wait, and count them."""
    length = len(state.events)
    count = state.held[j]
    cut(np.sort(state.waiting[j, :count]), state.edges[j])
    for i in range(count):
        found = number_bin(state.waiting[j, i], state.edges[j])
        pane = state.waiting_pane[j, i]
        if pane > state.newest[0] - length:
            state.numbers[pane % length, j, found] += 1
            state.changed[pane % length] = True
        if state.waiting_taken[j, i]:
            state.reference_numbers[j, found] += 1
    state.waiting[j] = 0.0
    state.waiting_pane[j] = 0
    state.waiting_taken[j] = False
    state.waiting_changed[j] = True
    state.held[j] = FIXED


@njit(cache=True)
def begin(at_us: int, book: Ints) -> None:
    """The first event has come: the reference begins."""
    book[PHASE] = OPEN
    book[FROM] = at_us
    if book[TO] != ENDLESS:  # until now its length
        book[TO] += at_us


@njit(cache=True)
def close(state: DriftState) -> None:
    """The reference is whole: fix the edges that it needs, from however few values there are."""
    state.book[PHASE] = TAKEN
    for j in range(len(state.held)):
        if state.held[j] != FIXED:
            fix(state, j)


@njit(cache=True)
def roll(pane: int, state: DriftState) -> None:
    """Make ``pane`` the newest if it is newer, and empty the places that it and those before it take over."""
    length = len(state.events)
    newest = state.newest[0]
    for taken in range(max(newest + 1, pane - length + 1), pane + 1):
        place = taken % length
        if state.events[place]:
            state.categories[place] = 0
            state.numbers[place] = 0
            state.clipped[place] = 0
            state.events[place] = 0
            state.changed[place] = True
    state.newest[0] = max(newest, pane)


@njit(cache=True)
def walk(
    code: NDArray[np.uint8],
    row: Ints,
    record: Ints,
    time: Ints,
    logit: Floats,
    base: int,
    hashes: Hashes,
    values: Floats,
    columns: Ints,
    nulls: Hashes,
    bounds: Floats,
    pane_us: int,
    state: DriftState,
) -> None:
    """Take ops in merged order; ``columns`` are the columns of ``hashes`` to watch, ``nulls`` their nulls' hashes.

    ``bounds`` (k, 2) are the numbers between which the model does not clip.
    """
    # fields are taken out once: in the loop each would cost a count of references
    categories, numbers, clipped, newcomers = state.categories, state.numbers, state.clipped, state.newcomers
    events, changed, newest, book = state.events, state.changed, state.newest, state.book
    edges, held, waiting = state.edges, state.held, state.waiting
    waiting_pane, waiting_taken, waiting_changed = state.waiting_pane, state.waiting_taken, state.waiting_changed
    reference_categories, reference_numbers = state.reference_categories, state.reference_numbers
    length = len(events)
    for i in range(len(code)):
        if not code[i] & SCORE:
            continue
        at = row[i] - base
        asked_us = time[at]
        if asked_us // pane_us > newest[0]:
            roll(asked_us // pane_us, state)
        place = newest[0] % length
        events[place] += 1
        changed[place] = True
        if book[PHASE] == AWAITED:
            begin(newest[0] * pane_us, book)
        taken = book[PHASE] == OPEN and book[FROM] <= asked_us < book[TO]
        event = record[i]
        for j in range(len(columns)):
            hashed = hashes[event, columns[j]]
            found = CATEGORY_BINS - 1 if hashed == nulls[j] else np.int64(hashed >> SHIFT)
            categories[place, j, found] += 1
            newcomers[j, found] = hashed
            if taken:
                reference_categories[j, found] += 1
        for j in range(len(held)):
            x = values[event, j]
            found = NUMBER_BINS - 1
            if abs(x) <= ABSURD:  # false of NaN
                clipped[place, j] += (x < bounds[j, 0]) | (x > bounds[j, 1])
                if held[j] != FIXED:
                    waiting[j, held[j]] = x
                    waiting_pane[j, held[j]] = newest[0]
                    waiting_taken[j, held[j]] = taken
                    waiting_changed[j] = True
                    held[j] += 1
                    if held[j] == SAMPLE:
                        fix(state, j)
                    continue
                found = number_bin(x, edges[j])
            numbers[place, j, found] += 1
            if taken:
                reference_numbers[j, found] += 1
        if taken:
            state.reference_scores[score_bin(logit[at])] += 1
            book[WANTED] -= 1
            if book[WANTED] == 0:
                close(state)


@njit(cache=True)
def merge(
    first: int, last: int, state: DriftState, into_categories: Ints, into_numbers: Ints, into_clipped: Ints
) -> None:
    """Add the panes ``first`` to ``last``, all of them in the ring, to zeroed arrays."""
    length = len(state.events)
    for pane in range(first, last + 1):
        place = pane % length
        if state.events[place]:
            into_categories += state.categories[place]
            into_numbers += state.numbers[place]
            into_clipped += state.clipped[place]
