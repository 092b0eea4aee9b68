"""A binary heap of (time, row), for rows that are older than those before them.

It is inlined into ``join_kernels``, whose compiled form numba does not renew when this file changes: save that one too.
"""

from __future__ import annotations

from numba import njit

from stream.join_state import HEAP


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
