"""How much each feature weighs in the model now, so that drift of one that matters is told first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.explanation import linear_weights
from models.external import ExternalModel
from models.kernels.encoding import HAT_STRIDE, HATS
from models.plan import make_plan
from models.state import BLOCK_SLOTS, State
from models.stream_model import StreamModel
from riverd.assembly import Parts, learner_settings
from riverd.config import Config
from stream.merge import BEGINNING

Slots = NDArray[np.int64]

RANK_HASH = 5  # in a row of the plan: of the name of a number's hats
NAME_HASH = 3


class FeatureWeights:
    """Mean absolute weights by feature, in log odds.

    Of a category it is the mean over the events of the longest window of the weights of their values; of a number the
    weight of a standard deviation, and the mean distance of the steps of its curve from their middle. Crosses are
    features of their own, and are not counted with their fields. An external model has no weights.
    """

    def __init__(self, config: Config, parts: Parts) -> None:
        self._config = config
        self._parts = parts
        self._settings = learner_settings(config)

    def now(self) -> dict[str, float]:
        """By field; nothing before the first event."""
        parts = self._parts
        if isinstance(parts.model, ExternalModel) or parts.joiner.watermark == BEGINNING:
            return {}
        return self._of_categories(parts.model) | self._of_numbers(parts.model)

    def _of_categories(self, model: StreamModel) -> dict[str, float]:
        parts, mask = self._parts, np.uint64((1 << self._config.model.bits) - 1)
        values = parts.drift.values("provisional", parts.drift.grid.longest_us, parts.joiner.watermark + 1)
        slots = [(hashes & mask).astype(np.int64) for hashes, _ in values.values()]
        weights = _split(self._look_up(model, slots, hats=False), slots)
        return {
            name: float(np.average(np.abs(own), weights=events))
            for (name, (_, events)), own in zip(values.items(), weights, strict=True)
            if len(own)
        }

    def _of_numbers(self, model: StreamModel) -> dict[str, float]:
        names = self._config.features.numbers
        plan = make_plan(categories=[], numbers=names, crosses=[], statistics=dict.fromkeys(names, 0))
        mask, stride = np.uint64((1 << self._config.model.bits) - 1), np.uint64(HAT_STRIDE)
        of_names = plan.entries[:, NAME_HASH] & mask
        steps = np.arange(1, HATS + 2, dtype=np.uint64) * stride
        of_hats = (plan.entries[:, RANK_HASH, None] + steps) & mask
        plain = self._look_up(model, [of_names.astype(np.int64)], hats=False)
        hats = self._look_up(model, [of_hats.astype(np.int64).ravel()], hats=True).reshape(of_hats.shape)
        curve = np.abs(hats - hats.mean(axis=1, keepdims=True)).mean(axis=1)
        return dict(zip(plan.names, (np.abs(plain) + curve).tolist(), strict=True))

    def _look_up(self, model: StreamModel, slots: Sequence[Slots], *, hats: bool) -> NDArray[np.float64]:
        nothing: Slots = np.zeros(0, np.int64)
        wanted = np.concatenate([nothing, *slots])
        if not len(wanted):
            return np.zeros(0)
        state = _state_of_slots(model, wanted)
        return linear_weights(state, self._settings, np.arange(len(wanted)), hats=hats)


def _state_of_slots(model: StreamModel, slots: Slots) -> State:
    """What is learned of these slots alone, in this order, and no bias: the whole would be copied otherwise."""
    small = model.small_state()
    weights: NDArray[np.float64] | None = None
    for number in np.unique(slots // BLOCK_SLOTS).tolist():
        block = model.block(number)
        if weights is None:
            weights = np.zeros((len(slots) + 1, block["weights"].shape[1]))
        of_block = np.flatnonzero(slots // BLOCK_SLOTS == number)
        within = slots[of_block] % BLOCK_SLOTS
        used, at = np.unique(within, return_inverse=True)
        _, mine, theirs = np.intersect1d(used, block["slots"], assume_unique=True, return_indices=True)
        found = np.zeros((len(used), weights.shape[1]))
        found[mine] = block["weights"][theirs]
        weights[of_block] = found[at]
    assert weights is not None  # somebody asks for a slot
    return State(weights=weights, dirty=np.zeros(0, np.uint8), **small)  # pyrefly: ignore


def _split(values: NDArray[np.float64], like: Sequence[Slots]) -> list[NDArray[np.float64]]:
    ends = np.cumsum([len(slots) for slots in like])
    return np.split(values, ends[:-1]) if len(like) else []
