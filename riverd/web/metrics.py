"""The status as metrics for Prometheus: a collector that reads the newest document when it is asked.

Names follow Prometheus: base units, ``_total`` for what only grows. Every series but the build carries the label
``model``. Areas and rates can't be averaged over processes, so the counts and sums behind them are there too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from riverd.status import Status
from riverd.web.document import Document
from riverd.web.families import Rows, counter, gauge, one
from riverd.web.link import Link, NotStartedError
from riverd.web.retrain_metrics import retrain_families
from riverd.web.window_metrics import window_families

MICROSECOND_S = 1e-6

# fates by the name of the count, as label values; pending and waiting go up and down, and are gauges below
MESSAGES = {"events": "event", "labels": "label", "tombstones": "tombstone", "dead": "dead"}
EVENTS = {"resolved": "resolved", "expired": "expired", "duplicate_events": "duplicate", "conflict": "conflict"}
LABELS = {
    "matched": "matched",
    "late": "late",
    "duplicate_labels": "duplicate",
    "correction": "correction",
    "orphan": "orphan",
}
GAUGES = ("pending", "waiting")


class StatusCollector(Collector):
    """Yields nothing but ``riverd_up`` 0 before the engine has said anything.

    Parameters
    ----------
    link
        Where the newest document is.
    now_us
        The wall clock.
    """

    def __init__(self, link: Link, *, now_us: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        self._link = link
        self._now_us = now_us

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("riverd_up", "1 while the engine is heard of.", value=float(self._link.alive))
        try:
            document = self._link.document
        except NotStartedError:
            return
        yield GaugeMetricFamily(
            "riverd_engine_silence_seconds", "Time since the engine was last heard of.", value=self._link.silent_s
        )
        yield gauge("riverd_build_info", "The version.", ("version",), [((document.version,), 1.0)])
        model = document.status.model
        for family in _families(document, self._now_us()):
            yield _with_model(family, model)


def _families(document: Document, now_us: int) -> Iterator[Metric]:
    status = document.status
    yield one("riverd_start_time_seconds", "When this process started.", document.started_at * MICROSECOND_S)
    yield one("riverd_learning", "0 while learning is paused.", float(status.paused_by is None))
    yield one("riverd_labels_stalled", "1 while predictions wait for them.", float(status.stalled_since is not None))
    yield from _records(status)
    yield from _times(document, now_us)
    yield from _judged(status)
    yield from window_families(status)
    yield from _alerts(status)
    yield from _deliveries(status, now_us)
    yield from _skew(status)
    yield from retrain_families(status)


def _records(status: Status) -> Iterator[Metric]:
    counts = status.counts
    for name, of, label, fates in (
        ("riverd_messages", "Messages by what they turned out to be.", "kind", MESSAGES),
        ("riverd_events", "Events by what became of them.", "fate", EVENTS),
        ("riverd_labels", "Labels by what became of them.", "fate", LABELS),
    ):
        rows: Rows = [((value,), counts[key]) for key, value in fates.items() if key in counts]
        yield counter(name, of, (label,), rows)
    known = {*MESSAGES, *EVENTS, *LABELS, *GAUGES, "messages"}
    others: Rows = [((key,), count) for key, count in counts.items() if key not in known]
    if others:
        yield counter("riverd_other", "Other counts.", ("what",), others)
    yield one("riverd_pending_events", "Events whose label may still come.", counts.get("pending", 0))
    yield one("riverd_waiting_labels", "Labels whose event has not come yet.", counts.get("waiting", 0))


def _times(document: Document, now_us: int) -> Iterator[Metric]:
    status, checkpoint = document.status, document.status.checkpoint
    if status.watermark is not None:
        watermark_s = status.watermark * MICROSECOND_S
        yield one("riverd_watermark_timestamp_seconds", "Event time up to which all is done.", watermark_s)
        lag_s = (now_us - status.watermark) * MICROSECOND_S
        yield one("riverd_watermark_lag_seconds", "How far that lies behind the wall clock.", lag_s)
    # before the first one of this process: since it started, so that a store that never worked is noticed too
    saved_at = checkpoint.at if checkpoint is not None and checkpoint.at else document.started_at
    yield one("riverd_checkpoint_age_seconds", "Time since the last checkpoint.", (now_us - saved_at) * MICROSECOND_S)
    yield one(
        "riverd_checkpoint_failing", "1 while checkpoints can't be written.", float(status.store_error is not None)
    )
    if checkpoint is not None:
        yield counter("riverd_checkpoints", "Checkpoints of the model, ever.", (), [((), checkpoint.number)])
        yield one("riverd_checkpoint_size_bytes", "What the last one wrote.", checkpoint.bytes)
        yield one("riverd_checkpoint_duration_seconds", "Time to write it.", checkpoint.milliseconds / 1e3)
        yield one("riverd_checkpoint_pause_seconds", "The engine stood still.", checkpoint.pause_milliseconds / 1e3)


def _judged(status: Status) -> Iterator[Metric]:
    judged = status.judged
    if judged is None:
        return
    # gauges: a label that is corrected takes something back
    yield one("riverd_judged_events", "Predictions whose label has come.", judged.labelled)
    yield one("riverd_judged_positive_events", "Of them, those whose label was 1.", judged.positives)
    yield one("riverd_judged_logloss_nats", "Sum of their logloss.", judged.logloss_nats)
    yield one("riverd_judged_probability_ratio", "Sum of their probabilities, expected positives.", judged.probability)


def _alerts(status: Status) -> Iterator[Metric]:
    names = ("rule", "severity")  # an alert of Prometheus has an alertname of its own
    firing: Rows = [((alert.rule, alert.severity), float(alert.state == "firing")) for alert in status.alerts]
    pending: Rows = [((alert.rule, alert.severity), float(alert.state == "pending")) for alert in status.alerts]
    values: Rows = [((alert.rule, alert.severity), alert.value) for alert in status.alerts]
    bounds: Rows = [((alert.rule, alert.severity), alert.bound) for alert in status.alerts]
    yield gauge("riverd_alert_firing", "1 while riverd's own rule fires.", names, firing)
    yield gauge("riverd_alert_pending", "1 while it is breached, but not for long enough.", names, pending)
    yield gauge("riverd_alert_value", "What the rule looks at, in the metric's own unit.", names, values)
    yield gauge("riverd_alert_bound", "Where it fires.", names, bounds)


def _deliveries(status: Status, now_us: int) -> Iterator[Metric]:
    label = ("channel",)
    channels = status.deliveries
    yield gauge(
        "riverd_outbox_waiting", "Changes of alerts to be delivered.", label,
        [((channel.channel,), channel.waiting) for channel in channels],
    )  # fmt: skip
    yield gauge(
        "riverd_outbox_oldest_seconds", "How long the oldest of them has waited.", label,
        [
            ((channel.channel,), 0.0 if channel.oldest_at is None else (now_us - channel.oldest_at) * MICROSECOND_S)
            for channel in channels
        ],
    )  # fmt: skip
    yield counter(
        "riverd_deliveries", "Changes of alerts delivered.", label,
        [((channel.channel,), channel.delivered) for channel in channels],
    )  # fmt: skip
    yield counter(
        "riverd_deliveries_given_up", "Changes refused so often that they are not tried again.", label,
        [((channel.channel,), channel.given_up) for channel in channels],
    )  # fmt: skip
    yield counter(
        "riverd_delivery_failures", "Attempts to deliver that failed.", label,
        [((channel.channel,), channel.failures) for channel in channels],
    )  # fmt: skip


def _skew(status: Status) -> Iterator[Metric]:
    skew = status.skew
    if skew is None:
        return
    rows: Rows = [((result,), count) for result, count in skew.results.items()]
    yield counter("riverd_served_scores", "Scores that clients served, by what became of them.", ("result",), rows)
    yield one("riverd_skewed_events", "Of the last 1,000 that could be compared, those that differ.", skew.recent)


def _with_model(family: Metric, model: str) -> Metric:
    for i, sample in enumerate(family.samples):
        family.samples[i] = sample._replace(labels={"model": model, **sample.labels})
    return family
