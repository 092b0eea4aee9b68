"""The walk of the gate: matured rows, in their order, each a bet for the challenger and one against it.

- cursor int64 (4,): the next row, events judged, events whose difference was clipped, and the verdict
- stakes float64 (2, BETS): what each gambler owns who bets for the challenger, and against it; 1 in all at first
- sums float64 (7,): of the loss differences and their squares, as they are and clipped; then the sum of the batch that
  is not full yet, of those that are, and of their squares
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream.records import EXPIRED, FATE_MASK, FIRST_POSITIVE, PENDING

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FRACTIONS = 0.95 * 0.5 ** np.arange(8)  # of what a gambler owns, lost where the whole clip is lost
BETS = len(FRACTIONS)
MOST_LOGIT = 36.0  # beyond it a probability is 1 in float64: no event costs more nats
HELD_BACK = 3.0  # standard errors by which the mean that is not clipped must be above 0
BATCH = 64  # judged events in a row, whose sum shows how much they depend on each other
LEAST_BATCHES = 8  # before them nothing can be said of that
WORST = MOST_LOGIT  # nats that one more event may cost: the sum that is not clipped must be above it
NEXT, EVENTS, CLIPPED, VERDICT = range(4)  # places in the cursor
OPEN, BETTER, WORSE, SPENT = range(4)  # verdicts
FOR, AGAINST = 0, 1  # rows of the stakes
SUM, SQUARES, CLIPPED_SUM, CLIPPED_SQUARES, BATCH_SUM, BATCHED, BATCH_SQUARES = range(7)  # places in the sums


@njit(cache=True, error_model="numpy", inline="always")
def _loss(logit, positive):
    """Log loss in nats."""
    logit = min(max(logit, -MOST_LOGIT), MOST_LOGIT)
    against = -logit if positive else logit
    return max(against, 0.0) + math.log1p(math.exp(-abs(against)))


@njit(cache=True, error_model="numpy", inline="always")
def _is_better(events, sums):
    """Without the clip it is clearly better, too, and would stay so were the next event as bad as can be."""
    total, batches = sums[SUM], events // BATCH
    if batches < LEAST_BATCHES or total < WORST:
        return False
    spread = sums[BATCH_SQUARES] - sums[BATCHED] * sums[BATCHED] / batches
    variance = spread / (batches - 1) * events / BATCH  # of the total
    return total * total >= HELD_BACK * HELD_BACK * variance


@njit(cache=True, error_model="numpy")
def walk(
    status: NDArray[np.uint8],
    served: Floats,
    challenger: Floats,
    base: int,
    next_row: int,
    missing_is_negative: bool,
    clip: float,
    bound: float,
    max_events: int,
    cursor: Ints,
    stakes: Floats,
    sums: Floats,
) -> None:
    """Go on from the cursor to the first row whose fate is open, or to the verdict."""
    row = cursor[NEXT]
    while row < next_row and cursor[VERDICT] == OPEN:
        at = row - base
        fate = status[at] & FATE_MASK
        if fate == PENDING:
            break
        row += 1
        if (fate == EXPIRED and not missing_is_negative) or math.isnan(served[at]) or math.isnan(challenger[at]):
            continue
        positive = status[at] & FIRST_POSITIVE != 0
        difference = _loss(served[at], positive) - _loss(challenger[at], positive)
        clipped = min(max(difference, -clip), clip)
        cursor[EVENTS] += 1
        cursor[CLIPPED] += 1 if clipped != difference else 0
        sums[SUM] += difference
        sums[SQUARES] += difference * difference
        sums[CLIPPED_SUM] += clipped
        sums[CLIPPED_SQUARES] += clipped * clipped
        sums[BATCH_SUM] += difference
        if cursor[EVENTS] % BATCH == 0:
            sums[BATCHED] += sums[BATCH_SUM]
            sums[BATCH_SQUARES] += sums[BATCH_SUM] * sums[BATCH_SUM]
            sums[BATCH_SUM] = 0.0
        won = clipped / clip
        owned, owned_against = 0.0, 0.0
        for k in range(BETS):
            stakes[FOR, k] *= 1.0 + FRACTIONS[k] * won
            stakes[AGAINST, k] *= 1.0 - FRACTIONS[k] * won
            owned += stakes[FOR, k]
            owned_against += stakes[AGAINST, k]
        if owned >= bound and _is_better(cursor[EVENTS], sums):
            cursor[VERDICT] = BETTER
        elif owned_against >= bound:
            cursor[VERDICT] = WORSE
        elif cursor[EVENTS] >= max_events:
            cursor[VERDICT] = SPENT
    cursor[NEXT] = row
