"""The one object in which a run ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monitors.quality import quality
from riverd.engine import Engine
from riverd.status import Status
from storage.alerts import Alert
from stream.timestamps import to_text

METRICS = (
    "logloss", "logloss_error", "normalized_entropy", "roc_auc", "roc_auc_error", "average_precision",
    "ece", "ece_expected", "ece_debiased", "spiegelhalter_z", "observed_expected", "observed_expected_error",
    "precision", "recall", "alert_rate",
)  # fmt: skip


def result_of(engine: Engine, status: Status, *, stored: Sequence[Alert] = ()) -> dict[str, Any]:
    """What was learned, the closed books, how good the served predictions were, and the alerts.

    ``metrics`` are over everything this model has judged, ``alerts`` over all its runs where they are
    ``stored``, else over this one.
    """
    judged = quality(engine.parts.panes.total, threshold=engine.config.monitors.threshold)
    return {
        "model": status.model,
        "model_sha256": engine.parts.model.sha256,
        "watermark": None if status.watermark is None else to_text(status.watermark),
        "counts": status.counts,
        "metrics": {name: getattr(judged, name) for name in METRICS},
        "alerts": [_stored(alert) for alert in reversed(stored)] if stored else _of_this_run(engine),
        "seconds": round(status.seconds, 3),
        "events_per_second": round(status.events_per_second, 1),
    }


def _stored(alert: Alert) -> dict[str, Any]:
    return _alert(
        alert.rule,
        alert.state,
        alert.started_at,
        alert.resolved_at,
        alert.metric,
        alert.window,
        alert.value,
        alert.bound,
    )


def _of_this_run(engine: Engine) -> list[dict[str, Any]]:
    alerts: dict[tuple[str, int], dict[str, Any]] = {}
    for change in engine.recent_alerts:
        resolved_at = change.at if change.state == "resolved" else None
        alerts[change.rule, change.started_at] = _alert(
            change.rule, change.state, change.started_at, resolved_at, change.metric, change.window, change.value,
            change.bound,
        )  # fmt: skip
    return list(alerts.values())


def _alert(
    rule: str,
    state: str,
    started_at: int,
    resolved_at: int | None,
    metric: str,
    window: str,
    value: float,
    bound: float,
) -> dict[str, Any]:
    return {
        "rule": rule,
        "state": state,
        "started_at": to_text(started_at),
        "resolved_at": None if resolved_at is None else to_text(resolved_at),
        "metric": metric,
        "window": window,
        "value": value,
        "bound": bound,
    }
