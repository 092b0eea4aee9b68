"""The calibration watch: e-detectors on what was served, on a frozen reference and on slices, one budget for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitors import calibration_watch_kernels as kernels
from monitors.calibration_watch_kernels import (
    AT_ALARM,
    BETTING,
    FITTED,
    FITTING,
    NEGATIVES,
    NOW,
    PHASE,
    POSITIVES,
    REFERENCE,
    REFERENCE_FROM,
    SERVED,
    SERVED_FROM,
    SLICES,
    WAITING,
)
from monitors.e_detector import FALSE_ALARM_EVERY, TOLERANCE, bet_of
from monitors.e_detector_kernels import BETS, shift_odds
from monitors.slice_kernels import PLACES
from stream.records import NEVER, AlertChange, Rows

SERVED_RULE, REFERENCE_RULE = WATCH_RULES = ("calibration-drift", "concept-drift")
EVIDENCE = "calibration_evidence"  # the metric of these alerts
SLICE_TOLERANCE = 0.2  # one linear model can't be true of every part as it is of the whole
ENOUGH = 1000.0  # outcomes of either kind, or sum of p(1 - p), without an alarm: calibrated
PATIENCE = 5 * ENOUGH  # by then a learner should have warmed up
FIT_INFORMATION = 2500.0  # the intercept is known to 1/50 then, well within the tolerance
NOT_YET = np.iinfo(np.int64).max  # a row after all others

PHASES = ("waiting", "fitting", "betting")

NameOf = Callable[[int, int], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchConfig:
    """What the calibration watch promises, and of whom.

    Parameters
    ----------
    false_alarm_every
        Events between false alarms of all its detectors together, on average and at least.
    tolerance
        Distance of the served logit from the true one that is no fault; slices are allowed at least 0.2.
    missing_is_negative
        A prediction without a label counts as one with label 0 once its window has passed; otherwise it is left out.
    learner
        The model learns here: it is given time to warm up, and a reference is frozen.
    """

    false_alarm_every: float = FALSE_ALARM_EVERY
    tolerance: float = TOLERANCE
    missing_is_negative: bool = True
    learner: bool = True


class Evidence(NamedTuple):
    """How one detector stands."""

    rule: str  # the alert's name: "calibration-drift carrier=UA"
    evidence: float | None  # None: it does not bet yet
    bound: float
    severity: str
    firing_since: int | None  # event time in microseconds
    last_bet: str | None  # on which most was won at the last alarm


class CalibrationWatch:
    """Tells when served probabilities stop being true, or the world stops being what a frozen reference knew.

    Rows are taken in merged order once their fate is known, so that a quick label counts no sooner than a slow one of
    the same time: what is judged is a whole cohort. A label that was corrected later counts as it came first.

    Half of the budget is for the whole, shared by what was served and by the reference, and half for the slices where
    there are any; a slice that is rare takes as much of it as a frequent one.

    The reference is the model as it was when it had warmed up, recalibrated once on what followed: what the learner
    absorbs, it does not. After an alarm it is taken anew.

    Parameters
    ----------
    config
        What is promised.
    fields
        Names of the fields of slices, in the order of ``Rows.slices``.

    Attributes
    ----------
    phase : str
        Of the reference: "waiting" for the learner to warm up, "fitting", or "betting".
    """

    def __init__(self, config: WatchConfig, fields: Sequence[str] = ()) -> None:
        self.config = config
        self.fields = tuple(fields)
        groups = SLICES + len(fields) * (PLACES + 1)
        slice_tolerance = max(config.tolerance, SLICE_TOLERANCE)
        self._tolerance = np.array([config.tolerance, slice_tolerance])
        self._odds = np.stack([shift_odds(config.tolerance), shift_odds(slice_tolerance)])
        self._bounds = _bounds(config, groups, len(fields))
        self._cursor = np.array([0, NOT_YET if config.learner else 0, NOT_YET, WAITING], np.int64)
        self._gathered = np.zeros(3)
        self._stakes = np.zeros((groups, BETS))
        self._centre = np.zeros((groups, 2))
        self._evidence = np.zeros((groups, 2))
        self._information = np.zeros(groups)
        self._alarms = np.zeros((groups, 2), np.int64)
        self._since = np.full(groups, NEVER, np.int64)
        self._counts = np.zeros((kernels.BINS, 2), np.int64)
        self._sums = np.zeros(kernels.BINS)
        self._line = np.array([0.0, 1.0])
        self._names: dict[int, str] = {}  # of slices that fire, as they were called when they began to
        self._values: NDArray[np.uint64] = np.zeros((len(fields), PLACES), np.uint64)

    @property
    def phase(self) -> str:
        return PHASES[self._cursor[PHASE]]

    def observe(self, rows: Rows, base: int, next_row: int) -> None:
        """Go on to the first row whose fate is open; places of slices are in the rows by now."""
        kernels.walk(
            np.ascontiguousarray(rows.status),
            np.ascontiguousarray(rows.logit),
            np.ascontiguousarray(rows.reference),
            np.ascontiguousarray(rows.slices),
            base,
            next_row,
            self.config.missing_is_negative,
            self._tolerance,
            self._odds,
            self._cursor,
            self._gathered,
            self._stakes,
            self._centre,
            self._bounds,
            self._evidence,
            self._information,
            self._alarms,
            self._counts,
            self._sums,
            self._line,
        )

    def tick(
        self, now_us: int, *, next_row: int, freeze: Callable[[], None], values: NDArray[np.uint64], name_of: NameOf
    ) -> list[AlertChange]:
        """What began to fire or was resolved since the last tick.

        ``freeze`` has the model keep what it says now as the reference for the rows from ``next_row`` on. ``values``
        are the hashes of the slices' places, and ``name_of`` gives the name of a field's place.
        """
        changes = self._forget_places(now_us, values)
        self._warm_up(next_row)
        for group in np.flatnonzero(self._alarms[:, 0]).tolist():
            if self._since[group] == NEVER:
                self._since[group] = now_us
                if group >= SLICES:
                    self._names[group] = name_of(*divmod(group - SLICES, PLACES + 1))
                changes.append(self._change(group, "firing", now_us, self._evidence[group, AT_ALARM]))
        quiet = (self._since != NEVER) & (self._alarms[:, 0] == 0) & (self._information >= ENOUGH)
        quiet[REFERENCE] = False  # it is taken anew instead
        for group in np.flatnonzero(quiet).tolist():
            changes.append(self._resolve(group, now_us))
        changes += self._renew_reference(now_us, next_row, freeze)
        self._alarms[:, 0] = 0
        return changes

    def reset(self) -> None:
        """Begin anew, as for a model that was just put in another's place; what fires goes on to until it is quiet."""
        self._cursor[SERVED_FROM:] = NOT_YET if self.config.learner else 0, NOT_YET, WAITING
        for array in (self._gathered, self._stakes, self._centre, self._evidence, self._information, self._alarms):
            array[:] = 0

    def standings(self) -> list[Evidence]:
        """The detectors of the whole, and slices that fire."""
        whole = [SERVED, REFERENCE] if self.config.learner else [SERVED]
        return [
            Evidence(
                self._rule(group),
                float(self._evidence[group, NOW]) if self._bets(group) else None,
                float(self._bounds[group]),
                _severity(group),
                None if self._since[group] == NEVER else int(self._since[group]),
                bet_of(int(self._alarms[group, 1])) if self._evidence[group, AT_ALARM] else None,
            )
            for group in [*whole, *self._names]
        ]

    @property
    def firing(self) -> list[str]:
        """The alerts that fire."""
        return [standing.rule for standing in self.standings() if standing.firing_since is not None]

    def last_bet(self, rule: str) -> str:
        """What one would have had to bet on at the last alarm of a rule: "log odds 0.40 above"."""
        group = next(group for group in [SERVED, REFERENCE, *self._names] if self._rule(group) == rule)
        return bet_of(int(self._alarms[group, 1]))

    def _warm_up(self, next_row: int) -> None:
        """Nobody is told of a learner that begins, until it has once been calibrated for a while."""
        if self._cursor[SERVED_FROM] != NOT_YET:
            return
        outcomes = min(self._gathered[POSITIVES], self._gathered[NEGATIVES])
        if outcomes >= ENOUGH and (self._information[SERVED] >= ENOUGH or outcomes >= PATIENCE):
            self._cursor[SERVED_FROM] = next_row
            self._stakes[SERVED] = self._evidence[SERVED] = self._information[SERVED] = 0.0
        self._alarms[SERVED] = 0

    def _renew_reference(self, now_us: int, next_row: int, freeze: Callable[[], None]) -> list[AlertChange]:
        cursor = self._cursor
        if not self.config.learner:
            return []
        if cursor[PHASE] == BETTING and self._alarms[REFERENCE, 0]:
            self._gathered[[POSITIVES, NEGATIVES]] = 0.0
            cursor[PHASE], cursor[REFERENCE_FROM] = WAITING, NOT_YET
        elif cursor[PHASE] == WAITING and self._settled():
            freeze()
            cursor[PHASE], cursor[REFERENCE_FROM] = FITTING, next_row
            self._counts[:], self._sums[:], self._gathered[FITTED] = 0, 0.0, 0.0
        elif cursor[PHASE] == FITTING and self._gathered[FITTED] >= FIT_INFORMATION:
            self._line[:] = kernels.fitted_line(self._counts, self._sums)
            self._stakes[REFERENCE] = self._centre[REFERENCE] = 0.0
            self._evidence[REFERENCE, NOW] = 0.0
            cursor[PHASE] = BETTING
            if self._since[REFERENCE] != NEVER:
                return [self._resolve(REFERENCE, now_us)]
        return []

    def _settled(self) -> bool:
        """The learner has warmed up, and has had time to follow since the reference was given up."""
        outcomes = min(self._gathered[POSITIVES], self._gathered[NEGATIVES])
        return self._cursor[SERVED_FROM] != NOT_YET and outcomes >= ENOUGH

    def _forget_places(self, now_us: int, values: NDArray[np.uint64]) -> list[AlertChange]:
        """A place that another value has taken begins anew."""
        changes = []
        for field, place in np.argwhere(values != self._values).tolist():
            group = SLICES + field * (PLACES + 1) + place
            if self._since[group] != NEVER:
                changes.append(self._resolve(group, now_us))
            self._stakes[group] = self._centre[group] = self._evidence[group] = 0.0
            self._information[group], self._alarms[group] = 0.0, 0
        self._values = values.copy()
        return changes

    def _resolve(self, group: int, now_us: int) -> AlertChange:
        change = self._change(group, "resolved", int(self._since[group]), self._evidence[group, NOW], at=now_us)
        self._since[group] = NEVER
        self._names.pop(group, None)
        return change

    def _bets(self, group: int) -> bool:
        if group == REFERENCE:
            return bool(self._cursor[PHASE] == BETTING)
        return bool(self._cursor[SERVED_FROM] != NOT_YET)

    def _rule(self, group: int) -> str:
        if group == REFERENCE:
            return REFERENCE_RULE
        return SERVED_RULE if group == SERVED else f"{SERVED_RULE} {self._names[group]}"

    def _change(self, group: int, state: str, started_at: int, value: float, at: int | None = None) -> AlertChange:
        return AlertChange(
            rule=self._rule(group),
            state=state,
            started_at=started_at,
            at=started_at if at is None else at,
            metric=EVIDENCE,
            window="",
            value=float(value),
            bound=float(self._bounds[group]),
            severity=_severity(group),
        )

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Small arrays, by name."""
        state = {name: getattr(self, f"_{name}").copy() for name in STATE}
        groups = sorted(self._names)
        names = [self._names[group].encode() for group in groups]
        state["named"] = np.array(groups, np.int64)
        state["lengths"] = np.array([len(name) for name in names], np.int64)
        state["text"] = np.frombuffer(b"".join(names), np.uint8).copy()
        return state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state; slices of other fields begin anew."""
        same = len(state["since"]) == len(self._since) and state["values"].shape == self._values.shape
        for name in STATE:
            array, stored = getattr(self, f"_{name}"), state[name]
            if same or name in WHOLE:
                array[...] = stored
            elif name != "values":
                array[:SLICES] = stored[:SLICES]
        self._names = {}
        if same:
            text, at = state["text"].tobytes(), 0
            for group, length in zip(state["named"].tolist(), state["lengths"].tolist(), strict=True):
                self._names[group] = text[at : at + length].decode()
                at += length


WHOLE = ("cursor", "gathered", "counts", "sums", "line")
STATE = (*WHOLE, "stakes", "centre", "evidence", "information", "alarms", "since", "values")


def _severity(group: int) -> str:
    # the learner follows what the reference does not: nothing that was served need be wrong
    return "info" if group == REFERENCE else "warning"


def _bounds(config: WatchConfig, groups: int, fields: int) -> NDArray[np.float64]:
    """Where each group's alarm is, so that all of them together keep the promise."""
    whole = 2 if config.learner else 1
    share = 2 if fields else 1
    bounds = np.full(groups, config.false_alarm_every * 2.0 * fields)  # an event is in one place of each field
    bounds[:SLICES] = config.false_alarm_every * whole * share
    return bounds
