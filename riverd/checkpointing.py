"""The engine's state as a checkpoint, and back.

Small state is written whole. The rest is blocks, of which a checkpoint holds only those that changed:
``rows`` (runs of new rows, immutable), ``status`` (a byte per row, by segment), ``weights``, ``reference``, and the
monitors' rings, ``panes``, ``traffic``, ``slices``, ``drift`` and ``labelled``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitors.calibration_watch import EVIDENCE
from monitors.slice_kernels import OTHER
from riverd.alert_checks import BUILT_IN_ALERTS
from riverd.capture import RINGS, Arrays, Capture
from riverd.changes import APPLIED, Change, changed_settings
from riverd.config import Config
from riverd.config_alerts import CHANNELS
from riverd.delivery.alertmanager import notice_of
from riverd.engine import Engine, watermark_of
from riverd.errors import StateMismatchError
from riverd.lineage import metrics_at_birth
from riverd.predictions import BYTES as PREDICTION_BYTES
from riverd.retraining import Retraining
from riverd.state_format import FORMAT, refuse_other_formats
from riverd.unsaved import Taken, Unsaved
from storage.arrays import decode
from storage.load import Loaded
from storage.outbox import Notice
from stream.records import AlertChange
from stream.rows import SEGMENT
from stream.source import Mark, Partition

log = logging.getLogger("riverd")

ROW_BYTES, CELL_BYTES, SAID_BYTES = 54, 4, 4
KINDS = ("rows", "status", "weights", "reference", "challenger", *RINGS)


class Checkpointer:
    """Knows what of an engine the store already has.

    ``capture`` between two steps, ``encode`` and commit wherever it suits, then ``saved`` or ``failed``;
    one at a time.
    """

    def __init__(self, engine: Engine, retraining: Retraining | None = None) -> None:
        self._engine = engine
        self._retraining = retraining
        self._version = 0  # of the rows that are stored
        self._challenger: set[int] = set()  # blocks that are stored
        self._runs: list[tuple[int, int]] = []  # stored rows: from, to without
        self._number = 0  # of the last checkpoint
        self._outdated_runs: list[int] = []  # stored, but not as they are now
        self._status: dict[int, NDArray[np.uint8]] = {}  # as stored, by segment
        # by ring: places that changed before a checkpoint that failed
        self._unsaved_places: dict[str, set[int]] = {kind: set() for kind in RINGS}

    @property
    def new_bytes(self) -> int:
        """About what has to be copied of rows that no checkpoint holds yet."""
        table = self._engine.parts.table
        cells = int(table.rows.used[0] - table.rows.used[1]) / max(table.next - table.base, 1)
        row_bytes = ROW_BYTES + CELL_BYTES * cells + SAID_BYTES * self._engine.parts.model.said
        new_rows = table.next - self._next_to_store()
        served = sum(len(batch.ids) for batch in self._engine.unsaved.served)
        return round(new_rows * row_bytes) + served * PREDICTION_BYTES

    def _next_to_store(self) -> int:
        stored = self._runs and self._version == self._engine.parts.table.version
        return max(self._runs[-1][1] if stored else 0, self._engine.parts.joiner.first_row)

    def capture(self, *, with_snapshot: bool) -> Capture:
        """Copy what changed. The engine must stand between two steps."""
        engine, parts = self._engine, self._engine.parts
        blocks: dict[tuple[str, int], Arrays | None] = {}
        runs = self._capture_rows(blocks)
        status = self._capture_status(blocks)
        weight_blocks = parts.model.take_dirty()
        for number in weight_blocks:
            blocks["weights", number] = parts.model.block(number)
        reference_blocks = parts.model.frozen.take_dirty()
        for number in reference_blocks:
            blocks["reference", number] = parts.model.frozen.block(number)
        challenger_blocks = self._capture_challenger(blocks)
        places: dict[str, list[int]] = {}
        for kind, ring in parts.rings.items():
            places[kind] = sorted({*ring.dirty(), *self._unsaved_places[kind]})
            for place in places[kind]:
                blocks[kind, place] = ring.block(place)
            ring.clean()
            self._unsaved_places[kind] = set()
        header = {
            "format": FORMAT,
            "settings": engine.config.learned_from,
            "watermark": watermark_of(parts),
            "merged_to": parts.merger.watermark,
            "lanes": [
                [
                    *lane.partition,
                    lane.released_position,
                    engine.source.fingerprint(lane.partition),
                    lane.released_order,
                ]
                for lane in parts.merger.lanes.values()
            ],
            "runs": [list(run) for run in runs],
            "paused_by": engine.paused_by,
            "stalled_since": engine.stalled_since,
            "retraining": None if self._retraining is None else self._retraining.header(),
        }
        small = (
            _prefixed("joiner", parts.joiner.state())
            | _prefixed("rules", parts.rules.state())
            | _prefixed("dead_letter_rule", parts.dead_letter_rule.state())
            | _prefixed("model", parts.model.small_state())
            | _prefixed("watch", parts.watch.state())
            | _prefixed("skew", {} if parts.skew is None else parts.skew.state())
            | _prefixed("challenger", {} if engine.challenger is None else engine.challenger.model.small_state())
            | _prefixed("gate", {} if engine.challenger is None else engine.challenger.gate.state())
        )
        for kind, ring in parts.rings.items():
            small |= _prefixed(kind, ring.header())
        unsaved, engine.unsaved = engine.unsaved, Unsaved()
        snapshots = list(unsaved.snapshots)
        if with_snapshot:
            snapshots.append(Taken("", parts.model.whole_state(), watermark_of(parts) or 0))
        notices = _notices(engine.config, unsaved.alerts)
        number = self._number + 1
        return Capture(
            header,
            small,
            notices,
            blocks,
            unsaved,
            snapshots,
            with_snapshot,
            parts.table.version,
            status,
            runs,
            weight_blocks,
            reference_blocks,
            challenger_blocks,
            places,
            number,
            engine.config,
            metrics_at_birth(engine) if snapshots else {},
        )

    def saved(self, capture: Capture) -> None:
        """The store has it."""
        self._number = capture.number
        self._runs = capture.runs
        self._outdated_runs = []
        self._version = capture.version
        self._status = capture.status
        self._challenger = {
            number
            for kind, number in capture.blocks
            if kind == "challenger" and capture.blocks[kind, number] is not None
        } | (self._challenger if capture.header_has_challenger else set())
        skew = self._engine.parts.skew
        if skew is not None and capture.snapshots:
            skew.publish(capture.number, capture.snapshots[-1].whole_state)
        self._engine.source.commit(
            {Partition(topic, name): position for topic, name, position, *_ in capture.header["lanes"]}
        )

    def failed(self, capture: Capture) -> None:
        """The store does not have it; the next capture holds all of it again."""
        engine = self._engine
        engine.parts.model.mark_dirty(capture.weight_blocks)
        engine.parts.model.frozen.mark_dirty(capture.reference_blocks)
        for kind, places in capture.places.items():
            self._unsaved_places[kind].update(places)
        engine.unsaved.alerts[:0] = capture.unsaved.alerts
        engine.unsaved.dead_letters[:0] = capture.unsaved.dead_letters
        engine.unsaved.history[:0] = capture.unsaved.history
        engine.unsaved.served[:0] = capture.unsaved.served
        engine.unsaved.learning |= capture.unsaved.learning
        engine.unsaved.decisions[:0] = capture.unsaved.decisions
        engine.unsaved.snapshots[:0] = capture.unsaved.snapshots
        engine.unsaved.done[:0] = capture.unsaved.done
        if engine.challenger is not None:
            engine.challenger.model.mark_dirty(capture.challenger_blocks)

    def _capture_rows(self, blocks: dict[tuple[str, int], Arrays | None]) -> list[tuple[int, int]]:
        table, first_row = self._engine.parts.table, self._engine.parts.joiner.first_row
        start = self._next_to_store()
        runs = []
        for outdated in self._outdated_runs:
            blocks["rows", outdated] = None
        same = self._version == table.version
        for run in self._runs:
            if same and run[1] > first_row:
                runs.append(run)
            else:
                blocks["rows", run[0]] = None
        if table.next > start:
            blocks["rows", start] = table.run(start, table.next)
            runs.append((start, table.next))
        return runs

    def _capture_challenger(self, blocks: dict[tuple[str, int], Arrays | None]) -> list[int]:
        challenger = self._engine.challenger
        if challenger is None:
            for number in self._challenger:
                blocks["challenger", number] = None
            return []
        numbers = challenger.model.take_dirty()
        for number in numbers:
            blocks["challenger", number] = challenger.model.block(number)
        return numbers

    def _capture_status(self, blocks: dict[tuple[str, int], Arrays | None]) -> dict[int, NDArray[np.uint8]]:
        table, first_row = self._engine.parts.table, self._engine.parts.joiner.first_row
        segments: dict[int, NDArray[np.uint8]] = {}
        for segment in range(first_row // SEGMENT, -(-table.next // SEGMENT)):
            first, last = max(first_row, segment * SEGMENT), min(table.next, (segment + 1) * SEGMENT)
            if first >= last:
                continue
            now, stored = table.status(first, last), self._status.get(segment)
            if stored is not None and len(stored) == len(now) and np.array_equal(stored, now):
                segments[segment] = stored
            else:
                segments[segment] = now.copy()
                blocks["status", segment] = {"status": segments[segment]}
        for segment in self._status.keys() - segments.keys():
            blocks["status", segment] = None
        return segments

    def restore(self, loaded: Loaded) -> None:
        """Fill a new engine with a stored state, and tell it where to go on.

        Raises
        ------
        StateMismatchError
            The state was learned under other settings.
        """
        header, small = decode(loaded.state)
        engine, parts = self._engine, self._engine.parts
        refuse_other_formats(header, model=engine.config.model.name)
        changes = changed_settings(engine.config, header["settings"])
        _refuse(engine.config, changes)
        anew = {ring for change in changes for ring in change.anew}
        for change in changes:
            log.warning(
                "%s was %s, is %s: %s begin anew", change.key, change.then, change.now, " and ".join(change.anew)
            )
        blocks = {kind: _decoded(loaded, kind) for kind in KINDS}
        parts.joiner.cursor[:] = small["joiner/cursor"]
        self._number = loaded.number
        self._runs = [(first, last) for first, last in header["runs"]]
        self._status = {segment: arrays["status"] for segment, arrays in sorted(blocks["status"].items())}
        empty: NDArray[np.uint8] = np.zeros(0, np.uint8)
        status = np.concatenate([empty, *self._status.values()])
        runs = [(first, blocks["rows"][first]) for first, _ in self._runs]
        if "slices" in anew:
            runs = [(first, _unplaced(run, len(engine.config.monitors.slices))) for first, run in runs]
            self._outdated_runs = [first for first, _ in runs]
            self._runs = []
        parts.table.restore(parts.joiner.first_row, runs, status)
        self._challenger = set(blocks["challenger"])
        if self._retraining is not None and header.get("retraining") is not None:
            self._retraining.restore(
                header["retraining"], _under("challenger", small), _under("gate", small), blocks["challenger"]
            )
        elif parts.table.shadow is not None:
            parts.table.end_shadow(promoted=False)
        self._version = parts.table.version
        parts.joiner.restore(_under("joiner", small))
        parts.model.restore(_under("model", small), blocks["weights"])
        parts.model.frozen.restore(blocks["reference"])
        parts.watch.restore(_under("watch", small))
        for kind, ring in parts.rings.items():
            if kind in anew:
                self._unsaved_places[kind].update(blocks[kind])  # so that the next checkpoint empties them
                continue
            state: dict[str, NDArray[Any]] = dict(_under(kind, small))
            for arrays in blocks[kind].values():
                state |= arrays
            ring.restore(state)
        parts.rules.restore(_under("rules", small))
        parts.dead_letter_rule.restore(_under("dead_letter_rule", small))
        if parts.skew is not None:
            parts.skew.restore(_under("skew", small))
        engine.restore_learning(header.get("paused_by"))
        engine.stalled_since = header.get("stalled_since")
        parts.merger.watermark = header["merged_to"]
        marks: dict[Partition, Mark] = {}
        orders: dict[Partition, int] = {}
        for topic, name, position, fingerprint, order in header["lanes"]:
            partition = Partition(topic, name)
            marks[partition] = Mark(position, fingerprint)
            orders[partition] = order
        engine.start(marks, orders)


def _unplaced(run: Arrays, fields: int) -> Arrays:
    """Rows whose values have no place among the slices any more."""
    return {**run, "slices": np.full((len(run["size"]), fields), OTHER, np.uint8)}


def _notices(config: Config, changes: Sequence[AlertChange]) -> list[Notice]:
    """Whom to tell of these changes: of riverd's own alerts, everybody."""
    actions = {alert.name: alert.action for alert in config.alerts}
    actions |= dict.fromkeys(BUILT_IN_ALERTS, config.delivery.channels)
    of_slice = {change.rule for change in changes if change.metric == EVIDENCE}
    actions |= dict.fromkeys(of_slice, config.delivery.channels)
    return [
        notice_of(change, channel)
        for change in changes
        for channel in dict.fromkeys(actions.get(change.rule, ()))
        if channel in CHANNELS
    ]


def _decoded(loaded: Loaded, kind: str) -> dict[int, Arrays]:
    return {number: decode(data)[1] for (of, number), data in loaded.blocks.items() if of == kind}


def _prefixed(prefix: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


def _under(prefix: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    return {name[len(prefix) + 1 :]: array for name, array in arrays.items() if name.startswith(f"{prefix}/")}


def _refuse(config: Config, changes: Sequence[Change]) -> None:
    differing = [change for change in changes if change.fate != APPLIED]
    if differing:
        raise StateMismatchError(
            f"model {config.model.name!r} was learned under other settings:\n"
            + "".join(f"  {change.key}: {change.then} then, {change.now} now\n" for change in differing)
            + "  Put them back to go on, or give the model another [model] name to learn the stream anew."
        )
