"""The model as the daemon runs it: over columns and the row table, with blocks for checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models import kernels
from models.plan import make_plan
from models.state import BLOCK_SLOTS, new_state, sha256
from stream.records import Events, Ops, Rows


class StreamModel:
    """Logistic regression over a fixed schema. Equal, to the bit, to ``LogisticRegression`` on the same events.

    Parameters
    ----------
    settings
        The constants of FTRL-Proximal.
    bits
        There are 2^bits slots.
    categories, numbers, words
        Names of the columns of ``Events``, in their order.
    crosses
        Pairs of categories.
    """

    def __init__(
        self,
        settings: kernels.Settings,
        *,
        bits: int,
        categories: Sequence[str],
        numbers: Sequence[str],
        crosses: Sequence[Sequence[str]],
        words: Sequence[str] = (),
    ) -> None:
        # floats: integers would compile every kernel once more
        self._settings = kernels.Settings(*map(float, settings))
        self._bias = 1 << bits
        statistics = {name: row for row, name in enumerate(sorted(numbers))}
        self._plan = make_plan(
            categories=categories, numbers=numbers, crosses=crosses, statistics=statistics, words=words
        )
        self._state = new_state(bits=bits, numbers=len(numbers))
        self._scratch = kernels.new_scratch(self._plan.width)

    @property
    def width(self) -> int:
        """Features of one event at most, the bias included."""
        return self._plan.width

    @property
    def sha256(self) -> str:
        """Digest of all that was learned."""
        return sha256(self._state)

    def run(self, ops: Ops, rows: Rows, base: int, events: Events) -> None:
        """Carry out the ops in order: score events into their rows, learn from rows, drop them."""
        kernels.walk(
            self._plan.entries, events, ops, rows, base, self._state, self._bias, self._settings, self._scratch
        )

    def take_dirty(self) -> list[int]:
        """Blocks of weights that changed since the last call; they count as clean from now on."""
        dirty = np.flatnonzero(self._state.dirty).tolist()
        self._state.dirty[:] = 0
        return dirty

    def mark_dirty(self, blocks: Iterable[int]) -> None:
        """These blocks did not reach the store after all."""
        self._state.dirty[list(blocks)] = 1

    def block(self, number: int) -> NDArray[np.float64]:
        """A copy of one block of weights, shape (slots, 2)."""
        return self._state.weights[number * BLOCK_SLOTS : (number + 1) * BLOCK_SLOTS].copy()

    def small_state(self) -> dict[str, NDArray[np.generic]]:
        """A copy of all that is learned besides the weights."""
        return {"statistics": self._state.statistics.copy(), "counters": self._state.counters.copy()}

    def whole_state(self) -> dict[str, NDArray[np.generic]]:
        """A copy of all that is learned."""
        return {"weights": self._state.weights.copy(), **self.small_state()}

    def restore(
        self, small_state: Mapping[str, NDArray[np.generic]], blocks: Mapping[int, NDArray[np.float64]]
    ) -> None:
        """Go on from what ``small_state`` and ``block`` gave; a block never written is zero."""
        self._state.weights[:] = 0.0
        self._state.statistics[:] = small_state["statistics"]
        self._state.counters[:] = small_state["counters"]
        for number, block in blocks.items():
            self._state.weights[number * BLOCK_SLOTS : number * BLOCK_SLOTS + len(block)] = block
