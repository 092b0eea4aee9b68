"""A challenger in shadow: it is asked about every event and learns every label, and serves nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.stream_model import StreamModel
from monitors.gate import Gate, GateConfig
from riverd.assembly import model_of
from riverd.config import Config
from stream.records import Events, Ops
from stream.rows import RowTable


@dataclass(frozen=True, slots=True)
class Challenger:
    """The model, and the gate that judges it by what it would have answered."""

    model: StreamModel
    gate: Gate

    def run(self, ops: Ops, table: RowTable, events: Events) -> None:
        """Carry out the ops in the challenger's columns, once the champion has in its own."""
        assert table.shadow is not None
        self.model.run(ops, table.shadow, table.base, events)

    def judge(self, table: RowTable) -> None:
        """Go on to the first row whose fate is open."""
        assert table.shadow is not None
        self.gate.observe(table.rows, table.shadow.logit, table.base, table.next)


def new_challenger(config: Config) -> Challenger:
    """One that has learned nothing, of the config's kind."""
    model = model_of(config)
    assert isinstance(model, StreamModel)  # the config refuses to retrain what is not ours
    missing_is_negative = config.labels is not None and config.labels.missing == "negative"
    gate = Gate(
        GateConfig(
            level=config.retrain.level,
            max_events=config.retrain.max_events,
            missing_is_negative=missing_is_negative,
        )
    )
    return Challenger(model, gate)


def hand_over(config: Config, table: RowTable, whole_state: Mapping[str, NDArray[np.generic]]) -> Challenger:
    """Put a trained model in shadow, from the next row on."""
    challenger = new_challenger(config)
    challenger.model.take_over(whole_state, next_row=table.next)
    table.begin_shadow()
    challenger.gate.begin(table.next)
    return challenger


def restored_challenger(
    config: Config,
    table: RowTable,
    small: Mapping[str, NDArray[Any]],
    gate: Mapping[str, NDArray[Any]],
    blocks: Mapping[int, Mapping[str, NDArray[Any]]],
) -> Challenger:
    """The challenger of a checkpoint."""
    challenger = new_challenger(config)
    challenger.model.restore(small, blocks)
    challenger.gate.restore(gate)
    if table.shadow is None:  # no row was kept
        table.begin_shadow()
    return challenger
