"""The compiled walk of the joiner: decide each record's fate, in merged order.

The index is open addressing with linear probing and backward-shift deletion: ``table[i]`` is (key, place + 1),
and a zero place is free. What a place means is the caller's: a row, or a waiting label.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream.merge import EVENT
from stream.records import (
    DEAD,
    DONE,
    DROP,
    EXPIRED,
    FATE_MASK,
    LEARN,
    OUT_OF_ORDER,
    PENDING,
    POSITIVE,
    RESOLVE,
    RESOLVED,
    SCORE,
    SOUND,
)

COUNTS = (
    "events", "labels", "tombstones", "dead", "pending", "resolved", "expired", "duplicate_events", "conflict",
    "matched", "waiting", "late", "duplicate_labels", "correction", "orphan",
)  # fmt: skip
(
    EVENTS, LABELS, TOMBSTONES, DEADS, PENDINGS, RESOLVEDS, EXPIREDS, DUPLICATE_EVENTS, CONFLICTS,
    MATCHED, WAITINGS, LATE, DUPLICATE_LABELS, CORRECTIONS, ORPHANS,
) = range(len(COUNTS))  # fmt: skip

# Places in `cursor`: what else the joiner knows besides its rows and waiting labels.
CURSOR = ("next_record", "ops", "rejected", "first_row", "next_row", "next_expiry", "heap", "newest", "watermark",
          "next_tick", "first_waiting", "next_waiting", "last", "target")  # fmt: skip
(NEXT_RECORD, OPS, REJECTED, FIRST_ROW, NEXT_ROW, NEXT_EXPIRY, HEAP, NEWEST, WATERMARK,
 NEXT_TICK, FIRST_WAITING, NEXT_WAITING, LAST, TARGET) = range(len(CURSOR))  # fmt: skip

DONE_ALL, TICKED, FULL = 0, 1, 2  # why the walk stopped
REJECTED_DEAD, REJECTED_CONFLICT = 0, 1
NEVER = np.iinfo(np.int64).min


class Policy(NamedTuple):
    """The join, in microseconds."""

    window_us: int
    early_us: int
    remember_us: int
    tick_us: int
    at_maturity: bool  # learn at the end of the window, not when the label comes
    missing_is_negative: bool
    labelled: bool  # events bring their labels


class Waiting(NamedTuple):
    """Labels whose events have not come, as a ring of 2^n places; index with ``place & (2^n - 1)``."""

    key: NDArray[np.uint64]
    check: NDArray[np.uint32]
    time: NDArray[np.int64]
    deadline: NDArray[np.int64]
    value: NDArray[np.int8]  # -1: matched since


@njit(cache=True)
def slot_of(key, mask):
    return np.int64((key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & mask


@njit(cache=True)
def find(table, key, check, checks, base, wrap):
    """The place of an id, or -1. ``checks`` tells ids apart that share 64 bits; ``wrap`` makes it a ring."""
    mask = len(table) - 1
    i = slot_of(key, mask)
    while table[i, 1] != 0:
        if table[i, 0] == key:
            place = np.int64(table[i, 1]) - 1
            if checks[(place - base) & wrap] == check:
                return place
        i = (i + 1) & mask
    return np.int64(-1)


@njit(cache=True)
def insert(table, key, place):
    mask = len(table) - 1
    i = slot_of(key, mask)
    while table[i, 1] != 0:
        i = (i + 1) & mask
    table[i, 0] = key
    table[i, 1] = np.uint64(place + 1)


@njit(cache=True)
def remove(table, key, place):
    """Take an entry out and move back those that probing would no longer reach."""
    mask = len(table) - 1
    hole = slot_of(key, mask)
    while table[hole, 1] != np.uint64(place + 1):
        hole = (hole + 1) & mask
    i = hole
    while True:
        i = (i + 1) & mask
        if table[i, 1] == 0:
            break
        home = slot_of(table[i, 0], mask)
        if ((i - home) & mask) >= ((i - hole) & mask):
            table[hole, 0] = table[i, 0]
            table[hole, 1] = table[i, 1]
            hole = i
    table[hole, 1] = 0


@njit(cache=True)
def rebuild(table, keys, first, last, base):
    for place in range(first, last):
        insert(table, keys[place - base], place)


@njit(cache=True)
def content_of(time, categories, number_bits):
    """32 bits that change when the time or any feature does."""
    h = np.uint64(time)
    for i in range(len(categories)):
        h = (h ^ categories[i]) * np.uint64(0x9E3779B97F4A7C15)
        h ^= h >> np.uint64(29)
    for i in range(len(number_bits)):
        h = (h ^ number_bits[i]) * np.uint64(0xBF58476D1CE4E5B9)
        h ^= h >> np.uint64(32)
    return np.uint32(h >> np.uint64(32))


@njit(cache=True)
def emit(ops, cursor, code, row, record, label):
    at = cursor[OPS]
    ops.code[at] = code
    ops.row[at] = row
    ops.record[at] = record
    ops.label[at] = label
    cursor[OPS] = at + 1


@njit(cache=True)
def reject(rejected, cursor, kind, record, why):
    at = cursor[REJECTED]
    rejected[at, 0] = kind
    rejected[at, 1] = record
    rejected[at, 2] = why
    cursor[REJECTED] = at + 1


@njit(cache=True)
def expire_row(row, rows, base, policy, ops, cursor, counts):
    """The row's window has passed: it is dropped, or learned if that is when it is learned."""
    r = row - base
    status = rows.status[r]
    if status & FATE_MASK == PENDING:
        counts[PENDINGS] -= 1
        counts[EXPIREDS] += 1
        rows.status[r] = (status & ~FATE_MASK) | EXPIRED | DONE
        if policy.missing_is_negative:
            emit(ops, cursor, RESOLVE | LEARN, row, -1, 0)
        else:
            emit(ops, cursor, DROP, row, -1, -1)
    elif not status & DONE:
        rows.status[r] = status | DONE
        emit(ops, cursor, LEARN, row, -1, 1 if status & POSITIVE else 0)


@njit(cache=True)
def push_late(heap, cursor, time, row):
    """Add a row to the binary heap of (time, row) of those that are out of order."""
    at = cursor[HEAP]
    cursor[HEAP] = at + 1
    while at > 0:
        parent = (at - 1) >> 1
        if heap[parent, 0] < time or (heap[parent, 0] == time and heap[parent, 1] < row):
            break
        heap[at, 0] = heap[parent, 0]
        heap[at, 1] = heap[parent, 1]
        at = parent
    heap[at, 0] = time
    heap[at, 1] = row


@njit(cache=True)
def pop_late(heap, cursor):
    """Take the oldest row off the heap."""
    row = heap[0, 1]
    cursor[HEAP] -= 1
    size = cursor[HEAP]
    time, last = heap[size, 0], heap[size, 1]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        right = child + 1
        if right < size and (
            heap[right, 0] < heap[child, 0] or (heap[right, 0] == heap[child, 0] and heap[right, 1] < heap[child, 1])
        ):
            child = right
        if time < heap[child, 0] or (time == heap[child, 0] and last < heap[child, 1]):
            break
        heap[at, 0] = heap[child, 0]
        heap[at, 1] = heap[child, 1]
        at = child
    heap[at, 0] = time
    heap[at, 1] = last
    return row


@njit(cache=True)
def expire(limit, rows, base, heap, policy, ops, cursor, counts):
    """Expire every row whose window ended before ``limit``, oldest first; False if ``ops`` is full."""
    while cursor[OPS] < len(ops.code):
        while cursor[NEXT_EXPIRY] < cursor[NEXT_ROW] and rows.status[cursor[NEXT_EXPIRY] - base] & OUT_OF_ORDER:
            cursor[NEXT_EXPIRY] += 1
        in_order = cursor[NEXT_EXPIRY] < cursor[NEXT_ROW]
        late = cursor[HEAP] > 0
        if in_order and late:
            late = heap[0, 0] < rows.time[cursor[NEXT_EXPIRY] - base]
        if not in_order and not late:
            return True
        time = heap[0, 0] if late else rows.time[cursor[NEXT_EXPIRY] - base]
        if time + policy.window_us >= limit:
            return True
        if late:
            row = pop_late(heap, cursor)
        else:
            row = cursor[NEXT_EXPIRY]
            cursor[NEXT_EXPIRY] += 1
        expire_row(row, rows, base, policy, ops, cursor, counts)
    return False


@njit(cache=True)
def forget(limit, rows, base, index, waiting, waiting_index, policy, cursor, counts):
    """Let go of rows past ``remember`` and of labels that waited in vain."""
    kept_us = policy.window_us + policy.remember_us
    while cursor[FIRST_ROW] < cursor[NEXT_EXPIRY] and rows.time[cursor[FIRST_ROW] - base] + kept_us < limit:
        row = cursor[FIRST_ROW]
        remove(index, rows.key[row - base], row)
        cursor[FIRST_ROW] = row + 1
    while cursor[FIRST_WAITING] < cursor[NEXT_WAITING]:
        place = cursor[FIRST_WAITING]
        at = place & (len(waiting.key) - 1)
        if waiting.value[at] >= 0:
            if waiting.deadline[at] >= limit:
                break
            remove(waiting_index, waiting.key[at], place)
            counts[WAITINGS] -= 1
            counts[ORPHANS] += 1
        cursor[FIRST_WAITING] = place + 1


@njit(cache=True)
def match(row, label, rows, base, policy, ops, cursor, counts):
    """The label answers the row."""
    counts[MATCHED] += 1
    counts[PENDINGS] -= 1
    counts[RESOLVEDS] += 1
    r = row - base
    code = RESOLVE
    status = (rows.status[r] & ~FATE_MASK) | RESOLVED | (POSITIVE if label == 1 else 0)
    if not policy.at_maturity:
        code |= LEARN
        status |= DONE
    rows.status[r] = status
    emit(ops, cursor, code, row, -1, label)


@njit(cache=True)
def take_event(e, events, bits, rows, base, index, heap, waiting, waiting_index, policy, ops, rejected, cursor, counts):
    counts[EVENTS] += 1
    time = events.time[e]
    row = cursor[NEXT_ROW]
    r = row - base
    if policy.labelled:
        rows.time[r] = time
        rows.status[r] = RESOLVED | DONE
        cursor[NEXT_ROW] = cursor[NEXT_EXPIRY] = cursor[FIRST_ROW] = row + 1
        counts[RESOLVEDS] += 1
        emit(ops, cursor, SCORE | RESOLVE | LEARN, row, e, events.label[e])
        return
    key = events.key[e]
    content = content_of(time, events.categories[e], bits[e])
    known = find(index, key, events.check[e], rows.check, base, -1)
    if known >= 0:
        if rows.content[known - base] == content:
            counts[DUPLICATE_EVENTS] += 1
        else:
            counts[CONFLICTS] += 1
            reject(rejected, cursor, EVENT, e, REJECTED_CONFLICT)
        return
    rows.key[r] = key
    rows.check[r] = events.check[e]
    rows.content[r] = content
    rows.time[r] = time
    rows.status[r] = PENDING
    cursor[NEXT_ROW] = row + 1
    insert(index, key, row)
    counts[PENDINGS] += 1
    if time < cursor[NEWEST]:
        rows.status[r] = PENDING | OUT_OF_ORDER
        push_late(heap, cursor, time, row)
    else:
        cursor[NEWEST] = time
    emit(ops, cursor, SCORE, row, e, -1)
    if counts[WAITINGS] > 0:
        place = find(waiting_index, key, events.check[e], waiting.check, 0, len(waiting.key) - 1)
        if place >= 0:
            at = place & (len(waiting.key) - 1)
            if time - policy.early_us <= waiting.time[at] <= time + policy.window_us:
                remove(waiting_index, key, place)
                counts[WAITINGS] -= 1
                match(row, waiting.value[at], rows, base, policy, ops, cursor, counts)
                waiting.value[at] = -1


@njit(cache=True)
def take_label(i, labels, rows, base, index, waiting, waiting_index, policy, ops, cursor, counts):
    counts[LABELS] += 1
    key, check, time, value = labels.key[i], labels.check[i], labels.time[i], labels.value[i]
    row = find(index, key, check, rows.check, base, -1)
    if row >= 0:
        r = row - base
        fate = rows.status[r] & FATE_MASK
        if fate == EXPIRED or (fate == PENDING and time > rows.time[r] + policy.window_us):
            counts[LATE] += 1
        elif fate == RESOLVED:
            if (rows.status[r] & POSITIVE != 0) == (value == 1):
                counts[DUPLICATE_LABELS] += 1
            else:
                counts[CORRECTIONS] += 1
        elif time < rows.time[r] - policy.early_us:
            counts[ORPHANS] += 1  # older than its event: it answers an earlier one, which is forgotten
        else:
            match(row, value, rows, base, policy, ops, cursor, counts)
        return
    place = find(waiting_index, key, check, waiting.check, 0, len(waiting.key) - 1)
    if place >= 0:
        if waiting.value[place & (len(waiting.key) - 1)] == value:
            counts[DUPLICATE_LABELS] += 1
        else:
            counts[CORRECTIONS] += 1
    elif cursor[NEXT_WAITING] - cursor[FIRST_WAITING] < len(waiting.key):
        place = cursor[NEXT_WAITING]
        at = place & (len(waiting.key) - 1)
        waiting.key[at] = key
        waiting.check[at] = check
        waiting.time[at] = time
        waiting.deadline[at] = labels.order[i] + policy.early_us
        waiting.value[at] = value
        cursor[NEXT_WAITING] = place + 1
        insert(waiting_index, key, place)
        counts[WAITINGS] += 1
    else:
        counts[ORPHANS] += 1


@njit(cache=True, nogil=True)
def advance(ordered, rows, base, index, heap, waiting, waiting_index, policy, ops, rejected, cursor, counts):
    """Decide fates from ``cursor[NEXT_RECORD]`` on; stop at a tick, when ``ops`` is full, or at the end."""
    cursor[OPS] = 0
    cursor[REJECTED] = 0
    events, labels = ordered.events, ordered.labels
    bits = events.numbers.view(np.uint64)
    count = len(ordered.kind)
    while True:
        i = cursor[NEXT_RECORD]
        if i == count:
            order = ordered.watermark
        elif ordered.kind[i] == EVENT:
            order = events.order[ordered.record[i]]
        else:
            order = labels.order[ordered.record[i]]
        if order != NEVER:
            if cursor[NEXT_TICK] == NEVER:
                cursor[NEXT_TICK] = (order // policy.tick_us + 1) * policy.tick_us
            limit = min(order, cursor[NEXT_TICK])
            if not expire(limit, rows, base, heap, policy, ops, cursor, counts):
                return FULL
            if not policy.labelled:
                forget(limit, rows, base, index, waiting, waiting_index, policy, cursor, counts)
            cursor[WATERMARK] = max(cursor[WATERMARK], limit)
            if order >= cursor[NEXT_TICK]:
                cursor[TARGET] = order
                return TICKED
        if i == count:
            return DONE_ALL
        if cursor[OPS] + 2 > len(ops.code) or cursor[REJECTED] + 1 > len(rejected):
            return FULL
        record = ordered.record[i]
        cursor[NEXT_RECORD] = i + 1
        cursor[LAST] = max(cursor[LAST], order)
        kind = ordered.kind[i]
        flaw = events.flaw[record] if kind == EVENT else labels.flaw[record]
        if flaw == DEAD:
            counts[DEADS] += 1
            reject(rejected, cursor, kind, record, REJECTED_DEAD)
        elif flaw != SOUND:
            counts[TOMBSTONES] += 1
        elif kind == EVENT:
            take_event(
                record,
                events,
                bits,
                rows,
                base,
                index,
                heap,
                waiting,
                waiting_index,
                policy,
                ops,
                rejected,
                cursor,
                counts,
            )
        else:
            take_label(record, labels, rows, base, index, waiting, waiting_index, policy, ops, cursor, counts)
