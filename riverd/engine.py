"""One step of the daemon: poll, decode, merge, join, learn, judge, tick."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from models.hashing import text_of
from riverd.alert_checks import BEFORE_ALL_TIMES, STALL_RULE
from riverd.assembly import Parts
from riverd.challenger import Challenger
from riverd.clipping import clip_bounds
from riverd.config import Config
from riverd.drift import drift_changes
from riverd.durations import format_duration
from riverd.idleness import Idleness
from riverd.judgement import Judgement
from riverd.predictions import served
from riverd.redaction import redact
from riverd.unsaved import Unsaved
from stream.decoding import Chunk
from stream.join_state import MIN_MESSAGES, REJECTED_CONFLICT
from stream.joiner import Step
from stream.merge import BEGINNING, EVENT, LABEL, Lane, Ordered
from stream.messages import value_at
from stream.records import AlertChange, DeadLetter, Events
from stream.source import Batch, Mark, Partition, Source
from stream.stall import STALLED_SHARE

log = logging.getLogger("riverd")

KEPT_ALERTS = 10_000  # changes of this run, for the screen
KEPT_PAYLOAD = 1 << 16  # bytes of a dead letter
CONFLICT = "another event with this id came before and says something else; that one stands"


class Engine:
    """Carries every record from the source to its effect, in merged order.

    What it learns and says depends on the records alone, not on how they were polled.

    Parameters
    ----------
    config
        What to read and how to judge.
    parts
        From ``assemble``, new or restored.
    source
        Where messages come from.
    bounded
        The source has fixed ends: nothing is timed, and every record is released.
    reached
        Told the name of each stage as it is completed.
    monotonic_s
        Seconds of a clock that never goes back; it decides when a silent partition no longer holds others back.
    """

    def __init__(
        self,
        config: Config,
        parts: Parts,
        source: Source,
        *,
        bounded: bool,
        reached: Callable[[str], None] = lambda _: None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.parts = parts
        self.source = source
        self.judgement = Judgement(config, parts)
        self.unsaved = Unsaved()
        self.challenger: Challenger | None = None
        self.control: Callable[[int, Sequence[AlertChange]], None] = lambda _, __: None  # the last to act at a tick
        self.observers: list[Callable[[Step, Ordered], None]] = []  # told of each step, once all the rest has been
        self.recent_alerts: deque[AlertChange] = deque(maxlen=KEPT_ALERTS)
        self.alert_changes = 0  # of this run, kept or not
        self.stalled_since: int | None = None  # event time at which the alert of stalled labels began
        self.paused_by: str | None = None  # who paused learning; None: it goes on
        self._bounded = bounded
        self._reached = reached
        self._idleness = Idleness(
            parts.merger,
            source,
            idle_after_us=config.source.idle_after,
            max_skew_us=config.source.max_skew,
            monotonic_s=monotonic_s,
        )

    def start(self, marks: dict[Partition, Mark], orders: dict[Partition, int]) -> None:
        """Go on at these positions, after records of these times; others begin at their beginning."""
        for partition, position in self.source.seek(marks).items():
            self._add(partition, position, orders[partition])

    def step(self) -> bool:
        """Take what the source has; False when there was nothing to do."""
        self._discover()
        parts = self.parts
        limit = self.config.source.poll_records
        batches = self.source.poll(parts.merger.wanted(limit), limit)
        self._reached("engine.polled")
        chunks = [self._decode(batch) for batch in batches]
        self._reached("engine.decoded")
        parts.merger.hold(chunks)
        if self._bounded:
            self._watch_ends()
            ordered = parts.merger.release()
        else:
            ordered = self._idleness.release([batch.partition for batch in batches])
        self._reached("engine.merged")
        for step in parts.joiner.advance(ordered):
            self._reached("engine.joined")
            parts.model.run(step.ops, parts.table.rows, parts.table.base, ordered.events)
            if self.challenger is not None:
                self.challenger.run(step.ops, parts.table, ordered.events)
            self._reached("engine.learned")
            if parts.skew is not None:
                self.announce(parts.skew.observe(step.ops, ordered.events, parts.merger))
            if self.config.predictions.topic is not None:
                self.unsaved.served.append(served(step.ops, ordered.events, parts))
            parts.panes.observe(step.ops, parts.table.rows, parts.table.base)
            parts.traffic.observe(step.ops, parts.table.rows, parts.table.base, ordered.events)
            parts.drift.observe(step.ops, parts.table.rows, parts.table.base, ordered.events)
            parts.labelled.observe(step.ops, ordered.events)
            parts.slices.observe(
                step.ops, parts.table.rows, parts.table.base, ordered.events, partial(self._name, ordered.events)
            )
            parts.watch.observe(parts.table.rows, parts.table.base, parts.table.next)
            if self.challenger is not None:
                self.challenger.judge(parts.table)
            for observe in self.observers:
                observe(step, ordered)
            self._reached("engine.judged")
            self._bury(step, ordered)
            if step.tick is not None:
                self._tick(step.tick)
                self._reached("engine.ticked")
            if step.timeless:
                self._tick_without_time()
        self._reached("engine.stepped")
        return bool(batches) or len(ordered.kind) > 0

    @property
    def finished(self) -> bool:
        """Everything up to the fixed ends has had its effect."""
        lanes = self.parts.merger.lanes
        return self._bounded and all(
            not len(lane) and (lane.closed or self.source.at_end(lane.partition)) for lane in lanes.values()
        )

    def pause_learning(self, by: str) -> None:
        """From the next record on join, serve and judge, but don't learn: labels of that time are dropped.

        ``by`` says who wanted it. A pause outlives restarts; it ends by ``resume_learning`` alone.
        """
        if self.paused_by is None:
            self._set_paused(by)
            log.warning("learning paused by %s; `riverd learning resume` ends that", by)

    def resume_learning(self) -> None:
        """Learn again from the next record on; what was dropped meanwhile stays so."""
        if self.paused_by is not None:
            self._set_paused(None)
            log.warning("learning resumed")

    def restore_learning(self, paused_by: str | None) -> None:
        """Go on as a checkpoint says."""
        self._set_paused(paused_by)
        self.unsaved.learning = False
        if paused_by is not None:
            log.warning("learning is still paused by %s; `riverd learning resume` ends that", paused_by)

    def _set_paused(self, by: str | None) -> None:
        self.paused_by = by
        self.parts.joiner.learning = by is None
        self.unsaved.learning = True

    def _name(self, events: Events, record: int, field: str) -> str:
        """The text of a slice's value, from the message of an event that has it."""
        _, message, _ = self.parts.merger.message(int(events.partition[record]), int(events.position[record]))
        return text_of(value_at(message, field))

    def _discover(self) -> None:
        for partition in self.source.partitions():
            if partition not in self.parts.merger.lanes:
                self._add(partition, 0, BEGINNING)

    def _add(self, partition: Partition, position: int, order: int) -> Lane:
        kind = EVENT if partition.topic == self.config.events.topic else LABEL
        self._idleness.add(partition)
        return self.parts.merger.add(partition, kind=kind, position=position, order=order)

    def _decode(self, batch: Batch) -> Chunk:
        lane = self.parts.merger.lanes[batch.partition]
        if lane.kind == EVENT:
            return self.parts.event_decoder.decode(batch, lane.number)
        assert self.parts.label_decoder is not None  # without one no other topic is read
        return self.parts.label_decoder.decode(batch, lane.number)

    def _watch_ends(self) -> None:
        """At fixed ends a partition that has ended no longer holds the others back."""
        for partition, lane in self.parts.merger.lanes.items():
            lane.live = not self.source.at_end(partition)

    def _bury(self, step: Step, ordered: Ordered) -> None:
        """Keep what was rejected as dead letters, with place and reason."""
        for kind, record, why in step.rejected.tolist():
            columns = ordered.events if kind == EVENT else ordered.labels
            position = int(columns.position[record])
            partition, payload, reason = self.parts.merger.message(int(columns.partition[record]), position)
            if why == REJECTED_CONFLICT:
                reason = CONFLICT
            kept = redact(payload, self.config.dead_letters.redact)[:KEPT_PAYLOAD]
            self.unsaved.dead_letters.append(
                DeadLetter(partition.topic, partition.name, position, reason or "unknown", kept)
            )

    def _tick(self, tick_us: int) -> None:
        joiner, traffic = self.parts.joiner, self.parts.traffic
        decided_us, fates = joiner.decided(tick_us), joiner.fates()
        self.parts.panes.advance(decided_us)
        self.parts.slices.advance(decided_us)
        traffic.count(tick_us, messages=fates["messages"], dead=fates["dead"])
        traffic.advance(tick_us, decided_us)
        bounds = clip_bounds(self.parts.model, columns=self.parts.drift.numbers, features=self.config.features.numbers)
        self.parts.drift.advance(tick_us, bounds)
        changes, history = self.judgement.at_tick(tick_us)
        self.unsaved.history += history
        changes += self._watch_stall(tick_us)
        changes += drift_changes(self.parts, tick_us)
        share = traffic.recent_dead_share(min_messages=MIN_MESSAGES)
        changes += self._watch_dead_letters(tick_us, share)
        changes += [] if self.parts.skew is None else self.parts.skew.at_tick(tick_us)
        self.announce(changes)
        pausing = {rule.name for rule in self.parts.rules.rules if "pause" in rule.actions}
        for change in changes:
            if change.state == "firing" and change.rule in pausing:
                self.pause_learning(f"rule {change.rule}")
        self.control(tick_us, changes)

    def announce(self, changes: Sequence[AlertChange]) -> None:
        """Have these changes stored and shown."""
        self.unsaved.alerts += changes
        self.recent_alerts.extend(changes)
        self.alert_changes += len(changes)

    @property
    def silent_s(self) -> float:
        """Wall-clock seconds since the last message, or since the first partition was found."""
        return self._idleness.silent_s

    def _tick_without_time(self) -> None:
        """No message had a time yet: their number takes its place, and what fires does so before all times."""
        fates = self.parts.joiner.fates()
        self.announce(self._watch_dead_letters(BEFORE_ALL_TIMES, fates["dead"] / fates["messages"]))

    def _watch_dead_letters(self, tick_us: int, share: float | None) -> list[AlertChange]:
        """Stop learning when too much can't be read: what can be may be of another kind than before."""
        changes = self.parts.dead_letter_rule.evaluate(tick_us, lambda _: share)
        if any(change.state == "firing" for change in changes):
            self.pause_learning("dead letters")
        return changes

    def _watch_stall(self, tick_us: int) -> list[AlertChange]:
        """The alert that no rule has to ask for: labels have stopped, so predictions wait instead of expiring."""
        joiner = self.parts.joiner
        if joiner.stalled == (self.stalled_since is not None):
            return []
        state = "firing" if joiner.stalled else "resolved"
        started_at = tick_us if self.stalled_since is None else self.stalled_since
        self.stalled_since = tick_us if joiner.stalled else None
        missing = 1.0 - joiner.came_share
        return [
            AlertChange(
                rule=STALL_RULE,
                state=state,
                started_at=started_at,
                at=tick_us,
                metric="positives_missing",
                window=format_duration(joiner.policy.window_us),
                value=missing,
                bound=1.0 - STALLED_SHARE,
                severity="critical",
            )
        ]


def watermark_of(parts: Parts) -> int | None:
    """Event time up to which everything has had its effect, or None before the first record."""
    return None if parts.joiner.watermark == np.iinfo(np.int64).min else parts.joiner.watermark
