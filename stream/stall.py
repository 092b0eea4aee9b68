"""Tells labels that have stopped from labels that are few, and lets predictions wait instead of expiring.

With ``missing = "negative"`` a broken label stream would make every prediction a false negative.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream.join_state import FIRST_ROW, FLOWING, FROZEN, FROZEN_SINCE, NEXT_ROW, OVERRIDDEN, STALLED, THAWED, Policy
from stream.records import POSITIVE, Rows
from stream.rows import RowTable

ENOUGH_POSITIVES = 20.0  # expected ones that it takes to tell that labels have stalled
STALLED_SHARE = 0.2  # below it expiry freezes,
FLOWING_SHARE = 0.5  # from here on it goes on


def judge_stall(cursor: NDArray[np.int64], table: RowTable, policy: Policy, tick: int) -> float:
    """Freeze expiry or let it go on, by the newest predictions about to expire that suffice to tell.

    Returns the share of the positives expected among them that came. Above a half all is well; under a fifth
    expiry freezes, until it is well again or another window has passed: memory is bounded, so labels are waited
    for twice as long, not for ever. A thaw by command holds until it is well again, or for a window: where too
    few are expected to tell, it stands.
    """
    rows, base = table.rows, table.base
    first, last = int(cursor[FIRST_ROW]), int(cursor[NEXT_ROW])
    # rows out of order make this approximate, and no less deterministic
    known = rows.time[first - base : last - base]
    about_to = first + int(np.searchsorted(known, tick + policy.tick_us - policy.window_us))
    expected, came = maturing(rows, base, first, about_to, ENOUGH_POSITIVES)
    share = came / expected if expected else 1.0
    if cursor[FROZEN] == THAWED:
        well = expected >= ENOUGH_POSITIVES and share >= FLOWING_SHARE
        if not well and tick - cursor[FROZEN_SINCE] <= policy.window_us:
            return share
        cursor[FROZEN] = FLOWING
    if expected < ENOUGH_POSITIVES or share >= FLOWING_SHARE:
        cursor[FROZEN] = FLOWING
    elif cursor[FROZEN] == FLOWING and share < STALLED_SHARE:
        cursor[FROZEN], cursor[FROZEN_SINCE] = STALLED, tick
    elif cursor[FROZEN] == STALLED and tick - cursor[FROZEN_SINCE] > policy.window_us:
        cursor[FROZEN] = OVERRIDDEN
    return share


@njit(cache=True)
def maturing(rows: Rows, base: int, first: int, last: int, enough: float) -> tuple[float, int]:
    """Positives that were expected, and that came, among the newest rows before ``last`` that suffice to tell."""
    expected = 0.0
    came = 0
    row = last - 1
    while row >= first and expected < enough:
        if rows.logit[row - base] == 0.0:  # of a model that had learned nothing: it expects nothing
            row -= 1
            continue
        expected += 1.0 / (1.0 + np.exp(-rows.logit[row - base]))
        if rows.status[row - base] & POSITIVE:
            came += 1
        row -= 1
    return expected, came
