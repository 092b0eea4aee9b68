"""The walk of the calibration watch: matured rows, in their order, bet on in every group that they belong to.

Groups are numbered: the served scores, the reference's, then by field of slices one for each place. Of n groups:

- stakes, centre: as for an e-detector
- evidence float64 (n, 2): what it is now, and what it was at the last alarm
- bounds float64 (n,): where there is an alarm
- information float64 (n,): sum of p(1 - p) over the events since the last alarm
- alarms int64 (n, 2): since the last tick, and on which bet most was won at the last one
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from monitors.e_detector_kernels import BETS, bet
from monitors.slice_kernels import PLACES
from stream.records import EXPIRED, FATE_MASK, FIRST_POSITIVE, PENDING

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SERVED, REFERENCE, SLICES = 0, 1, 2  # the first groups
NEXT, SERVED_FROM, REFERENCE_FROM, PHASE = range(4)  # places in the cursor
WAITING, FITTING, BETTING = range(3)  # phases of the reference
BINS, BINS_PER_LOGIT, LOWEST_LOGIT = 512, 16.0, -16.0
POSITIVES, NEGATIVES, FITTED = range(3)  # places in what was gathered: outcomes judged, information of the fit
NOW, AT_ALARM = 0, 1  # places in the evidence


@njit(cache=True, error_model="numpy", inline="always")
def _judge(logit, positive, tolerance, odds, kind, stakes, centre, bounds, evidence, information, alarms, of):
    """One outcome for one group."""
    p = 1.0 / (1.0 + math.exp(-min(max(logit, -36.0), 36.0)))
    information[of] += p * (1.0 - p)
    evidence[of, NOW] = bet(logit, positive, tolerance[kind], odds[kind], stakes, centre, of)
    if evidence[of, NOW] >= bounds[of]:
        best = 0
        for k in range(BETS):
            if stakes[of, k] > stakes[of, best]:
                best = k
        for k in range(BETS):
            stakes[of, k] = 0.0  # it begins anew
        evidence[of, AT_ALARM] = evidence[of, NOW]
        evidence[of, NOW] = 0.0
        information[of] = 0.0
        alarms[of, 0] += 1
        alarms[of, 1] = best


@njit(cache=True, error_model="numpy")
def walk(
    status: NDArray[np.uint8],
    logit: Floats,
    reference: NDArray[np.float32],
    places: NDArray[np.uint8],
    base: int,
    next_row: int,
    missing_is_negative: bool,
    tolerance: Floats,
    odds: Floats,
    cursor: Ints,
    gathered: Floats,
    stakes: Floats,
    centre: Floats,
    bounds: Floats,
    evidence: Floats,
    information: Floats,
    alarms: Ints,
    counts: Ints,
    sums: Floats,
    line: Floats,
) -> None:
    """Go on from the cursor to the first row whose fate is open."""
    fields = places.shape[1]
    row = cursor[NEXT]
    while row < next_row:
        at = row - base
        fate = status[at] & FATE_MASK
        if fate == PENDING:
            break
        this = row
        row += 1
        if fate == EXPIRED and not missing_is_negative:
            continue
        positive = status[at] & FIRST_POSITIVE != 0
        served = logit[at]
        gathered[POSITIVES if positive else NEGATIVES] += 1.0
        _judge(served, positive, tolerance, odds, 0, stakes, centre, bounds, evidence, information, alarms, SERVED)
        if this >= cursor[SERVED_FROM]:
            for field in range(fields):
                group = SLICES + field * (PLACES + 1) + places[at, field]
                _judge(
                    served, positive, tolerance, odds, 1, stakes, centre, bounds, evidence, information, alarms, group
                )  # fmt: skip
        if this < cursor[REFERENCE_FROM] or cursor[PHASE] == WAITING:
            continue
        said = float(reference[at])
        if not math.isfinite(said):
            continue
        if cursor[PHASE] == FITTING:
            used = int(min(max((said - LOWEST_LOGIT) * BINS_PER_LOGIT, 0.0), BINS - 1.0))
            counts[used, 1 if positive else 0] += 1
            sums[used] += said
            q = 1.0 / (1.0 + math.exp(-said))
            gathered[FITTED] += q * (1.0 - q)
        else:
            mapped = line[0] + line[1] * said
            _judge(
                mapped, positive, tolerance, odds, 0, stakes, centre, bounds, evidence, information, alarms, REFERENCE
            )  # fmt: skip
    cursor[NEXT] = row


def fitted_line(counts: Ints, sums: Floats) -> Floats:
    """Intercept and slope by which the reference's logits are calibrated on these events: Platt scaling, by Newton.

    ``counts`` (BINS, 2) are negatives and positives by bin of the logit, ``sums`` (BINS,) the logits' sums. A weak
    prior keeps the slope near 1 where the scores hardly differ.
    """
    size = counts.sum(axis=1)
    used = size > 0
    x, n, positives = sums[used] / size[used], size[used].astype(np.float64), counts[used, 1]
    line = np.array([0.0, 1.0])
    design = np.stack([np.ones_like(x), x], axis=1)
    prior = np.array([0.0, 1.0])  # precision
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-np.clip(design @ line, -36.0, 36.0)))
        gradient = design.T @ (positives - n * p) - prior * (line - [0.0, 1.0])
        hessian = design.T @ (design * (n * p * (1.0 - p))[:, None]) + np.diag(prior + 1e-9)
        step = np.linalg.solve(hessian, gradient)
        line += np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-10:
            break
    return line
