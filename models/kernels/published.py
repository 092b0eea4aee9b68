"""Compiled: what a published state says of events, none of which moves it."""

from __future__ import annotations

import numpy as np
from numba import njit

from models.kernels.encoding import encode, expand
from models.kernels.walk import frozen_logit


@njit(cache=True, error_model="numpy", nogil=True)
def published_logits(
    entries,
    categories,
    numbers,
    words,
    records,
    statistics,
    sample,
    sampled,
    asked,
    bias,
    bound,
    frozen,
    cell,
    slot,
    value,
    logits,
):
    """Write the logits of the events ``records``, of which each is encoded by the state's own statistics."""
    real = cell.view(np.float32)
    start = np.int64(0)
    for r in range(len(records)):
        encode(
            entries,
            categories,
            numbers,
            words,
            records[r],
            statistics,
            sample,
            sampled,
            asked,
            bias,
            cell,
            real,
            start,
        )
        plain, size = expand(entries, bias, cell, real, start, slot, value)
        logit = frozen_logit(frozen, slot, value, plain, size)
        logits[r] = min(max(logit, -bound), bound)
