"""The loop that keeps fields until their label comes, in one file because numba's cache does not follow calls."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream.records import EXPIRE, RESOLVE, SCORE

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Hashes = NDArray[np.uint64]

TOGETHER = 64  # places of a block that is stored at once
WAITING = 2048  # events whose label may still come
KEPT = 512  # of either class
FORGOTTEN = 0  # a place holds one more than the number of a row


class Sample(NamedTuple):
    """Places in blocks of ``TOGETHER``: b of them wait, then come those of negatives and as many of positives."""

    row: Ints  # (blocks, TOGETHER): number of the row and one, or FORGOTTEN
    hashes: Hashes  # (blocks, TOGETHER, c)
    numbers: Floats  # (blocks, TOGETHER, k)
    changed: NDArray[np.bool_]  # (blocks,): differs from what was last stored
    next: Ints  # (2,): by class, how many have been kept


def new_sample(categories: int, numbers: int) -> Sample:
    """Nothing kept yet."""
    blocks = (WAITING + 2 * KEPT) // TOGETHER
    return Sample(
        row=np.zeros((blocks, TOGETHER), dtype=np.int64),
        hashes=np.zeros((blocks, TOGETHER, categories), dtype=np.uint64),
        numbers=np.zeros((blocks, TOGETHER, numbers)),
        changed=np.zeros(blocks, dtype=np.bool_),
        next=np.zeros(2, dtype=np.int64),
    )


@njit(cache=True)
def forget(place: int, sample: Sample) -> None:
    """Empty a place."""
    block, within = place // TOGETHER, place % TOGETHER
    hashes, numbers = sample.hashes, sample.numbers
    sample.row[block, within] = FORGOTTEN
    for j in range(hashes.shape[2]):  # one by one: for so few, slices take longer
        hashes[block, within, j] = 0
    for j in range(numbers.shape[2]):
        numbers[block, within, j] = 0.0
    sample.changed[block] = True


@njit(cache=True)
def keep(place: int, label: int, sample: Sample) -> None:
    """Move what waits to the kept ones of its class, where the oldest gives way."""
    to = WAITING + label * KEPT + sample.next[label] % KEPT
    sample.next[label] += 1
    block, within, to_block, to_within = place // TOGETHER, place % TOGETHER, to // TOGETHER, to % TOGETHER
    hashes, numbers = sample.hashes, sample.numbers
    sample.row[to_block, to_within] = sample.row[block, within]
    for j in range(hashes.shape[2]):
        hashes[to_block, to_within, j] = hashes[block, within, j]
    for j in range(numbers.shape[2]):
        numbers[to_block, to_within, j] = numbers[block, within, j]
    sample.changed[to_block] = True
    forget(place, sample)


@njit(cache=True)
def walk(
    code: NDArray[np.uint8],
    row: Ints,
    record: Ints,
    label: NDArray[np.int8],
    hashes: Hashes,
    values: Floats,
    columns: Ints,
    sample: Sample,
) -> None:
    """Take ops in merged order; ``columns`` are the columns of ``hashes`` to keep.

    An event that finds its place taken is passed over, whatever it holds and however late its label.
    """
    # fields are taken out once: in the loop each would cost a count of references
    rows, changed, kept_hashes, kept_values = sample.row, sample.changed, sample.hashes, sample.numbers
    for i in range(len(code)):
        place = row[i] % WAITING
        block, within = place // TOGETHER, place % TOGETHER
        if code[i] & SCORE and rows[block, within] == FORGOTTEN:
            rows[block, within] = row[i] + 1
            for j in range(len(columns)):
                kept_hashes[block, within, j] = hashes[record[i], columns[j]]
            for j in range(values.shape[1]):
                kept_values[block, within, j] = values[record[i], j]
            changed[block] = True
        if code[i] & (RESOLVE | EXPIRE) and rows[block, within] == row[i] + 1:
            if code[i] & RESOLVE:
                keep(place, label[i], sample)
            else:
                forget(place, sample)
