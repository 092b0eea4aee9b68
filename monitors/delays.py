"""How long labels take: quantiles from a histogram with fixed edges, eight to every doubling of the delay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monitors.traffic_kernels import DELAY_BINS, FIRST_OCTAVE, PER_OCTAVE
from stream.records import MICROSECONDS


def delay_edges_s() -> NDArray[np.float64]:
    """The upper edges of the bins in seconds, shape (DELAY_BINS,); the first bin begins at 0.

    Examples
    --------
    >>> [round(float(edge), 6) for edge in delay_edges_s()[[0, 1, 8, 16]]]
    [0.001024, 0.001152, 0.002048, 0.004096]
    """
    octave, within = np.divmod(np.arange(DELAY_BINS), PER_OCTAVE)
    return 2.0 ** (FIRST_OCTAVE + octave) * (1 + within / PER_OCTAVE) / MICROSECONDS


def delay_quantile_s(delays: NDArray[np.int64], quantile: float) -> float | None:
    """The delay in seconds that a share ``quantile`` of the labels did not exceed; None without labels.

    ``delays`` is a histogram of shape (DELAY_BINS,). Within a bin delays are taken as evenly spread, so the answer
    is right to an eighth, mostly much closer. A label that came before its event took no time.

    Examples
    --------
    >>> delays = np.zeros(DELAY_BINS, dtype=np.int64)
    >>> delays[[0, 100]] = 1, 3
    >>> round(delay_quantile_s(delays, 0.5), 2)
    5.94
    """
    total = int(delays.sum())
    if not total:
        return None
    reached = np.cumsum(delays)
    wanted = quantile * total
    place = int(np.searchsorted(reached, wanted))
    upper = delay_edges_s()
    low = float(upper[place - 1]) if place else 0.0
    before = int(reached[place]) - int(delays[place])
    return low + (float(upper[place]) - low) * (wanted - before) / int(delays[place])
