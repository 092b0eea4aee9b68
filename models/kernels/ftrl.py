"""Compiled: one FTRL-Proximal over slots and values (McMahan et al., "Ad click prediction", KDD 2013, algorithm 1).

Scoring takes no fast-math flags: whoever scores an event, daemon, HTTP or notebook, gets the same bits.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from models.kernels.layout import ALPHA, BETA, BLOCK_SHIFT, L1, L2, LANES, ROOT, WEIGHT, N, Z
from models.kernels.sigmoid import sigmoid

PARAMETERS = 2  # of a slot: z and n
FLATTEST = 1e-12  # divisor of a weight: without beta, n may be zero where z is not


@njit(cache=True, error_model="numpy", inline="always")
def ftrl_logit(weights, settings, slot, value, size, scratch):
    """The logit of slots and values by today's weights; ``scratch`` then has what it is made of.

    Rows are filled up with nothings to whole ``LANES``: the compiler's vector loop then takes them all, and leaves
    none to its slow remainder.
    """
    padded = (size + LANES - 1) // LANES * LANES
    for i in range(size):
        s = slot[i]
        scratch[Z, i] = weights[s, 0]
        scratch[N, i] = weights[s, 1]
    for i in range(size, padded):
        scratch[Z, i] = 0.0
        scratch[N, i] = 0.0
        value[i] = 0.0
    alpha, beta, l1, l2 = settings[ALPHA], settings[BETA], settings[L1], settings[L2]
    for i in range(padded):
        z = scratch[Z, i]
        root = math.sqrt(scratch[N, i])
        scratch[ROOT, i] = root
        scratch[WEIGHT, i] = -math.copysign(max(abs(z) - l1, 0.0), z) / max((beta + root) / alpha + l2, FLATTEST)
    # the first entry is the bias: the base rate is never regularised
    scratch[WEIGHT, 0] = -scratch[Z, 0] / max((beta + scratch[ROOT, 0]) / alpha, FLATTEST)
    total = 0.0
    for i in range(size):
        total += scratch[WEIGHT, i] * value[i]
    return total


@njit(cache=True, error_model="numpy", inline="always")
def ftrl_learn(weights, dirty, settings, slot, value, size, logit, label, importance, scratch):
    """One step by the error of today's ``logit`` on the stored values; the scratch is as ``ftrl_logit`` left it.

    Entries that share a slot take the same weight, and are added one after another.
    """
    error = (sigmoid(logit) - label) * importance
    alpha = settings[ALPHA]
    for i in range((size + LANES - 1) // LANES * LANES):
        g = error * value[i]
        n = scratch[N, i]
        scratch[Z, i] = g - (math.sqrt(n + g * g) - scratch[ROOT, i]) / alpha * scratch[WEIGHT, i]
        scratch[N, i] = g * g
    for i in range(size):
        s = slot[i]
        weights[s, 0] += scratch[Z, i]
        weights[s, 1] += scratch[N, i]
        dirty[s >> BLOCK_SHIFT] = np.uint8(1)
