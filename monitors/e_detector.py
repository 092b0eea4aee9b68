"""A change detector with a stated rate of false alarms: bets against the probabilities that were served."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitors import e_detector_kernels as kernels
from monitors.e_detector_kernels import BETS, SHIFTS, SLOPES

TOLERANCE = 0.05
FALSE_ALARM_EVERY = 1_000_000


class EDetector:
    """Says when served probabilities are no longer true, at most once in ``false_alarm_every`` events by mistake.

    Twelve gamblers bet on shifts of the logit up and down and on slopes other than 1; each begins anew at every event,
    and the mean of what they own is the evidence. True is whatever lies within the tolerance. The promise holds for
    any distribution of scores, and needs each label to be drawn independently given what came before it. After an
    alarm the detector begins anew.

    Parameters
    ----------
    false_alarm_every
        Events between false alarms, on average and at least.
    tolerance
        Distance from the true logit that is no fault.

    Examples
    --------
    >>> rng = np.random.default_rng(7)
    >>> logit = rng.normal(-4.0, 1.0, 60_000)
    >>> label = rng.random(60_000) < 1 / (1 + np.exp(-logit))
    >>> EDetector().observe(logit, label)
    []
    >>> EDetector().observe(logit - 0.7, label)[:2]
    [2416, 3370]

    References
    ----------
    Shin, Ramdas and Rinaldo 2023, "E-detectors: a nonparametric framework for sequential change detection".
    """

    def __init__(self, *, false_alarm_every: float = FALSE_ALARM_EVERY, tolerance: float = TOLERANCE) -> None:
        self.false_alarm_every = false_alarm_every
        self.tolerance = tolerance
        self._odds = kernels.shift_odds(tolerance)
        self._stakes = np.zeros((1, BETS))
        self._centre = np.zeros((1, 2))

    @property
    def evidence(self) -> float:
        """The mean of what the gamblers own; an alarm comes when it reaches ``false_alarm_every``."""
        return float(self._stakes.mean())

    def observe(self, logit: ArrayLike, label: ArrayLike) -> list[int]:
        """Take served logits and their labels (0 or 1), in order; return the places at which there was an alarm."""
        logits: NDArray[np.float64] = np.ascontiguousarray(logit, dtype=np.float64)
        alarms = np.zeros(len(logits), np.int64)
        count = kernels.scan(
            logits,
            np.ascontiguousarray(label, dtype=np.int8),
            self.tolerance,
            self._odds,
            self.false_alarm_every,
            self._stakes,
            self._centre,
            alarms,
        )
        return alarms[:count].tolist()


def bet_of(number: int) -> str:
    """What one of the gamblers bets on.

    Examples
    --------
    >>> bet_of(4), bet_of(9)
    ('log odds 0.40 above', 'slope 0.75')
    """
    if number >= len(SHIFTS):
        return f"slope {SLOPES[number - len(SHIFTS)]:.2f}"
    return f"log odds {abs(SHIFTS[number]):.2f} {'above' if SHIFTS[number] > 0 else 'below'}"
