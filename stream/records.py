"""The data that flows down the engine: what one package fills and the next one reads. No logic.

Times are int64 microseconds since the Unix epoch. A *row* is the global number of a scored event; rows
number from 0 in merged order and never change, ``row - base`` is its place in the arrays of ``Rows``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MICROSECONDS = 1_000_000
NEVER = np.iinfo(np.int64).min  # a time before all others
MAX_WORDS = 64  # of a field that are used

# Whether a message could be decoded.
SOUND, DEAD, TOMBSTONE = 0, 1, 2

# What an op asks for; one op may ask for several, done in this order.
SCORE, RESOLVE, LEARN, DROP = 1, 2, 4, 8
EXPIRE = 16  # its window has passed without a label
CORRECT = 32  # the label that was given is wrong: this one stands; nothing is un-learned

# The status byte of a row: one fate in the low two bits, flags above.
PENDING, RESOLVED, EXPIRED, FATE_MASK = 0, 1, 2, 3
POSITIVE = 4  # the label that came
OUT_OF_ORDER = 8  # its time is older than an earlier row's, so it expires through the heap
DONE = 16  # learned or dropped: its features are no longer needed
FIRST_POSITIVE = 32  # the label that came first, whatever corrected it later


class Events(NamedTuple):
    """Decoded events of one or more partitions, n of them, as columns."""

    key: NDArray[np.uint64]  # first 64 bits of the id's xxh3-128 digest, little-endian
    check: NDArray[np.uint32]  # 32 further bits of it
    time: NDArray[np.int64]  # the record's own time
    order: NDArray[np.int64]  # the time it is merged by: monotone per partition
    partition: NDArray[np.int32]
    position: NDArray[np.int64]
    flaw: NDArray[np.uint8]  # SOUND, or it is counted in its place and no more
    label: NDArray[np.int8]  # 0, 1, or -1 where labels come on a topic of their own
    weight: NDArray[np.float32]  # of the sample, 1 unless the event says otherwise
    score: NDArray[np.float64]  # probability given by another model; 0 where we predict ourselves
    categories: NDArray[np.uint64]  # (n, c): hash of "name=value"
    numbers: NDArray[np.float64]  # (n, k): NaN is null
    words: NDArray[np.uint64]  # (n, MAX_WORDS times the fields of words): hash of "name=word"; 0 ends a list
    slices: NDArray[np.uint64]  # (n, s): hash of "name=value" of the fields that are judged by value


class Labels(NamedTuple):
    """Decoded labels of one or more partitions, n of them, as columns."""

    key: NDArray[np.uint64]
    check: NDArray[np.uint32]
    time: NDArray[np.int64]
    order: NDArray[np.int64]
    partition: NDArray[np.int32]
    position: NDArray[np.int64]
    flaw: NDArray[np.uint8]
    value: NDArray[np.int8]


class Ops(NamedTuple):
    """What the model and the monitors have to do, in merged order, m of them."""

    code: NDArray[np.uint8]  # SCORE | RESOLVE | LEARN | DROP | EXPIRE | CORRECT
    row: NDArray[np.int64]
    record: NDArray[np.int64]  # SCORE: index into Events; else -1
    label: NDArray[np.int8]  # RESOLVE, LEARN, CORRECT: 0 or 1; else -1
    at: NDArray[np.int64]  # RESOLVE by a label: the label's time; else NEVER


class Rows(NamedTuple):
    """The predictions that are still of use, as columns; index with ``row - base``."""

    key: NDArray[np.uint64]
    check: NDArray[np.uint32]
    content: NDArray[np.uint32]  # hash of time and features: tells a duplicate from a conflict
    time: NDArray[np.int64]
    status: NDArray[np.uint8]
    logit: NDArray[np.float64]  # as served at question time
    reference: NDArray[np.float32]  # logit of the frozen reference; NaN where there was none
    weight: NDArray[np.float32]  # of the sample
    said: NDArray[np.float32]  # (rows, k): what the model keeps of its answer, to be judged by it
    start: NDArray[np.int64]  # its features: cell[start : start + size]
    size: NDArray[np.uint16]
    cell: NDArray[np.uint32]  # the feature arena, as the model encodes an event
    used: NDArray[np.int64]  # (2,): places of the arena in use, of which given up
    slices: NDArray[np.uint8]  # (rows, s): by field, the place of its value among the slices


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was not used, with its place and the reason."""

    topic: str
    partition: str
    position: int
    reason: str
    payload: bytes  # at most the first 64 KiB


@dataclass(frozen=True, slots=True)
class AlertChange:
    """An alert that began to fire or was resolved."""

    rule: str
    state: str  # "firing" | "resolved"
    started_at: int  # event time at which it began to fire; with the rule, its identity
    at: int  # event time of this change
    metric: str
    window: str
    value: float
    bound: float
    severity: str
