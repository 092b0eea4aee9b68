"""How many of the scores that clients served by themselves, and logged, are not those that we find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

AGREED, ROW_DIFFERS, SCORE_DIFFERS, UNKNOWN_VERSION, UNREADABLE = range(5)  # what became of a served score
RESULTS = ("agreed", "row_differs", "score_differs", "unknown_version", "unreadable")
COMPARED = 3  # so many of them, the first, say whether there is skew

WINDOW = 1_000  # of the last scores that could be compared
ENOUGH = 5  # of them that differ are skew: an honest client has none
ROUNDED = 1e-7  # of a probability: what float32 loses near 1


def differs(served: NDArray[np.float64], logit: NDArray[np.float64], *, tolerance: float) -> NDArray[np.bool_]:
    """Whether served probabilities are others than those of our logits, shape (n,) each.

    They are when they differ by more than ``tolerance`` in logit, and by more than float32 rounds a probability.

    >>> differs(np.array([0.5, 0.501, 0.99999994]), np.array([0.0, 0.0, 16.0]), tolerance=0.001).tolist()
    [False, True, False]
    """
    with np.errstate(divide="ignore"):  # of 0 and 1, of which the logit is infinite
        apart = np.abs(np.log(served) - np.log1p(-served) - logit) > tolerance
    own = 1.0 / (1.0 + np.exp(-np.clip(logit, -700.0, 700.0)))
    return apart & (np.abs(served - own) > ROUNDED)


class SkewWindow:
    """The last ``WINDOW`` served scores that could be compared, no older than ``age_us``, and counts of all.

    Parameters
    ----------
    age_us
        Event time after which a difference is forgotten, so that a client that has gone holds no alert up.

    Attributes
    ----------
    counts : int64 array, shape (5,)
        All scores ever, by what became of them, in the order of ``RESULTS``.
    recent : int
        How many in the window differ.

    Examples
    --------
    >>> window = SkewWindow(age_us=100)
    >>> window.observe(np.array([AGREED, ROW_DIFFERS, UNKNOWN_VERSION, SCORE_DIFFERS]), np.array([1, 2, 3, 4])).tolist()
    [0, 1, 1, 2]
    >>> window.forget(103)
    >>> window.recent
    1
    """

    def __init__(self, *, age_us: int) -> None:
        self._age_us = age_us
        self.counts: NDArray[np.int64] = np.zeros(len(RESULTS), np.int64)
        self._differs: NDArray[np.uint8] = np.zeros(WINDOW, np.uint8)  # of the last ones, the oldest first
        self._at: NDArray[np.int64] = np.zeros(WINDOW, np.int64)

    @property
    def recent(self) -> int:
        return int(self._differs.sum())

    def observe(self, results: NDArray[np.integer[Any]], at: NDArray[np.int64]) -> NDArray[np.int64]:
        """Take results in merged order, with event times, shape (n,) each; return ``recent`` after each, (n,)."""
        self.counts += np.bincount(results, minlength=len(RESULTS))
        compared = results < COMPARED
        different = results[compared] != AGREED
        whole = np.concatenate([self._differs, different.astype(np.uint8)])
        sums = np.concatenate([[0], np.cumsum(whole, dtype=np.int64)])
        recent = sums[WINDOW:] - sums[: len(sums) - WINDOW]  # before the first, and after each
        self._differs = whole[len(whole) - WINDOW :]
        self._at = np.concatenate([self._at, at[compared]])[-WINDOW:]
        return recent[np.cumsum(compared)]

    def forget(self, now_us: int) -> None:
        """Take out what is too old at ``now_us``."""
        self._differs[self._at <= now_us - self._age_us] = 0

    def state(self) -> dict[str, NDArray[np.generic]]:
        return {"counts": self.counts.copy(), "differs": self._differs.copy(), "at": self._at.copy()}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from what ``state`` gave."""
        self.counts[:] = state["counts"]
        self._differs[:] = state["differs"]
        self._at[:] = state["at"]
