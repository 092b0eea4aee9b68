"""Alert rules: a bound on a metric that must be breached for some time, and a bound at which that is over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from monitors.quality import METRICS, Quality
from stream.records import AlertChange

On = Literal["final", "provisional"]

PHASES = ("quiet", "pending", "firing")
QUIET, PENDING, FIRING = range(3)

_NOT_YET = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What to watch and when to speak.

    Parameters
    ----------
    name
        Identity of the rule; its state survives restarts under it.
    metric
        One of ``METRICS``.
    window_us, window
        The window of event time, and as it is written in the configuration: "1d".
    above, below
        The bound; exactly one. A value beyond it is a breach, the bound itself is none.
    for_us
        Event time that a breach must last before the rule fires.
    recover
        Firing ends when the value has come back to this bound. Left out: the bound itself.
    on
        Judge final windows, or provisional ones, whose labels are still coming.
    min_coverage
        Share of events with a label that a verdict needs.
    min_events
        Labelled events that a verdict needs; where the metric is "coverage", events, labelled or not.
    severity, actions
        Passed on to whoever delivers the alert.

    Raises
    ------
    ValueError
        Unknown metric, none or two bounds, or a recovery bound on the breached side.
    """

    name: str
    metric: str
    window_us: int
    window: str
    above: float | None = None
    below: float | None = None
    for_us: int = 0
    recover: float | None = None
    on: On = "final"
    min_coverage: float = 0.0
    min_events: int = 1
    severity: str = "warning"
    actions: tuple[str, ...] = ("log",)

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f"rule {self.name!r}: no metric {self.metric!r}, only {', '.join(METRICS)}")
        if (self.above is None) == (self.below is None):
            raise ValueError(f"rule {self.name!r}: needs either above or below, got {self.above} and {self.below}")
        if self.recover is not None and self.breached(self.recover):
            raise ValueError(f"rule {self.name!r}: recovery at {self.recover} would itself breach {self.bound}")

    @property
    def bound(self) -> float:
        bound = self.above if self.above is not None else self.below
        assert bound is not None  # __post_init__ saw to it
        return bound

    def breached(self, value: float) -> bool:
        return value > self.above if self.above is not None else value < self.bound

    def recovered(self, value: float) -> bool:
        end = self.bound if self.recover is None else self.recover
        return value <= end if self.above is not None else value >= end

    def verdict(self, quality: Quality) -> float | None:
        """The value, or None if it is undefined or rests on too little to say anything."""
        support = quality.events if self.metric == "coverage" else quality.labelled
        if support < self.min_events or quality.coverage is None or quality.coverage < self.min_coverage:
            return None
        return getattr(quality, self.metric)


@dataclass(slots=True)
class Standing:
    """Where a rule stands."""

    phase: int = QUIET  # index into PHASES
    since: int | None = None  # event time of the phase's beginning; None if it was always quiet
    value: float | None = None  # at the last tick; None if there was no verdict

    @property
    def state(self) -> str:
        return PHASES[self.phase]


class Rules:
    """All rules and where they stand: quiet, pending (breached, not yet for long enough), firing, quiet again.

    A tick without a verdict changes nothing: no breach, no recovery. The time of a pending rule runs on
    meanwhile, since nothing has spoken against the breach and empty ticks may be left out altogether, but
    only a breach makes it fire.

    Parameters
    ----------
    rules
        Their names must differ.

    Attributes
    ----------
    standings : dict
        A ``Standing`` by the rule's name, in the order of the rules.

    Examples
    --------
    >>> from monitors.bins import tally
    >>> from monitors.quality import quality
    >>> hour_us, day_us = 3_600_000_000, 86_400_000_000
    >>> rule = Rule(name="loss", metric="logloss", window_us=day_us, window="1d", above=0.6, for_us=2 * hour_us)
    >>> rules = Rules([rule])
    >>> bad = {(day_us, "final"): quality(tally(logit=[2.0], label=[0]))}
    >>> [len(rules.evaluate(hour * hour_us, bad)) for hour in (1, 2, 3, 4)]
    [0, 0, 1, 0]
    >>> rules.standings["loss"].state
    'firing'
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        names = [rule.name for rule in self.rules]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"rules share a name: {', '.join(twice)}")
        self.standings = {name: Standing() for name in names}

    def evaluate(self, now_us: int, quality_by_window: Mapping[tuple[int, On], Quality]) -> list[AlertChange]:
        """Judge one tick; return what began to fire or was resolved, in the order of the rules.

        ``quality_by_window`` has an entry for (``window_us``, ``on``) of every rule.
        """
        changes = []
        for rule in self.rules:
            standing = self.standings[rule.name]
            value = standing.value = rule.verdict(quality_by_window[rule.window_us, rule.on])
            if value is not None and (change := _step(rule, standing, value, now_us)):
                changes.append(change)
        return changes

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Two arrays per rule, under its name."""
        state: dict[str, NDArray[np.generic]] = {}
        for name, standing in self.standings.items():
            since = _NOT_YET if standing.since is None else standing.since
            value = np.nan if standing.value is None else standing.value
            state[f"{name}/phase"] = np.array([standing.phase, since], dtype=np.int64)
            state[f"{name}/value"] = np.array([value], dtype=np.float64)
        return state

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take over what ``state`` says of rules that still exist; new ones start quiet, others are forgotten."""
        for name in self.standings:
            self.standings[name] = Standing()
            if f"{name}/phase" in state:
                phase, since = state[f"{name}/phase"].tolist()
                value = state[f"{name}/value"].item()
                self.standings[name] = Standing(
                    phase, None if since == _NOT_YET else since, None if np.isnan(value) else value
                )


def _step(rule: Rule, standing: Standing, value: float, now_us: int) -> AlertChange | None:
    """Move one rule by one verdict."""
    if standing.phase == FIRING:
        if not rule.recovered(value):
            return None
        started_at = standing.since
        assert started_at is not None  # only a rule that was always quiet has none
        standing.phase, standing.since = QUIET, now_us
        return _change(rule, "resolved", started_at, now_us, value)
    if not rule.breached(value):
        if standing.phase == PENDING:
            standing.phase, standing.since = QUIET, now_us
        return None
    if standing.phase == QUIET or standing.since is None:
        standing.phase, standing.since = PENDING, now_us
    if now_us - standing.since < rule.for_us:
        return None
    standing.phase, standing.since = FIRING, now_us
    return _change(rule, "firing", now_us, now_us, value)


def _change(rule: Rule, state: str, started_at: int, now_us: int, value: float) -> AlertChange:
    return AlertChange(
        rule=rule.name,
        state=state,
        started_at=started_at,
        at=now_us,
        metric=rule.metric,
        window=rule.window,
        value=value,
        bound=rule.bound,
        severity=rule.severity,
    )
