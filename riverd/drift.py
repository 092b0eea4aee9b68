"""The calibration watch at a tick: it is given the model and the slices, and what it found is logged."""

from __future__ import annotations

import logging

from models.stream_model import StreamModel
from monitors.calibration_watch import REFERENCE_RULE
from riverd.assembly import Parts
from stream.records import AlertChange

log = logging.getLogger("riverd")


def drift_changes(parts: Parts, tick_us: int) -> list[AlertChange]:
    """What began to fire or was resolved."""
    watch, slices, model = parts.watch, parts.slices, parts.model

    def freeze() -> None:
        assert isinstance(model, StreamModel)  # no other learns
        model.freeze()

    changes = watch.tick(
        tick_us,
        next_row=parts.table.next,
        freeze=freeze,
        values=slices.values,
        name_of=lambda field, place: str(slices.slice_at(field, place)),
    )
    for change in changes:
        if change.state == "firing":
            of = "the frozen reference" if change.rule == REFERENCE_RULE else "what was served"
            log.warning("%s: outcomes depart from %s, most clearly as %s", change.rule, of, watch.last_bet(change.rule))
    return changes
