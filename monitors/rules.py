"""Alert rules: a bound on a metric that must be breached for some time, and a bound at which that is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitors.quality import METRICS as QUALITY_METRICS
from monitors.quality import WITH_ERROR, Quality
from monitors.traffic_figures import FEATURE_METRICS, TRAFFIC_METRICS, Traffic
from stream.records import AlertChange

On = Literal["final", "provisional"]

LIVENESS_METRICS = ("silent_s", "checkpoint_age_s")  # wall clock: since the last message, the last checkpoint
METRICS = (*QUALITY_METRICS, *TRAFFIC_METRICS, *LIVENESS_METRICS)

PHASES = ("quiet", "pending", "firing")
QUIET, PENDING, FIRING = range(3)

_NOT_YET = np.iinfo(np.int64).min


class Judged(NamedTuple):
    """All that is known of one window at a tick."""

    quality: Quality
    traffic: Traffic


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
        The window of event time, and as it is written in the configuration: "1d". Liveness has none.
    feature
        The field that a metric of ``FEATURE_METRICS`` is of.
    slice
        The part of the events that is judged, "carrier=UA"; left out: all. Only metrics of quality have one.
    above, below
        The bound; exactly one. A value beyond it is a breach, the bound itself is none.
    by_se
        Standard errors by which a value must lie beyond the bound to be a breach, for metrics of ``WITH_ERROR``; the
        way back needs none. Left out: any value beyond it is one.
    relative_to
        "reference": what is bounded is the value by what it was over the first window that ended with the reference,
        or after it. Left out: the value itself.
    for_us
        Event time that a breach must last before the rule fires.
    recover
        Firing ends when the value has come back to this bound. Left out: the bound itself.
    on
        Judge final windows, or provisional ones, whose labels are still coming.
    min_coverage
        Share of events with a label that a verdict needs.
    min_events
        Labelled events that a verdict needs; events, labels or messages where the metric is of those.
    cool_down_us
        After it was resolved a rule stays silent this long, however bad it gets.
    severity, actions
        Passed on to whoever delivers the alert.

    Raises
    ------
    ValueError
        Unknown metric, none or two bounds, a recovery bound on the breached side, no feature where one is needed, or
        a slice or standard errors of a metric that has none.
    """

    name: str
    metric: str
    window_us: int = 0
    window: str = ""
    feature: str | None = None
    slice: str | None = None
    above: float | None = None
    below: float | None = None
    by_se: float | None = None
    relative_to: Literal["reference"] | None = None
    for_us: int = 0
    recover: float | None = None
    on: On = "final"
    min_coverage: float = 0.0
    min_events: int = 1
    cool_down_us: int = 0
    severity: str = "warning"
    actions: tuple[str, ...] = ("log",)

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f"rule {self.name!r}: no metric {self.metric!r}, only {', '.join(METRICS)}")
        if (self.metric in FEATURE_METRICS) != (self.feature is not None):
            needs = "needs a feature" if self.feature is None else f"is of no feature, got {self.feature!r}"
            raise ValueError(f"rule {self.name!r}: {self.metric} {needs}")
        if self.slice is not None and self.metric not in QUALITY_METRICS:
            raise ValueError(f"rule {self.name!r}: {self.metric} is of no slice, got {self.slice!r}")
        if (self.above is None) == (self.below is None):
            raise ValueError(f"rule {self.name!r}: needs either above or below, got {self.above} and {self.below}")
        if self.by_se is not None and self.metric not in WITH_ERROR:
            raise ValueError(f"rule {self.name!r}: {self.metric} has no standard error, {', '.join(WITH_ERROR)} have")
        if self.by_se is not None and self.by_se <= 0:
            raise ValueError(f"rule {self.name!r}: needs more than {self.by_se} standard errors")
        if self.relative_to is not None and self.metric in LIVENESS_METRICS:
            raise ValueError(f"rule {self.name!r}: {self.metric} has no reference")
        if self.recover is not None and self.breached(self.recover):
            raise ValueError(f"rule {self.name!r}: recovery at {self.recover} would itself breach {self.bound}")

    @property
    def bound(self) -> float:
        bound = self.above if self.above is not None else self.below
        assert bound is not None  # __post_init__ saw to it
        return bound

    def breached(self, value: float, error: float = 0.0) -> bool:
        """Whether a value with this standard error lies far enough beyond the bound."""
        margin = 0.0 if self.by_se is None else self.by_se * error
        return value > self.bound + margin if self.above is not None else value < self.bound - margin

    def recovered(self, value: float) -> bool:
        end = self.bound if self.recover is None else self.recover
        return value <= end if self.above is not None else value >= end

    @property
    def target(self) -> str:
        """The metric, and what it is of: "null_rate[temp]", "logloss[carrier=UA]"."""
        of = self.feature or self.slice
        target = self.metric if of is None else f"{self.metric}[{of}]"
        return target if self.relative_to is None else f"{target} by its reference"

    @property
    def measure(self) -> str:
        """The metric, and what it is of, whatever it is compared with."""
        of = self.feature or self.slice
        return self.metric if of is None else f"{self.metric}[{of}]"

    def verdict(self, judged: Judged) -> float | None:
        """The value, or None if it is undefined or rests on too little to say anything."""
        quality, traffic = judged
        if self.metric in TRAFFIC_METRICS:
            if traffic.support(self.metric) < self.min_events:
                return None
            return traffic.value(self.metric, self.feature)
        support = quality.events if self.metric == "coverage" else quality.labelled
        if support < self.min_events or quality.coverage is None or quality.coverage < self.min_coverage:
            return None
        return getattr(quality, self.metric)

    def error(self, judged: Judged) -> float | None:
        """The standard error of that value, if the rule asks for one; None if it is undefined."""
        return 0.0 if self.by_se is None else judged.quality.standard_error(self.metric)


@dataclass(slots=True)
class Standing:
    """Where a rule stands."""

    phase: int = QUIET  # index into PHASES
    since: int | None = None  # event time of the phase's beginning; None if it was always quiet
    value: float | None = None  # at the last tick; None if there was no verdict
    resolved_at: int | None = None  # when it last stopped firing
    reference: float | None = None  # what the metric was then, where the rule is relative to it

    @property
    def state(self) -> str:
        return PHASES[self.phase]


class Rules:
    """All rules and where they stand: quiet, pending (breached, not yet for long enough), firing, quiet again.

    A tick without a verdict changes nothing: no breach, no recovery; one whose standard error is undefined, where a
    rule asks for it, is no breach and only ends an alert that has recovered. The time of a pending rule runs on
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
    >>> hour_us, day_us = 3_600_000_000, 86_400_000_000
    >>> rule = Rule(name="loss", metric="logloss", window_us=day_us, window="1d", above=0.6, for_us=2 * hour_us)
    >>> rules = Rules([rule])
    >>> [len(rules.evaluate(hour * hour_us, lambda rule: 0.7)) for hour in (1, 2, 3, 4)]
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

    def evaluate(
        self,
        now_us: int,
        verdict: Callable[[Rule], float | None],
        error: Callable[[Rule], float | None] = lambda _: 0.0,
        *,
        reference_over: bool = True,
    ) -> list[AlertChange]:
        """Judge one tick; return what began to fire or was resolved, in the order of the rules.

        ``verdict`` gives the value of each rule's metric, or None if it says nothing at this tick; ``error``
        gives the value's standard error. ``reference_over``: the windows judged end with the reference, or later.
        """
        changes = []
        for rule in self.rules:
            standing = self.standings[rule.name]
            value, apart = verdict(rule), error(rule)
            if rule.relative_to is not None:
                value, apart = _relative(standing, value, apart, reference_over=reference_over)
            standing.value = value
            if value is not None and (change := _step(rule, standing, value, apart, now_us)):
                changes.append(change)
        return changes

    def forget_references(self) -> None:
        """What rules are relative to is taken anew, as of a model that was put in another's place."""
        for standing in self.standings.values():
            standing.reference = None

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Two arrays per rule, under its name."""
        state: dict[str, NDArray[np.generic]] = {}
        for name, standing in self.standings.items():
            times = [_NOT_YET if time is None else time for time in (standing.since, standing.resolved_at)]
            values = [np.nan if value is None else value for value in (standing.value, standing.reference)]
            state[f"{name}/phase"] = np.array([standing.phase, *times], dtype=np.int64)
            state[f"{name}/value"] = np.array(values, dtype=np.float64)
        return state

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take over what ``state`` says of rules that still exist; new ones start quiet, others are forgotten."""
        for name in self.standings:
            self.standings[name] = Standing()
            if f"{name}/phase" in state:
                phase, *times = state[f"{name}/phase"].tolist()
                value, reference = (None if np.isnan(of) else of for of in state[f"{name}/value"].tolist())
                since, resolved_at = (None if time == _NOT_YET else time for time in times)
                self.standings[name] = Standing(phase, since, value, resolved_at, reference)


def _relative(
    standing: Standing, value: float | None, error: float | None, *, reference_over: bool
) -> tuple[float | None, float | None]:
    """A value and its error by the reference's, which is taken first if it is time; nothing while there is none."""
    if standing.reference is None and reference_over and value:
        standing.reference = value
    if value is None or standing.reference is None:
        return None, None
    return value / standing.reference, None if error is None else error / abs(standing.reference)


def _step(rule: Rule, standing: Standing, value: float, error: float | None, now_us: int) -> AlertChange | None:
    """Move one rule by one verdict."""
    if standing.phase == FIRING:
        if not rule.recovered(value):
            return None
        started_at = standing.since
        assert started_at is not None  # only a rule that was always quiet has none
        standing.phase, standing.since, standing.resolved_at = QUIET, now_us, now_us
        return _change(rule, "resolved", started_at, now_us, value)
    if error is None:
        return None
    if not rule.breached(value, error):
        if standing.phase == PENDING:
            standing.phase, standing.since = QUIET, now_us
        return None
    if standing.phase == QUIET or standing.since is None:
        standing.phase, standing.since = PENDING, now_us
    cooling = standing.resolved_at is not None and now_us - standing.resolved_at < rule.cool_down_us
    if now_us - standing.since < rule.for_us or cooling:
        return None
    standing.phase, standing.since = FIRING, now_us
    return _change(rule, "firing", now_us, now_us, value)


def _change(rule: Rule, state: str, started_at: int, now_us: int, value: float) -> AlertChange:
    return AlertChange(
        rule=rule.name,
        state=state,
        started_at=started_at,
        at=now_us,
        metric=rule.target,
        window=rule.window,
        value=value,
        bound=rule.bound,
        severity=rule.severity,
    )
