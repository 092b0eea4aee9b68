"""A quick logistic model of categories: one weight for each value of each, fitted to some of the rows.

Good enough to ask of what is left whether another category explains it; riverd's own model learns in order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]  # (rows,): the value of a category, from 0
Logits = NDArray[np.float64]  # (rows,)
Mask = NDArray[np.bool_]  # (rows,)

SWEEPS = 8  # over all categories
STEPS = 5  # of one category alone
LONGEST_STEP = 1.0  # of a weight
PRIOR = 1.0  # weights are normal about 0 with this precision: a rare value stays near it


def additive(categories: Sequence[Codes], label: Mask, fitted: Mask) -> Logits:
    """Logits of all rows, by weights that were fitted to some: Newton steps of one category after another."""
    rate = (label[fitted].sum() + 0.5) / (np.count_nonzero(fitted) + 1)
    logits = np.full(len(label), np.log(rate / (1 - rate)))
    weights = [np.zeros(int(codes.max()) + 1) for codes in categories]
    for _ in range(SWEEPS):
        for codes, weight in zip(categories, weights, strict=True):
            logits += _step(logits, codes, weight, label, fitted)[codes]
    return logits


def refined(logits: Logits, codes: Codes, label: Mask, fitted: Mask) -> Logits:
    """The logits with one more category, the others left as they are."""
    weight = np.zeros(int(codes.max()) + 1)
    for _ in range(STEPS):
        logits = logits + _step(logits, codes, weight, label, fitted)[codes]
    return logits


def _step(logits: Logits, codes: Codes, weight: NDArray[np.float64], label: Mask, fitted: Mask) -> NDArray[np.float64]:
    """Move the weights of a category towards their optimum, and return by how much."""
    slope, curvature = _sums(logits[fitted], codes[fitted], label[fitted], len(weight))
    step = np.clip((slope - PRIOR * weight) / (curvature + PRIOR), -LONGEST_STEP, LONGEST_STEP)
    weight += step
    return step


def evidence(logits: Logits, codes: Codes, label: Mask) -> float:
    """How much a category could add to the logits, by the score test: about 0 where it tells nothing new."""
    slope, curvature = _sums(logits, codes, label, int(codes.max()) + 1)
    return float(np.sum((slope**2 - curvature) / (curvature + PRIOR)))


def _sums(logits: Logits, codes: Codes, label: Mask, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    p = 1 / (1 + np.exp(-logits))
    slope: NDArray[np.float64] = np.bincount(codes, label - p, size).astype(np.float64)
    return slope, np.bincount(codes, p * (1 - p), size).astype(np.float64)


def log_loss(logits: Logits, label: Mask) -> NDArray[np.float64]:
    """Of each row, natural.

    >>> log_loss(np.array([0.0, 800.0]), np.array([True, False])).round(4).tolist()
    [0.6931, 800.0]
    """
    return np.logaddexp(0, logits) - label * logits
