"""Compiled: an event's features as slots and raw values, before anything that a model has learned touches them."""

from __future__ import annotations

import numpy as np
from numba import njit

from models.kernels.encoding import is_null, mix
from models.plan import CATEGORY, NUMBER, WORDS
from stream.records import MAX_WORDS


@njit(cache=True, error_model="numpy", nogil=True)
def raw_rows(entries, categories, numbers, words, records, bias, pairs, ends):
    """Write slot and float32 value of each feature of the events ``records`` into ``pairs``, one event behind another.

    ``ends`` gets the end of each event in ``pairs``.
    """
    mask = np.uint64(bias - 1)
    real = pairs.view(np.float32)
    end = np.int64(0)
    for r in range(len(records)):
        at = records[r]
        for i in range(len(entries)):
            kind = entries[i, 0]
            column = np.int64(entries[i, 1])
            if kind == WORDS:
                for word in range(column, column + MAX_WORDS):
                    if words[at, word] == 0:
                        break
                    pairs[end, 0] = np.uint32(words[at, word] & mask)
                    real[end, 1] = 1.0
                    end += 1
                continue
            if kind == NUMBER:
                x = numbers[at, column]
                null = is_null(x)
                hashed = entries[i, 4] if null else entries[i, 3]
                real[end, 1] = 1.0 if null else x
                if real[end, 1] == 0.0:
                    real[end, 1] = 0.0  # -0.0 is equal to it and has other bits
            else:
                hashed = categories[at, column]
                if kind != CATEGORY:
                    hashed = mix(hashed, categories[at, np.int64(entries[i, 2])])
                real[end, 1] = 1.0
            pairs[end, 0] = np.uint32(hashed & mask)
            end += 1
        ends[r] = end
