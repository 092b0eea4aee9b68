"""What the joiner counts, remembers besides its rows, and is told to do."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
          "next_tick", "first_waiting", "next_waiting", "last", "target", "paused", "frozen",
          "frozen_since")  # fmt: skip
(NEXT_RECORD, OPS, REJECTED, FIRST_ROW, NEXT_ROW, NEXT_EXPIRY, HEAP, NEWEST, WATERMARK,
 NEXT_TICK, FIRST_WAITING, NEXT_WAITING, LAST, TARGET, PAUSED, FROZEN, FROZEN_SINCE) = range(len(CURSOR))  # fmt: skip

DONE_ALL, TICKED, FULL, TIMELESS = 0, 1, 2, 3  # why the walk stopped
MIN_MESSAGES = 100  # that it takes to judge the share of dead letters; so often the walk stops before any event time
REJECTED_DEAD, REJECTED_CONFLICT = 0, 1
FLOWING, STALLED, OVERRIDDEN, THAWED = 0, 1, 2, 3  # `cursor[FROZEN]`: whether expiry waits for labels, or no longer


class Policy(NamedTuple):
    """The join, in microseconds."""

    window_us: int
    early_us: int
    remember_us: int
    tick_us: int
    at_maturity: bool  # learn at the end of the window, not when the label comes
    missing_is_negative: bool
    labelled: bool  # events bring their labels; then an id is known for `remember_us`, or not looked at if that is 0


class Waiting(NamedTuple):
    """Labels whose events have not come, as a ring of 2^n places; index with ``place & (2^n - 1)``."""

    key: NDArray[np.uint64]
    check: NDArray[np.uint32]
    time: NDArray[np.int64]
    deadline: NDArray[np.int64]
    value: NDArray[np.int8]  # -1: matched since
