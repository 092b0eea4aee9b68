"""Decides about retrains: whether to begin one, when a challenger goes in shadow, whether it is promoted.

Decisions are made at control ticks, of event time, or by request between two steps. Each of them, with its reason,
is a row in ``retrains``, stored with the checkpoint that holds its effect.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.stream_model import StreamModel
from riverd.challenger import hand_over, restored_challenger
from riverd.config import Config
from riverd.durations import format_duration
from riverd.engine import Engine, watermark_of
from riverd.replacement import promote_challenger
from riverd.status import RetrainStatus
from riverd.time_ranges import Range, Stretch
from riverd.trainer import Trained, Trainer, wait_for
from riverd.unsaved import Taken
from storage.arrays import decode
from storage.retrains import Decision
from stream.records import AlertChange
from stream.timestamps import to_text

log = logging.getLogger("riverd")

KEPT = 100
DECISIONS = ("started", "in shadow", "promoted", "rejected", "failed", "cancelled", "refused", "rolled back")
SAME = (
    "it is the model that serves, bit for bit: all that history teaches is learned already. "
    "[retrain] history, or --from and --exclude, have it learn something else"
)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants trained, and why."""

    trigger: str  # "rule" | "alertmanager" | "command"
    reason: str
    from_us: int | None = None
    to_us: int | None = None
    exclude: tuple[Range, ...] = ()
    start: int | None = None  # number of the snapshot to go on from; None: from nothing


class Going(msgspec.Struct, frozen=True, kw_only=True):
    """The retrain that goes on."""

    number: int
    order: Order
    to_us: int | None  # it learns what was merged before
    in_shadow_since: int | None = None  # event time; None: it is still trained

    @property
    def name(self) -> str:
        return f"retrain {self.number}"


class Retraining:
    """One retrain at a time: first trained by a subprocess, then judged in shadow.

    Parameters
    ----------
    config, engine
        Of the model that serves.
    trainer
        Trains in the background.
    snapshot
        Returns the bytes of a snapshot.
    waits
        The source has ends: then the engine waits for the worker, so that a run gives the same whenever it is made.
    stopped
        Whether this process has been told to leave.
    """

    def __init__(
        self,
        config: Config,
        engine: Engine,
        trainer: Trainer,
        *,
        snapshot: Callable[[int], bytes],
        waits: bool,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.number = 0  # of the last retrain
        self.going: Going | None = None
        self.begun_us: int | None = None  # event time at which the last one was
        self.decided_so_far: Counter[str] = Counter(dict.fromkeys(DECISIONS, 0))  # of this run
        self.recent: deque[Decision] = deque(maxlen=KEPT)  # of this run, for the screen
        self.trainer = trainer
        self._config = config
        self._engine = engine
        self._snapshot = snapshot
        self._waits = waits
        self._stopped = stopped
        self._rules = {alert.name for alert in config.alerts if "retrain" in alert.action}

    def at_tick(self, tick_us: int, changes: Sequence[AlertChange]) -> None:
        """Look after the one that goes on, then begin one if an alert asks for it."""
        if self.going is not None and self.going.in_shadow_since is None:
            self._look_after_worker(tick_us)
        elif self.going is not None:
            self._judge(tick_us)
        for change in changes:
            if change.state == "firing" and change.rule in self._rules:
                self.ask(Order(trigger="rule", reason=f"alert {change.rule} fires"), at_us=tick_us)

    def ask(self, order: Order, *, at_us: int | None) -> str:
        """Begin a retrain unless there is a reason not to; return what was decided."""
        refusal = self._refusal(order, at_us)
        if refusal is not None:
            log.warning("no retrain: %s", refusal)
            self._decide("refused", refusal, at_us, None, trigger=order.trigger, asked=order.reason)
            return f"refused: {refusal}"
        try:
            start = None if order.start is None else self._snapshot(order.start)
        except Exception as error:  # a damaged or missing snapshot: whoever asked is told
            refusal = str(error)
            self._decide("refused", refusal, at_us, None, trigger=order.trigger, asked=order.reason)
            return f"refused: {refusal}"
        self.number += 1
        to_us = at_us if order.to_us is None else order.to_us
        history_us = self._config.retrain.history
        if order.from_us is None and order.start is None and to_us is not None and history_us is not None:
            order = msgspec.structs.replace(order, from_us=to_us - history_us)
        self.going = Going(number=self.number, order=order, to_us=to_us)
        self.begun_us = at_us
        log.warning("retrain %d begins: %s", self.number, order.reason)
        self._decide("started", order.reason, at_us, self.number, order=msgspec.to_builtins(order), learns_to=to_us)
        self._start_worker(start)
        if self._waits and at_us is not None:
            self._look_after_worker(at_us)
        return f"retrain {self.number} has begun"

    def cancel(self, reason: str) -> str:
        """Give up the one that goes on."""
        if self.going is None:
            return "no retrain goes on"
        number = self.going.number
        self._end("cancelled", reason, watermark_of(self._engine.parts))
        return f"retrain {number} is cancelled"

    def champion_replaced(self) -> None:
        """Judge a challenger in shadow against the model that serves now."""
        challenger = self._engine.challenger
        if self.going is not None and challenger is not None:
            challenger.gate.begin(self._engine.parts.table.next)
            log.warning("retrain %d is judged anew, against the model that serves now", self.going.number)

    def _refusal(self, order: Order, at_us: int | None) -> str | None:
        if self.going is not None:
            return f"retrain {self.going.number} goes on"
        cool_down_us = self._config.retrain.cool_down
        if order.trigger == "command" or self.begun_us is None or at_us is None:
            return None
        if at_us - self.begun_us < cool_down_us:
            return (
                f"retrain {self.number} began at {to_text(self.begun_us)}, less than "
                f"{format_duration(cool_down_us)} ago"
            )
        return None

    def _start_worker(self, start: bytes | None) -> None:
        assert self.going is not None
        stretch = Stretch(self.going.order.from_us, self.going.to_us, self.going.order.exclude)
        try:
            self.trainer.start(stretch, start)
        except OSError as error:
            self._end("failed", f"the worker can't be started: {error}", watermark_of(self._engine.parts))

    def _look_after_worker(self, tick_us: int) -> None:
        if self.going is None:
            return
        trained = wait_for(self.trainer, stopped=self._stopped) if self._waits else self.trainer.result()
        if trained is None:
            return
        if trained.data is None:
            self._end("failed", trained.fault or "unknown", tick_us)
        else:
            self._hand_over(trained.data, trained, tick_us)

    def _hand_over(self, data: bytes, trained: Trained, tick_us: int) -> None:
        assert self.going is not None
        parts = self._engine.parts
        whole_state = decode(data)[1]
        if is_same_model(whole_state, parts.model):
            self._end("rejected", SAME, tick_us)
            return
        self._engine.challenger = hand_over(self._config, parts.table, whole_state)
        self.going = msgspec.structs.replace(self.going, in_shadow_since=tick_us)
        order = self.going.order
        taken = Taken(
            reason=self.going.name,
            line=self.going.name,
            parent=order.start,
            whole_state=whole_state,
            watermark=self.going.to_us or tick_us,
            born={
                "born": "replay",
                "range": [order.from_us, self.going.to_us],
                "excluded": [list(each) for each in order.exclude],
                "start": order.start,
                "metrics": {},  # it has not served
            },
        )
        self._engine.unsaved.snapshots.append(taken)
        reason = f"trained on {trained.events:,} events; judged from row {parts.table.next:,} on"
        log.warning("retrain %d: its challenger is in shadow, %s", self.going.number, reason)
        self._decide("in shadow", reason, tick_us, self.going.number, row=parts.table.next, learned_to=self.going.to_us)

    def _judge(self, tick_us: int) -> None:
        challenger = self._engine.challenger
        assert challenger is not None
        verdict = challenger.gate.verdict
        if verdict is None:
            return
        reason = challenger.gate.reason
        if verdict == "promote":
            assert self.going is not None
            promote_challenger(self._engine, self.going.name, tick_us)
            self._end("promoted", reason, tick_us)
        else:
            self._end("rejected", reason, tick_us)

    def _end(self, decision: str, reason: str, at_us: int | None) -> None:
        assert self.going is not None
        number, self.going = self.going.number, None
        self.trainer.stop()
        details: dict[str, Any] = {}
        if self._engine.challenger is not None:
            details = msgspec.to_builtins(self._engine.challenger.gate.figures)
            self._engine.challenger = None
        if self._engine.parts.table.shadow is not None:
            self._engine.parts.table.end_shadow(promoted=False)
        log.warning("retrain %d %s: %s", number, decision, reason)
        self._decide(decision, reason, at_us, number, **details)

    def _decide(self, decision: str, reason: str, at_us: int | None, number: int | None, **details: Any) -> None:
        finite = {
            name: None if isinstance(value, float) and not np.isfinite(value) else value
            for name, value in details.items()
        }
        self.decided(Decision(decision, reason, at_us, number, finite))

    def decided(self, decision: Decision) -> None:
        """Have a decision stored and shown."""
        self._engine.unsaved.decisions.append(decision)
        self.recent.append(decision)
        self.decided_so_far[decision.decision] += 1

    def status(self) -> RetrainStatus | None:
        """How the one that goes on stands."""
        if self.going is None:
            return None
        number, reason, challenger = self.going.number, self.going.order.reason, self._engine.challenger
        if challenger is None:
            progress = self.trainer.progress
            return RetrainStatus(number, "training", reason, progress.events, progress.share)
        figures = challenger.gate.figures
        return RetrainStatus(
            number,
            "in shadow",
            reason,
            figures.events,
            gain=figures.gain,
            gain_error=figures.gain_error,
            evidence=figures.evidence,
            bound=figures.bound,
        )

    def header(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"number": self.number, "going": msgspec.to_builtins(self.going), "begun_us": self.begun_us}

    def restore(
        self,
        header: Mapping[str, Any],
        small: Mapping[str, NDArray[Any]],
        gate: Mapping[str, NDArray[Any]],
        blocks: Mapping[int, Mapping[str, NDArray[Any]]],
    ) -> None:
        """Go on as a checkpoint says: a worker begins anew, a challenger is back in shadow."""
        self.number, self.begun_us = header["number"], header["begun_us"]
        self.going = msgspec.convert(header["going"], Going | None)
        if self.going is None:
            return
        if self.going.in_shadow_since is not None:
            self._engine.challenger = restored_challenger(self._config, self._engine.parts.table, small, gate, blocks)
            return
        order = self.going.order
        log.warning("retrain %d begins again: riverd ended while it was trained", self.going.number)
        try:
            self._start_worker(None if order.start is None else self._snapshot(order.start))
        except Exception as error:
            self._end("failed", str(error), watermark_of(self._engine.parts))


def is_same_model(whole_state: Mapping[str, NDArray[Any]], model: object) -> bool:
    """Whether both say the same from here on, whatever they are asked and taught."""
    assert isinstance(model, StreamModel)
    serving = model.whole_state()
    return all(np.array_equal(whole_state[name], array) for name, array in serving.items() if name != "ahead")
