"""Makes the status document of a running engine."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from monitors.bins import Tally
from monitors.calibration_watch import EVIDENCE, Evidence
from monitors.quality import Quality, quality
from monitors.rules import Rules
from monitors.skew import RESULTS
from monitors.slices import Slice
from monitors.traffic_figures import Traffic
from riverd.durations import format_duration
from riverd.engine import Engine, watermark_of
from riverd.feature_status import ranked
from riverd.feature_weights import FeatureWeights
from riverd.leaks import Leaks
from riverd.rarely import Rarely
from riverd.retraining import Retraining
from riverd.skew import SkewCheck
from riverd.status import (
    AlertEvent,
    AlertStatus,
    CheckpointStatus,
    DecisionStatus,
    DeliveryStatus,
    GroupStatus,
    JudgedStatus,
    SkewStatus,
    SliceStatus,
    Status,
    TrafficStatus,
    WindowStatus,
)
from riverd.writer import Written
from storage.alerts import Alert
from storage.retrains import Decision
from stream.records import AlertChange

RATE_S = 3.0  # events per second are those of the last few seconds
KEPT_EVENTS = 100
KEPT_HISTORY = 400


class Publisher:
    """Watches an engine from the engine's own thread and tells how it stands.

    Parameters
    ----------
    engine
        Between two steps whenever a method is called.
    before
        Alerts of earlier runs.
    liveness
        The rules that the engine knows nothing of.
    written
        Gives the newest checkpoint of this run, or None.
    store_error
        Gives why the one after it could not be written, or None.
    deliveries
        Gives how it stands with the channels that alerts go to.
    retraining
        Knows of challengers, and what was decided about them.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        before: Sequence[Alert] = (),
        liveness: Rules | None = None,
        written: Callable[[], Written | None] = lambda: None,
        store_error: Callable[[], str | None] = lambda: None,
        deliveries: Callable[[], Sequence[DeliveryStatus]] = tuple,
        retraining: Retraining | None = None,
    ) -> None:
        self._engine = engine
        self._rules = [engine.parts.rules] + ([] if liveness is None else [liveness])
        self._weights = Rarely(FeatureWeights(engine.config, engine.parts).now)
        self._leaks = Rarely(Leaks(engine.config, engine.parts.labelled).found)
        self._written = written
        self._store_error = store_error
        self._deliveries = deliveries
        self._retraining = retraining
        self._events = deque((_stored_event(alert) for alert in reversed(before)), maxlen=KEPT_EVENTS)
        self._seen = 0  # changes of this run that have been taken note of
        self._history: deque[tuple[int, float, float]] = deque(maxlen=KEPT_HISTORY)
        self._began_s = time.monotonic()
        self._began_events = engine.parts.joiner.fates()["events"]
        self._rates: deque[tuple[float, int]] = deque([(self._began_s, self._began_events)])

    def observe(self) -> list[AlertChange]:
        """Take note of what the last step did, and return it."""
        new = self._engine.alert_changes - self._seen
        changes = list(self._engine.recent_alerts)[-new:] if new else []
        self._events.extend(
            AlertEvent(
                change.rule, change.state, change.at, change.started_at, change.metric, change.window, change.value,
                change.bound,
            )
            for change in changes
        )  # fmt: skip
        self._seen = self._engine.alert_changes
        return changes

    def status(self, phase: str) -> Status:
        """How the engine stands now."""
        engine, parts = self._engine, self._engine.parts
        now_s, counts = time.monotonic(), parts.joiner.fates()
        windows = [
            self._window(
                format_duration(window_us),
                end == "final",
                judged.quality,
                judged.traffic,
                engine.judgement.slices(end, window_us) if end == "final" else None,
            )
            for (window_us, end), judged in engine.judgement.windows().items()
        ]
        self._remember(windows)
        written = self._written()
        return Status(
            model=engine.config.model.name,
            phase=phase,
            watermark=watermark_of(parts),
            seconds=now_s - self._began_s,
            events_per_second=self._rate(now_s, counts["events"], phase),
            counts=counts,
            windows=windows,
            overall=self._window("all", True, quality(parts.panes.total, threshold=engine.config.monitors.threshold)),
            alerts=self._standings(),
            events=list(self._events),
            checkpoint=_checkpoint_status(written) if written else None,
            history=list(self._history),
            progress=engine.source.progress(),
            paused_by=engine.paused_by,
            stalled_since=parts.joiner.stalled_since,
            store_error=self._store_error(),
            judged=_judged(parts.panes.total),
            deliveries=list(self._deliveries()),
            leaks=self._leaks(),
            skew=None if parts.skew is None else _skew(parts.skew),
            retrain=None if self._retraining is None else self._retraining.status(),
            decisions=[] if self._retraining is None else [_decision(each) for each in self._retraining.recent],
            decided={} if self._retraining is None else dict(self._retraining.decided_so_far),
        )

    def _rate(self, now_s: float, events: int, phase: str) -> float:
        if phase == "done":  # the mean of the whole run
            return (events - self._began_events) / max(now_s - self._began_s, 1e-9)
        self._rates.append((now_s, events))
        while len(self._rates) > 2 and self._rates[1][0] < now_s - RATE_S:
            self._rates.popleft()
        then_s, then = self._rates[0]
        return (events - then) / max(now_s - then_s, 1e-9)

    def _window(
        self,
        name: str,
        final: bool,
        judged: Quality,
        traffic: Traffic | None = None,
        slices: Mapping[Slice, Quality] | None = None,
    ) -> WindowStatus:
        watermark = self._engine.parts.joiner.watermark
        return WindowStatus(
            window=name,
            final=final,
            until=watermark - self._engine.parts.panes.grid.join_window_us if final else watermark,
            events=judged.events,
            labelled=judged.labelled,
            logloss=judged.logloss,
            normalized_entropy=judged.normalized_entropy,
            roc_auc=judged.roc_auc,
            positive_rate=judged.positive_rate,
            expired=judged.expired,
            logloss_error=judged.logloss_error,
            roc_auc_error=judged.roc_auc_error,
            average_precision=judged.average_precision,
            ece=judged.ece,
            ece_expected=judged.ece_expected,
            ece_debiased=judged.ece_debiased,
            spiegelhalter_z=judged.spiegelhalter_z,
            observed_expected=judged.observed_expected,
            observed_expected_error=judged.observed_expected_error,
            precision=judged.precision,
            recall=judged.recall,
            alert_rate=judged.alert_rate,
            traffic=None if traffic is None else _traffic(traffic, self._weights()),
            slices=[_slice(of, judged) for of, judged in (slices or {}).items()],
            reliability=[GroupStatus(*group) for group in judged.reliability] if final else [],
        )

    def _remember(self, windows: Sequence[WindowStatus]) -> None:
        first = next((window for window in windows if window.final), None)
        if first is None or first.logloss is None or first.roc_auc is None:
            return
        if not self._history or self._history[-1][0] < first.until:
            self._history.append((first.until, first.logloss, first.roc_auc))

    def _standings(self) -> list[AlertStatus]:
        return [
            AlertStatus(
                rule=rule.name,
                state=standing.state,
                since=standing.since,
                metric=rule.target,
                window=rule.window,
                value=standing.value,
                bound=rule.bound,
                above=rule.above is not None,
                severity=rule.severity,
                by_se=rule.by_se,
            )
            for rules in self._rules
            for rule in rules.rules
            for standing in [rules.standings[rule.name]]
        ] + [_watched(standing) for standing in self._engine.parts.watch.standings()]


def _watched(standing: Evidence) -> AlertStatus:
    return AlertStatus(
        rule=standing.rule,
        state="quiet" if standing.firing_since is None else "firing",
        since=standing.firing_since,
        metric=EVIDENCE,
        window="",
        value=standing.evidence,
        bound=standing.bound,
        above=True,
        severity=standing.severity,
    )


def _checkpoint_status(written: Written) -> CheckpointStatus:
    return CheckpointStatus(
        number=written.committed.number,
        events=written.events,
        bytes=written.committed.bytes,
        milliseconds=written.write_s * 1e3,
        pause_milliseconds=written.pause_s * 1e3,
        at=written.at_us,
    )


def _traffic(traffic: Traffic, weights: Mapping[str, float]) -> TrafficStatus:
    return TrafficStatus(
        dead_share=traffic.dead_share,
        decision_rate=traffic.decision_rate,
        score_psi=traffic.score_psi,
        score_psi_expected=traffic.score_psi_expected,
        expected_logloss=traffic.expected_logloss,
        expected_roc_auc=traffic.expected_roc_auc,
        label_delay_p50=traffic.label_delay_p50,
        label_delay_p90=traffic.label_delay_p90,
        label_delay_p99=traffic.label_delay_p99,
        reference_events=traffic.reference_events,
        features=ranked(traffic, weights),
    )


def _slice(of: Slice, judged: Quality) -> SliceStatus:
    return SliceStatus(
        field=of.field,
        value=of.value,
        events=judged.events,
        labelled=judged.labelled,
        positive_rate=judged.positive_rate,
        logloss=judged.logloss,
        roc_auc=judged.roc_auc,
        roc_auc_error=judged.roc_auc_error,
        observed_expected=judged.observed_expected,
        spiegelhalter_z=judged.spiegelhalter_z,
        logloss_error=judged.logloss_error,
        observed_expected_error=judged.observed_expected_error,
        coverage=judged.coverage,
        normalized_entropy=judged.normalized_entropy,
        average_precision=judged.average_precision,
        ece=judged.ece,
        ece_expected=judged.ece_expected,
        ece_debiased=judged.ece_debiased,
        precision=judged.precision,
        recall=judged.recall,
        alert_rate=judged.alert_rate,
    )


def _skew(skew: SkewCheck) -> SkewStatus:
    results = dict(zip(RESULTS, skew.window.counts.tolist(), strict=True))
    return SkewStatus(results, skew.window.recent, skew.first, skew.versions)


def _judged(total: Tally) -> JudgedStatus:
    probability, logloss_nats = total.sums.sum(axis=0).tolist()
    return JudgedStatus(total.labelled, total.positives, logloss_nats, probability)


def _stored_event(alert: Alert) -> AlertEvent:
    at = alert.started_at if alert.resolved_at is None else alert.resolved_at
    return AlertEvent(
        alert.rule, alert.state, at, alert.started_at, alert.metric, alert.window, alert.value, alert.bound
    )


def _decision(decision: Decision) -> DecisionStatus:
    return DecisionStatus(decision.at, decision.retrain, decision.decision, decision.reason)
