"""An alert in the JSON of Alertmanager: the webhook's version 4, and what ``/api/v2/alerts`` takes.

Labels are the alert's identity, so there is never a value among them. Times are those of the wall clock, which is
what such receivers reckon with; the event time stands in the annotations.

Reference: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from riverd.alert_checks import BEFORE_ALL_TIMES
from riverd.screen.notation import figure
from storage.outbox import Notice, Pending
from stream.records import MICROSECONDS, AlertChange
from stream.timestamps import to_text

NEVER = "0001-01-01T00:00:00Z"  # Go's zero time: it has not ended
REPEATED_EVERY_S = 60.0
LIVES_US = 300 * MICROSECONDS  # an alert that nobody repeats is over after this; Prometheus gives it four repeats

Json = dict[str, Any]


def notice_of(change: AlertChange, channel: str) -> Notice:
    """What the outbox keeps of a change for one channel: its facts, from which each channel makes its own words."""
    return Notice(change.rule, change.started_at, change.state, channel, msgspec.json.encode(change))


def change_of(notice: Notice) -> AlertChange:
    """The change that a notice tells of; an undefined value is NaN again."""
    facts = msgspec.json.decode(notice.body)
    undefined = float("nan")
    return AlertChange(**facts | {name: undefined for name in ("value", "bound") if facts[name] is None})


def webhook_message(pending: Pending, model: str, *, external_url: str) -> Json:
    """The body of a webhook of version 4 for one notice."""
    change = change_of(pending.notice)
    labels, annotations = _labels(change, model), _annotations(change)
    group = {"alertname": change.rule, "model": model}
    over = change.state == "resolved"
    alert = {
        "status": change.state,
        "labels": labels,
        "annotations": annotations,
        "startsAt": _moment(pending.began_at),
        "endsAt": _moment(pending.created_at) if over else NEVER,
        "generatorURL": _status_url(external_url),
        "fingerprint": fingerprint(labels),
    }
    return {
        "version": "4",
        "groupKey": "{}:{" + ", ".join(f'{name}="{value}"' for name, value in group.items()) + "}",
        "truncatedAlerts": 0,
        "status": change.state,
        "receiver": "riverd",
        "groupLabels": group,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": external_url,
        "alerts": [alert],
    }


def api_alerts(told: Sequence[Pending], model: str, *, now_us: int, external_url: str) -> list[Json]:
    """The list for ``POST /api/v2/alerts``: what fires ends in five minutes unless it is sent again before."""
    alerts: list[Json] = []
    for pending in told:
        change = change_of(pending.notice)
        ends_at = pending.created_at if change.state == "resolved" else now_us + LIVES_US
        alerts.append(
            {
                "labels": _labels(change, model),
                "annotations": _annotations(change),
                "startsAt": _moment(pending.began_at),
                "endsAt": _moment(ends_at),
                "generatorURL": _status_url(external_url),
            }
        )
    return alerts


def _labels(change: AlertChange, model: str) -> dict[str, str]:
    return {"alertname": change.rule, "model": model, "severity": change.severity}


def _annotations(change: AlertChange) -> dict[str, str]:
    return {
        "summary": sentence(change),
        "metric": change.metric,
        "window": change.window,
        "value": f"{change.value:.6g}",
        "bound": f"{change.bound:.6g}",
        "event_time": to_text(change.at),
        "event_time_started": to_text(change.started_at),
    }


def sentence(change: AlertChange) -> str:
    """The change in one line.

    Examples
    --------
    >>> day = 86_400_000_000
    >>> sentence(AlertChange("loss", "firing", day, day, "logloss", "1d", 0.7123, 0.6, "warning"))
    'loss fires: logloss over 1d is 0.7123, bound 0.6000, at 1970-01-02T00:00:00Z of event time'
    """
    word = "fires" if change.state == "firing" else "is over"
    reading = f"{change.metric} over {change.window} is {figure(change.value)}, bound {figure(change.bound)}"
    when = "before any event time" if change.at == BEFORE_ALL_TIMES else f"at {to_text(change.at)} of event time"
    return f"{change.rule} {word}: {reading}, {when}"


def fingerprint(labels: Mapping[str, str]) -> str:
    """Alertmanager's own: 64-bit FNV-1a over the sorted labels, each name and value closed by a byte 0xff.

    Examples
    --------
    >>> labels = {"feature": "hour", "model": "ctr", "severity": "warning"}
    >>> fingerprint({"alertname": "RiverFeatureDrift", **labels})
    '69d0c71676937676'
    """
    state = 0xCBF29CE484222325
    for name in sorted(labels):
        for byte in b"%b\xff%b\xff" % (name.encode(), labels[name].encode()):
            state = (state ^ byte) * 0x100000001B3 % 2**64
    return f"{state:016x}"


def _status_url(external_url: str) -> str:
    return f"{external_url}/status" if external_url else ""


def _moment(time_us: int) -> str:
    return datetime.fromtimestamp(time_us // MICROSECONDS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
