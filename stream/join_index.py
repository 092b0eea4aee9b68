"""An index from 64-bit keys to places: open addressing, linear probing, backward-shift deletion.

``table[i]`` is (key, place + 1), and a zero place is free. What a place means is the caller's: a row, or a
waiting label.

It is inlined into ``join_kernels``, whose compiled form numba does not renew when this file changes: save that one too.
"""

from __future__ import annotations

import numpy as np
from numba import njit


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
