"""What is kept of judged predictions: a histogram of their scores, from which every figure of quality follows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitors.kernels import BINS, collect


@dataclass(frozen=True)
class Tally:
    """A set of served predictions, as far as they have been judged.

    Bins of equal width, ``BINS`` of them or fewer, share the logits from -16 to 16; the outer two also hold what
    lies beyond. Adding up the tallies of two sets gives the tally of both, but float sums depend on the order.
    """

    events: int  # predictions served
    expired: int  # of which the label did not come in time
    counts: NDArray[np.int64]  # (bins, 2): labelled events, negative and positive
    sums: NDArray[np.float64]  # (bins, 2): their probabilities, their logloss in nats

    @cached_property
    def labelled(self) -> int:
        return int(self.counts.sum())

    @cached_property
    def positives(self) -> int:
        return int(self.counts[:, 1].sum())


def tally(*, logit: ArrayLike, label: ArrayLike) -> Tally:
    """Judge finite logits by their labels (0 or 1), shape (n,) each, one by one in order.

    Raises
    ------
    ValueError
        If the two differ in shape.

    Examples
    --------
    >>> judged = tally(logit=[-2.0, -1.0, 0.5, 2.0], label=[0, 1, 0, 1])
    >>> judged.labelled, round(float(judged.sums[:, 1].sum()), 6)
    (4, 2.541195)
    """
    logits = np.ascontiguousarray(logit, dtype=np.float64)
    labels = np.ascontiguousarray(label, dtype=np.int8)
    if logits.ndim != 1 or logits.shape != labels.shape:
        raise ValueError(f"logits of shape {logits.shape} and labels of shape {labels.shape}: both must be (n,)")
    counts = np.zeros((BINS, 2), dtype=np.int64)
    sums = np.zeros((BINS, 2), dtype=np.float64)
    collect(logits, labels, counts, sums)
    return Tally(len(logits), 0, counts, sums)


NOTHING = tally(logit=[], label=[])
