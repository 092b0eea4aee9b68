"""The compiled walk of the joiner: decide each record's fate, in merged order."""

from __future__ import annotations

import numpy as np
from numba import njit

from stream.join_index import find, insert, remove
from stream.join_state import (
    CONFLICTS,
    CORRECTIONS,
    DEADS,
    DONE_ALL,
    DUPLICATE_EVENTS,
    DUPLICATE_LABELS,
    EVENTS,
    EXPIREDS,
    FIRST_ROW,
    FIRST_WAITING,
    FROZEN,
    FULL,
    HEAP,
    LABELS,
    LAST,
    LATE,
    MATCHED,
    MIN_MESSAGES,
    NEWEST,
    NEXT_EXPIRY,
    NEXT_RECORD,
    NEXT_ROW,
    NEXT_TICK,
    NEXT_WAITING,
    OPS,
    ORPHANS,
    PAUSED,
    PENDINGS,
    REJECTED,
    REJECTED_CONFLICT,
    REJECTED_DEAD,
    RESOLVEDS,
    STALLED,
    TARGET,
    TICKED,
    TIMELESS,
    TOMBSTONES,
    WAITINGS,
    WATERMARK,
)  # fmt: skip
from stream.late_heap import pop_late, push_late
from stream.merge import EVENT
from stream.records import (
    CORRECT,
    DEAD,
    DONE,
    DROP,
    EXPIRE,
    EXPIRED,
    FATE_MASK,
    FIRST_POSITIVE,
    LEARN,
    NEVER,
    OUT_OF_ORDER,
    PENDING,
    POSITIVE,
    RESOLVE,
    RESOLVED,
    SCORE,
    SOUND,
)  # fmt: skip


@njit(cache=True)
def content_of(time, categories, number_bits, words, at):
    """32 bits that change when the time or any feature of event ``at`` does."""
    h = np.uint64(time)
    for i in range(categories.shape[1]):
        h = (h ^ categories[at, i]) * np.uint64(0x9E3779B97F4A7C15)
        h ^= h >> np.uint64(29)
    for i in range(number_bits.shape[1]):
        h = (h ^ number_bits[at, i]) * np.uint64(0xBF58476D1CE4E5B9)
        h ^= h >> np.uint64(32)
    for i in range(words.shape[1]):
        if words[at, i] != 0:
            h = (h ^ words[at, i] ^ np.uint64(i)) * np.uint64(0x94D049BB133111EB)
            h ^= h >> np.uint64(31)
    return np.uint32(h >> np.uint64(32))


@njit(cache=True, nogil=True)
def advance(ordered, rows, base, index, heap, waiting, waiting_index, policy, ops, rejected, cursor, counts):  # noqa: C901
    """Decide fates from ``cursor[NEXT_RECORD]`` on; stop at a tick, when ``ops`` is full, or at the end.

    As long as no record had a time there are no ticks; it stops after every ``MIN_MESSAGES`` instead.

    One function with closures, which numba inlines: an array handed to a function of its own, or taken out of
    a tuple in the loop, would cost an atomic count of references each time.
    """
    kinds, records, watermark = ordered.kind, ordered.record, ordered.watermark
    e_key, e_check, e_time, e_order = (
        ordered.events.key,
        ordered.events.check,
        ordered.events.time,
        ordered.events.order,
    )
    e_flaw, e_label, categories = ordered.events.flaw, ordered.events.label, ordered.events.categories
    bits, words = ordered.events.numbers.view(np.uint64), ordered.events.words
    l_key, l_check, l_time, l_order = (
        ordered.labels.key,
        ordered.labels.check,
        ordered.labels.time,
        ordered.labels.order,
    )
    l_flaw, l_value = ordered.labels.flaw, ordered.labels.value
    e_weight = ordered.events.weight
    r_key, r_check, r_content, r_time, r_status = rows.key, rows.check, rows.content, rows.time, rows.status
    r_weight = rows.weight
    w_key, w_check, w_time, w_deadline, w_value = waiting
    op_code, op_row, op_record, op_label, op_at = ops
    window_us, early_us, tick_us = policy.window_us, policy.early_us, policy.tick_us
    kept_us = policy.window_us + policy.remember_us
    at_maturity, missing_is_negative, labelled = policy.at_maturity, policy.missing_is_negative, policy.labelled
    dedupe = not labelled or policy.remember_us > 0
    # while learning is paused, what would be learned is dropped
    learn = DROP if cursor[PAUSED] else LEARN
    wrap = len(w_key) - 1
    count = len(kinds)
    cursor[OPS] = 0
    cursor[REJECTED] = 0

    def emit(code, row, record, label, time):
        at = cursor[OPS]
        op_code[at] = code
        op_row[at] = row
        op_record[at] = record
        op_label[at] = label
        op_at[at] = time
        cursor[OPS] = at + 1

    def reject(kind, record, why):
        at = cursor[REJECTED]
        rejected[at, 0] = kind
        rejected[at, 1] = record
        rejected[at, 2] = why
        cursor[REJECTED] = at + 1

    def match(row, label, time):
        """The label answers the row."""
        counts[MATCHED] += 1
        counts[PENDINGS] -= 1
        counts[RESOLVEDS] += 1
        status = (r_status[row - base] & ~FATE_MASK) | RESOLVED | (FIRST_POSITIVE | POSITIVE if label == 1 else 0)
        if at_maturity:
            r_status[row - base] = status
            emit(RESOLVE, row, -1, label, time)
        else:
            r_status[row - base] = status | DONE
            emit(RESOLVE | learn, row, -1, label, time)

    def expire_row(row):
        """The row's window has passed: it is dropped, or learned if that is when it is learned."""
        status = r_status[row - base]
        if status & FATE_MASK == PENDING:
            counts[PENDINGS] -= 1
            counts[EXPIREDS] += 1
            r_status[row - base] = (status & ~FATE_MASK) | EXPIRED | DONE
            if missing_is_negative:
                emit(RESOLVE | EXPIRE | learn, row, -1, 0, NEVER)
            else:
                emit(DROP | EXPIRE, row, -1, -1, NEVER)
        elif not status & DONE:
            r_status[row - base] = status | DONE
            emit(learn, row, -1, 1 if status & POSITIVE else 0, NEVER)

    def expire(limit):
        """Expire every row whose window ended before ``limit``, oldest first; False if ``ops`` is full."""
        if cursor[FROZEN] == STALLED:
            return True
        while cursor[OPS] < len(op_code):
            while cursor[NEXT_EXPIRY] < cursor[NEXT_ROW] and r_status[cursor[NEXT_EXPIRY] - base] & OUT_OF_ORDER:
                cursor[NEXT_EXPIRY] += 1
            in_order = cursor[NEXT_EXPIRY] < cursor[NEXT_ROW]
            late = cursor[HEAP] > 0
            if in_order and late:
                late = heap[0, 0] < r_time[cursor[NEXT_EXPIRY] - base]
            if not in_order and not late:
                return True
            time = heap[0, 0] if late else r_time[cursor[NEXT_EXPIRY] - base]
            if time + window_us >= limit:
                return True
            row = cursor[NEXT_EXPIRY]
            if late:
                row = pop_late(heap, cursor)
            else:
                cursor[NEXT_EXPIRY] += 1
            expire_row(row)
        return False

    def forget(limit):
        """Let go of rows past ``remember`` and of labels that waited in vain."""
        while cursor[FIRST_ROW] < cursor[NEXT_EXPIRY] and r_time[cursor[FIRST_ROW] - base] + kept_us < limit:
            remove(index, r_key[cursor[FIRST_ROW] - base], cursor[FIRST_ROW])
            cursor[FIRST_ROW] += 1
        while cursor[FIRST_WAITING] < cursor[NEXT_WAITING]:
            at = cursor[FIRST_WAITING] & wrap
            if w_value[at] >= 0:
                if w_deadline[at] >= limit:
                    break
                remove(waiting_index, w_key[at], cursor[FIRST_WAITING])
                counts[WAITINGS] -= 1
                counts[ORPHANS] += 1
            cursor[FIRST_WAITING] += 1

    def known_before(e, content):
        """Count an event whose id is known, as a duplicate or a conflict."""
        known = find(index, e_key[e], e_check[e], r_check, base, -1)
        if known < 0:
            return False
        if r_content[known - base] == content:
            counts[DUPLICATE_EVENTS] += 1
        else:
            counts[CONFLICTS] += 1
            reject(EVENT, e, REJECTED_CONFLICT)
        return True

    def take_labelled(e):
        counts[EVENTS] += 1
        content = np.uint32(0)
        if dedupe:
            content = content_of(e_time[e], categories, bits, words, e) ^ np.uint32(e_label[e])
            if known_before(e, content):
                return
        row = cursor[NEXT_ROW]
        cursor[NEXT_ROW] = cursor[NEXT_EXPIRY] = row + 1
        r = row - base
        r_time[r] = e_time[e]
        r_weight[r] = e_weight[e]
        r_status[r] = RESOLVED | DONE | (FIRST_POSITIVE | POSITIVE if e_label[e] == 1 else 0)
        if dedupe:
            r_key[r] = e_key[e]
            r_check[r] = e_check[e]
            r_content[r] = content
            insert(index, e_key[e], row)
        else:
            cursor[FIRST_ROW] = row + 1
        counts[RESOLVEDS] += 1
        emit(SCORE | RESOLVE | learn, row, e, e_label[e], e_time[e])

    def take_event(e):
        counts[EVENTS] += 1
        key, check, time = e_key[e], e_check[e], e_time[e]
        content = content_of(time, categories, bits, words, e)
        if known_before(e, content):
            return
        row = cursor[NEXT_ROW]
        cursor[NEXT_ROW] = row + 1
        r = row - base
        r_key[r] = key
        r_check[r] = check
        r_content[r] = content
        r_time[r] = time
        r_weight[r] = e_weight[e]
        r_status[r] = PENDING
        insert(index, key, row)
        counts[PENDINGS] += 1
        if time < cursor[NEWEST]:
            r_status[r] = PENDING | OUT_OF_ORDER
            push_late(heap, cursor, time, row)
        else:
            cursor[NEWEST] = time
        emit(SCORE, row, e, -1, NEVER)
        if counts[WAITINGS] > 0:
            place = find(waiting_index, key, check, w_check, 0, wrap)
            at = place & wrap
            if place >= 0 and time - early_us <= w_time[at] <= time + window_us:
                remove(waiting_index, key, place)
                counts[WAITINGS] -= 1
                match(row, w_value[at], w_time[at])
                w_value[at] = -1

    def take_label(i):
        counts[LABELS] += 1
        key, check, time, value = l_key[i], l_check[i], l_time[i], l_value[i]
        row = find(index, key, check, r_check, base, -1)
        if row >= 0:
            status, asked_at = r_status[row - base], r_time[row - base]
            fate = status & FATE_MASK
            if fate == EXPIRED or (fate == PENDING and time > asked_at + window_us):
                counts[LATE] += 1
            elif fate == RESOLVED:
                if (status & POSITIVE != 0) == (value == 1):
                    counts[DUPLICATE_LABELS] += 1
                else:
                    counts[CORRECTIONS] += 1
                    r_status[row - base] = status ^ POSITIVE
                    emit(CORRECT, row, -1, value, time)
            elif time < asked_at - early_us:
                counts[ORPHANS] += 1  # older than its event: it answers an earlier one, which is forgotten
            else:
                match(row, value, time)
            return
        place = find(waiting_index, key, check, w_check, 0, wrap)
        if place >= 0:
            if w_value[place & wrap] == value:
                counts[DUPLICATE_LABELS] += 1
            else:
                counts[CORRECTIONS] += 1
                w_value[place & wrap] = value
        elif cursor[NEXT_WAITING] - cursor[FIRST_WAITING] <= wrap:
            place = cursor[NEXT_WAITING]
            at = place & wrap
            w_key[at] = key
            w_check[at] = check
            w_time[at] = time
            w_deadline[at] = l_order[i] + early_us
            w_value[at] = value
            cursor[NEXT_WAITING] = place + 1
            insert(waiting_index, key, place)
            counts[WAITINGS] += 1
        else:
            counts[ORPHANS] += 1

    while True:
        i = cursor[NEXT_RECORD]
        if i == count:
            order = watermark
        elif kinds[i] == EVENT:
            order = e_order[records[i]]
        else:
            order = l_order[records[i]]
        if order != NEVER:
            if cursor[NEXT_TICK] == NEVER:
                cursor[NEXT_TICK] = (order // tick_us + 1) * tick_us
            limit = min(order, cursor[NEXT_TICK])
            if not labelled and not expire(limit):
                return FULL
            if dedupe:
                forget(limit)
            cursor[WATERMARK] = max(cursor[WATERMARK], limit)
            if order >= cursor[NEXT_TICK]:
                cursor[TARGET] = order
                return TICKED
        if i == count:
            return DONE_ALL
        if cursor[OPS] + 2 > len(op_code) or cursor[REJECTED] + 1 > len(rejected):
            return FULL
        record = records[i]
        cursor[NEXT_RECORD] = i + 1
        cursor[LAST] = max(cursor[LAST], order)
        kind = kinds[i]
        flaw = e_flaw[record] if kind == EVENT else l_flaw[record]
        if flaw == DEAD:
            counts[DEADS] += 1
            reject(kind, record, REJECTED_DEAD)
        elif flaw != SOUND:
            counts[TOMBSTONES] += 1
        elif kind != EVENT:
            take_label(record)
        elif labelled:
            take_labelled(record)
        else:
            take_event(record)
        if order == NEVER and (counts[DEADS] + counts[TOMBSTONES]) % MIN_MESSAGES == 0:
            return TIMELESS
