"""The model as the daemon runs it: over columns and the row table, with blocks for checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.frozen import Frozen
from models.kernels import walk
from models.kernels.layout import VALUE, new_scratch
from models.kernels.published import published_logits
from models.learner import new_state_of, said_of
from models.plan import make_plan
from models.published import Published, publish
from models.row_hash import row_hashes
from models.state import ASKED, BLOCK_SLOTS, SAMPLE, SMALL, sha256
from stream.records import Events, Ops, Rows


class StreamModel:
    """Logistic regression over a fixed schema. Equal, to the bit, to ``LogisticRegression`` on the same events.

    Parameters
    ----------
    settings
        From ``make_settings``.
    bits
        There are 2^bits slots.
    categories, numbers, words
        Names of the columns of ``Events``, in their order.
    crosses
        Pairs of categories.
    """

    def __init__(
        self,
        settings: NDArray[np.float64],
        *,
        bits: int,
        categories: Sequence[str],
        numbers: Sequence[str],
        crosses: Sequence[Sequence[str]],
        words: Sequence[str] = (),
    ) -> None:
        self._settings = settings
        self._bias = 1 << bits
        statistics = {name: row for row, name in enumerate(sorted(numbers))}
        self._plan = make_plan(
            categories=categories, numbers=numbers, crosses=crosses, statistics=statistics, words=words
        )
        self._state = new_state_of(settings, bits=bits, numbers=sorted(numbers))
        self.frozen = Frozen(self._bias + 1)
        self._slots, self._scratch = np.empty(self._plan.width, np.int64), new_scratch(self._plan.width)

    @property
    def cells(self) -> int:
        """What a row keeps of one event at most, in cells of 32 bits."""
        return self._plan.cells

    @property
    def said(self) -> int:
        """How many numbers a row keeps of what led to its answer."""
        return said_of(self._settings)

    @property
    def slot_bytes(self) -> int:
        """What a slot takes of memory."""
        return self._state.weights[:1].nbytes

    @property
    def sha256(self) -> str:
        """Digest of all that was learned."""
        return sha256(self._state)

    def run(self, ops: Ops, rows: Rows, base: int, events: Events) -> None:
        """Carry out the ops in order: score events into their rows, learn from rows, drop them."""
        walk.walk(
            self._plan.entries,
            events,
            ops,
            rows,
            base,
            self._state,
            self._bias,
            self._settings,
            self._slots,
            self._scratch,
            self.frozen.weights,
        )

    def freeze(self) -> None:
        """Keep what is said now as the reference, by which every event from here on is scored too."""
        self.frozen.freeze(self._state, self._settings)

    def row_hashes(self, events: Events, records: NDArray[np.int64]) -> NDArray[np.uint64]:
        """The row hashes of the events ``records`` (n,); shape (n,)."""
        return row_hashes(self._plan, events.categories, events.numbers, events.words, records, self._bias)

    def publish(self, whole_state: Mapping[str, NDArray[Any]]) -> Published:
        """A state that ``whole_state`` gave, to be asked by ``logits_by``; the model stays as it is."""
        return publish(whole_state, self._settings, slots=self._bias + 1)

    def logits_by(self, published: Published, events: Events, records: NDArray[np.int64]) -> NDArray[np.float64]:
        """What a published state says of the events ``records`` (n,), whatever was learned since; shape (n,)."""
        logits = np.empty(len(records))
        published_logits(
            self._plan.entries,
            events.categories,
            events.numbers,
            events.words,
            records,
            published.statistics,
            published.sample,
            published.sampled,
            published.asked,
            self._bias,
            published.bound,
            published.weights,
            np.empty(self._plan.cells, np.uint32),
            self._slots,
            self._scratch[VALUE],
            logits,
        )
        return logits

    def take_dirty(self) -> list[int]:
        """Blocks of weights that changed since the last call; they count as clean from now on."""
        dirty = np.flatnonzero(self._state.dirty).tolist()
        self._state.dirty[:] = 0
        return dirty

    def mark_dirty(self, blocks: Iterable[int]) -> None:
        """These blocks did not reach the store after all."""
        self._state.dirty[list(blocks)] = 1

    def block(self, number: int) -> dict[str, NDArray[Any]]:
        """A copy of one block of weights: the slots in use, k of them, and what is learned of each, shape (k, p)."""
        weights = self._state.weights[number * BLOCK_SLOTS : (number + 1) * BLOCK_SLOTS]
        used = np.flatnonzero(weights.any(axis=1))
        return {"slots": used.astype(np.uint16), "weights": weights[used]}

    def small_state(self) -> dict[str, NDArray[np.generic]]:
        """A copy of all that is learned besides the weights."""
        return {name: getattr(self._state, name).copy() for name in SMALL}

    def whole_state(self) -> dict[str, NDArray[np.generic]]:
        """A copy of all that is learned, of weights those in use."""
        used = np.flatnonzero(self._state.weights.any(axis=1))
        return {"slots": used, "weights": self._state.weights[used], **self.small_state()}

    def misfit(self, whole_state: Mapping[str, NDArray[Any]]) -> str | None:
        """Why these arrays, of whatever origin, are no whole state of a model like this one; None: they are."""
        state = self._state
        if whole_state.keys() != {"slots", "weights", *SMALL}:
            return f"its arrays are {', '.join(sorted(whole_state))}"
        used = whole_state["slots"]
        if used.ndim != 1 or used.dtype != np.int64 or (np.diff(used) <= 0).any():
            return "slots are not whole numbers that rise"
        if len(used) and (used[0] < 0 or used[-1] >= len(state.weights)):
            return f"slots lie outside 0 to {len(state.weights) - 1}"
        for name in ("weights", *SMALL):
            array, own = whole_state[name], getattr(state, name)
            shape = (len(used), own.shape[1]) if name == "weights" else own.shape
            if array.shape != shape or array.dtype != own.dtype:
                return f"{name} is {array.dtype} {array.shape} instead of {own.dtype} {shape}"
            if np.isnan(array).any():
                return f"{name} has values that are no numbers"
        if not np.isfinite(whole_state["weights"]).all():
            return "weights has values that are not finite"
        if ((whole_state["sampled"] < 0) | (whole_state["sampled"] > SAMPLE)).any():
            return f"sampled lies outside 0 to {SAMPLE}"
        return None

    def take_over(self, whole_state: Mapping[str, NDArray[Any]], *, next_row: int) -> None:
        """Become the model of which ``whole_state`` was copied, to be asked about row ``next_row`` next."""
        state = self._state
        for name in SMALL:
            getattr(state, name)[:] = whole_state[name]
        state.weights[:] = 0.0
        state.weights[whole_state["slots"]] = whole_state["weights"]
        state.ahead[0] = next_row - 1 - state.counters[ASKED]
        state.dirty[:] = 1

    def restore(
        self, small_state: Mapping[str, NDArray[np.generic]], blocks: Mapping[int, Mapping[str, NDArray[Any]]]
    ) -> None:
        """Go on from what ``small_state`` and ``block`` gave; a block never written is zero."""
        for name in SMALL:
            getattr(self._state, name)[:] = small_state[name]
        self._state.weights[:] = 0.0
        for number, block in blocks.items():
            self._state.weights[number * BLOCK_SLOTS + block["slots"].astype(np.int64)] = block["weights"]
