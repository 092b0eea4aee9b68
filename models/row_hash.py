"""The row hash: 64 bits by which whoever scored an event shows from which features it did.

It is the XXH3-64, seed 0, of the event's features in the order of their names (by code points), eight bytes each:

- the slot, uint32: the low ``bits`` of the XXH3-64 of the UTF-8 of ``name=value`` for a category, a bucket or a word,
  of ``name`` for a number, of ``name=null`` for what is null; a cross ``a*b`` mixes the hashes of its two categories;
- the value, float32: the number as it came, with 0 for -0, and 1 for all else, a null included.

Both are little-endian. Words stand in their own order, the first 64 of them. A number is taken *before* it is
standardised, and the curve that it gets besides is left out, as is the bias. So the hash depends on the event and on
the features of the config alone, not on what was learned: it is the same under every version of a model. A number
beyond 1e15 is null, here as in learning. Two numbers that differ by less than float32 can tell are one.
"""

from __future__ import annotations

import sys

import numpy as np
import xxhash
from numpy.typing import NDArray

from models.kernels.raw_rows import raw_rows
from models.plan import Plan


def row_hashes(
    plan: Plan,
    categories: NDArray[np.uint64],
    numbers: NDArray[np.float64],
    words: NDArray[np.uint64],
    records: NDArray[np.int64],
    bias: int,
) -> NDArray[np.uint64]:
    """The row hashes of the events ``records`` (n,), which are rows of the columns; shape (n,).

    There are ``bias`` slots besides that of the bias itself.
    """
    pairs = np.empty((len(records) * plan.width, 2), np.uint32)
    ends = np.empty(len(records), np.int64)
    raw_rows(plan.entries, categories, numbers, words, records, bias, pairs, ends)
    if sys.byteorder == "big":
        pairs = pairs.byteswap()
    data, hashes, start = pairs[: ends[-1] if len(ends) else 0].tobytes(), np.empty(len(records), np.uint64), 0
    for i, end in enumerate((8 * ends).tolist()):
        hashes[i] = xxhash.xxh3_64_intdigest(data[start:end])
        start = end
    return hashes
