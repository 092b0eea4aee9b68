"""Carries out what somebody asked for in the database: retrain, cancel, promote, roll back.

A command needs no web server for that, and a daemon that stands still finds it when it starts: before the next record.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import msgspec

from models.stream_model import StreamModel
from riverd.changes import changed_settings
from riverd.engine import Engine, watermark_of
from riverd.replacement import put_snapshot_in_place
from riverd.retraining import Order, Retraining
from storage.arrays import decode
from storage.errors import StorageError
from storage.requests import Done, Request
from storage.retrains import Decision
from storage.store import Store

log = logging.getLogger("riverd")

LOOK_S = 1.0


class Requests:
    """Looks into the database once a second; what was done is noted with the checkpoint that holds its effect."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        retraining: Retraining,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._engine = engine
        self._retraining = retraining
        self._monotonic_s = monotonic_s
        self._looked_s = float("-inf")
        self._done: set[int] = set()  # carried out, but their checkpoint may not be written yet

    def poll(self) -> None:
        """Between two steps: carry out what is open."""
        now_s = self._monotonic_s()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        try:
            found = self._store.open_requests()
        except StorageError as error:  # the writer finds out too, and says so
            log.debug("requests can't be read: %s", error)
            return
        for request in found:
            if request.number not in self._done:
                self._done.add(request.number)
                outcome = self._carry_out(request)
                log.warning("request %d, %s: %s", request.number, request.what, outcome)
                self._engine.unsaved.done.append(Done(request.number, outcome))

    def _carry_out(self, request: Request) -> str:
        at_us = watermark_of(self._engine.parts)
        if not isinstance(self._engine.parts.model, StreamModel):
            return 'refused: [model] kind = "external", so riverd has no model to train or to replace'
        match request.what:
            case "retrain":
                try:
                    order = msgspec.convert(_order(request.arguments), Order)
                except msgspec.ValidationError as error:
                    return f"refused: {error}"
                return self._retraining.ask(order, at_us=at_us)
            case "cancel":
                return self._retraining.cancel("by a command")
            case "pause" if self._engine.paused_by is None:
                self._engine.pause_learning("a command")
                return "learning is paused"
            case "resume" if self._engine.paused_by is not None:
                self._engine.resume_learning()
                return "learning goes on"
            case "pause" | "resume":
                return "nothing changed: it is so already"
            case "promote" | "rollback":
                return self._replace(request, at_us)
            case other:
                return f"refused: this riverd does not know {other!r}"

    def _replace(self, request: Request, at_us: int | None) -> str:
        number = request.arguments.get("snapshot")
        if not isinstance(number, int):
            return f"refused: no number of a snapshot: {number!r}"
        try:
            header, whole_state = decode(self._store.snapshot(number))
        except StorageError as error:
            return f"refused: {error}"
        changes = changed_settings(self._engine.config, header["learned_from"])
        if changes:
            return f"refused: snapshot {number} was learned under other settings ({changes[0].key})"
        done = "rolled back" if request.what == "rollback" else "promoted"
        name = "rollback" if request.what == "rollback" else "promotion"
        put_snapshot_in_place(self._engine, whole_state, f"{name} to snapshot {number}", of=number)
        reason = str(request.arguments.get("reason") or "by a command")
        self._retraining.decided(Decision(done, reason, at_us, None, {"snapshot": number}))
        paused = self._engine.paused_by
        return f"snapshot {number} serves and learns from row {self._engine.parts.table.next} on" + (
            "" if paused is None else f"; learning is still paused by {paused}: `riverd learning resume` ends that"
        )


def _order(arguments: dict[str, object]) -> dict[str, object]:
    return {"trigger": "command", "reason": "by a command"} | arguments
