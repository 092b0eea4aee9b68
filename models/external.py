"""Somebody else's model: its scores come with the events; riverd joins, judges and alerts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.frozen import Frozen
from stream.records import SCORE, Events, Ops, Rows

MOST_LOGIT = 36.0  # of a score of 0 or 1: as certain as float64 can say


class ExternalModel:
    """Takes the score that each event brings. It learns nothing, so it has nothing to store."""

    cells = said = slot_bytes = 0
    sha256 = hashlib.sha256(b"").hexdigest()

    def __init__(self) -> None:
        self.frozen = Frozen(0)  # of what does not learn here there is no reference

    def run(self, ops: Ops, rows: Rows, base: int, events: Events) -> None:
        """Write the scores of events into their rows, as logits."""
        _take(ops.code, ops.row, ops.record, base, events.score, rows.logit, rows.reference, rows.start, rows.size)

    def take_dirty(self) -> list[int]:
        return []

    def mark_dirty(self, blocks: Iterable[int]) -> None:
        """There are none."""

    def block(self, number: int) -> dict[str, NDArray[Any]]:
        raise LookupError(f"an external model has no block {number}")

    def small_state(self) -> dict[str, NDArray[Any]]:
        return {}

    def whole_state(self) -> dict[str, NDArray[Any]]:
        return {}

    def restore(
        self, small_state: Mapping[str, NDArray[Any]], blocks: Mapping[int, Mapping[str, NDArray[Any]]]
    ) -> None:
        """There is nothing to restore."""


@njit(cache=True)
def _take(
    code: NDArray[np.uint8],
    row: NDArray[np.int64],
    record: NDArray[np.int64],
    base: int,
    score: NDArray[np.float64],
    logit: NDArray[np.float64],
    reference: NDArray[np.float32],
    start: NDArray[np.int64],
    size: NDArray[np.uint16],
) -> None:
    for i in range(len(code)):
        if code[i] & SCORE:
            p = score[record[i]]
            if p <= 0.0:
                served = -MOST_LOGIT
            elif p >= 1.0:
                served = MOST_LOGIT
            else:
                served = min(max(math.log(p) - math.log1p(-p), -MOST_LOGIT), MOST_LOGIT)
            logit[row[i] - base] = served
            reference[row[i] - base] = np.nan
            start[row[i] - base] = 0
            size[row[i] - base] = 0
