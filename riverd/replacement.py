"""Putting another model in the place of the one that serves: a promotion, a rollback."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from numpy.typing import NDArray

from models.stream_model import StreamModel
from riverd.engine import Engine, watermark_of
from riverd.unsaved import Taken

log = logging.getLogger("riverd")


def promote_challenger(engine: Engine, name: str, tick_us: int) -> None:
    """Have the challenger serve and learn from the next record on; both models are kept as snapshots."""
    assert engine.challenger is not None
    parts, reason = engine.parts, f"promotion of {name}"
    _keep(engine, f"before the {reason}", tick_us)
    parts.table.end_shadow(promoted=True)
    figures = msgspec.to_builtins(engine.challenger.gate.figures)
    shadow = {key: figures[key] for key in ("events", "gain", "gain_error", "evidence", "bound")}
    _put_in_place(engine, engine.challenger.model.whole_state(), reason, tick_us, parent=name, metrics=shadow)


def put_snapshot_in_place(engine: Engine, whole_state: Mapping[str, NDArray[Any]], reason: str, *, of: int) -> None:
    """Have a snapshot's model serve and learn from the next record on; positions and pending labels stay.

    Whatever the weights are now, none of them stays: what is served next is what the snapshot says.
    """
    at_us = watermark_of(engine.parts) or 0
    _keep(engine, f"before the {reason}", at_us)
    engine.parts.table.forget_said()
    _put_in_place(engine, whole_state, reason, at_us, parent=of, metrics={})


def _keep(engine: Engine, reason: str, at_us: int) -> None:
    model = engine.parts.model
    assert isinstance(model, StreamModel)
    engine.unsaved.snapshots.append(Taken(reason, model.whole_state(), at_us))


def _put_in_place(
    engine: Engine,
    whole_state: Mapping[str, NDArray[Any]],
    reason: str,
    at_us: int,
    *,
    parent: int | str,
    metrics: Mapping[str, Any],
) -> None:
    parts = engine.parts
    assert isinstance(parts.model, StreamModel)
    parts.model.take_over(whole_state, next_row=parts.table.next)
    # monitors that compare with what was before would find the change that was just made
    parts.drift.reset_reference()
    parts.watch.reset()
    parts.rules.forget_references()
    born = {"metrics": metrics}  # what was served so far is no merit of this one
    engine.unsaved.snapshots.append(
        Taken(reason, parts.model.whole_state(), at_us, promoted=True, born=born, parent=parent)
    )
    log.warning("%s: from row %d on, at position %s", reason, parts.table.next, _positions(engine))


def _positions(engine: Engine) -> str:
    lanes = engine.parts.merger.lanes.values()
    return ", ".join(f"{lane.partition.topic}/{lane.partition.name} {lane.released_position}" for lane in lanes)
