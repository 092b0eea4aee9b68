"""How long labels take: quantiles from a histogram with fixed edges, eight to every doubling of the delay."""

from __future__ import annotations

from collections.abc import Sequence

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


_UPPER_S = delay_edges_s()


def delay_quantiles_s(delays: NDArray[np.int64], quantiles: Sequence[float]) -> list[float | None]:
    """The delays in seconds that these shares of the labels did not exceed; None without labels.

    ``delays`` is a histogram of shape (DELAY_BINS,). Within a bin delays are taken as evenly spread, so the answer
    is right to an eighth, mostly much closer. A label that came before its event took no time.

    Examples
    --------
    >>> delays = np.zeros(DELAY_BINS, dtype=np.int64)
    >>> delays[[0, 100]] = 1, 3
    >>> [round(delay, 2) for delay in delay_quantiles_s(delays, (0.5, 0.9))]
    [5.94, 6.22]
    """
    reached = np.cumsum(delays)
    total = int(reached[-1])
    if not total:
        return [None] * len(quantiles)
    answers: list[float | None] = []
    for quantile in quantiles:
        place = int(np.searchsorted(reached, quantile * total))
        low = float(_UPPER_S[place - 1]) if place else 0.0
        within = (quantile * total - int(reached[place]) + int(delays[place])) / int(delays[place])
        answers.append(low + (float(_UPPER_S[place]) - low) * within)
    return answers
