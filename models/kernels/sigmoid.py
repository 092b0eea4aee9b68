"""Compiled: from a logit to a probability."""

from __future__ import annotations

import math

from numba import njit


@njit(cache=True, error_model="numpy")
def sigmoid(logit):
    """1 / (1 + e^-logit), without overflow."""
    if logit >= 0.0:
        return 1.0 / (1.0 + math.exp(-logit))
    e = math.exp(logit)
    return e / (1.0 + e)
