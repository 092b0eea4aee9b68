"""Carries out what somebody asked for in the database: retrain, cancel, promote, roll back.

A command needs no web server for that, and a daemon that stands still finds it when it starts: before the next record.
"""

from __future__ import annotations

import logging
import threading
from collections import deque

import msgspec

from models.stream_model import StreamModel
from riverd.changes import changed_model
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
    """Looks into the database once a second; what was done is noted with the checkpoint that holds its effect.

    It looks on a thread of its own: a server that hangs must not make the engine wait.
    """

    def __init__(self, store: Store, engine: Engine, retraining: Retraining) -> None:
        self._store = store
        self._engine = engine
        self._retraining = retraining
        self._found: deque[list[Request]] = deque([self._look()], maxlen=1)
        self._done: set[int] = set()  # carried out, but their checkpoint may not be written yet
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, name="requests", daemon=True)

    def start(self) -> None:
        """Look again once a second, until ``close``."""
        self._thread.start()

    def close(self, *, within_s: float) -> None:
        """Look no more; a look that a server keeps waiting is left behind."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(within_s)

    def _keep_looking(self) -> None:
        while not self._ended.wait(LOOK_S):
            self._found.append(self._look())

    def _look(self) -> list[Request]:
        try:
            return self._store.open_requests()
        except StorageError as error:  # the writer finds out too, and says so
            log.debug("requests can't be read: %s", error)
            return []

    def poll(self) -> None:
        """Between two steps: carry out what was found open."""
        if not self._found:
            return
        for request in self._found.pop():
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
                return "learning is running"
            case "pause":
                return f"learning is paused already, by {self._engine.paused_by}"
            case "resume":
                return "learning is running already"
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
        changes = changed_model(self._engine.config, header["learned_from"])
        if changes:
            return f"refused: snapshot {number} was learned under other settings ({changes[0].key})"
        model = self._engine.parts.model
        assert isinstance(model, StreamModel)
        fault = model.misfit(whole_state)
        if fault is not None:
            return f"refused: snapshot {number} can't serve: {fault}"
        done = "rolled back" if request.what == "rollback" else "promoted"
        name = "rollback" if request.what == "rollback" else "promotion"
        put_snapshot_in_place(self._engine, whole_state, f"{name} to snapshot {number}", of=number)
        self._retraining.champion_replaced()
        reason = str(request.arguments.get("reason") or "by a command")
        self._retraining.decided(Decision(done, reason, at_us, None, {"snapshot": number}))
        paused = self._engine.paused_by
        return f"snapshot {number} serves and learns from row {self._engine.parts.table.next} on" + (
            "" if paused is None else f"; learning is still paused by {paused}: `riverd learning resume` ends that"
        )


def _order(arguments: dict[str, object]) -> dict[str, object]:
    return {"trigger": "command", "reason": "by a command"} | arguments
