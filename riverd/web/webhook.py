"""What an Alertmanager posts to ``/api/retrain``: its webhook's JSON, version 4."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec

from riverd.screen.notation import plain

VERSION = "4"
MAX_BYTES = 1 << 20
MAX_FIRING = 500
NAMED, NAME_LENGTH = 3, 60  # of the alerts, in a reason

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
EXAMPLE = {
    "version": VERSION,
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "SalesFell"},
            "startsAt": "2026-11-27T08:00:00Z",
            "fingerprint": "8c1f0e6a5d3b2947",
        }
    ],
}


class NotOurs(msgspec.Struct):
    """What is wrong with a body, for whoever sent it."""

    code: int
    detail: str


class Firing(msgspec.Struct, frozen=True):
    """The alerts of a body that fire."""

    keys: list[str]  # of each, once: the same whenever Alertmanager repeats it
    arguments: dict[str, Any]  # of the request that all of them make


class _Alert(msgspec.Struct):
    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    fingerprint: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9._-]{1,64}\Z")]
    starts_at: Annotated[datetime, msgspec.Meta(tz=True)] = msgspec.field(name="startsAt")


class _Versioned(msgspec.Struct):
    version: str


class _Payload(msgspec.Struct):
    alerts: list[_Alert]


def read_webhook(body: bytes) -> Firing | NotOurs:
    """The alerts that fire, or why the body can't be used. Other fields are nobody's concern here."""
    try:
        version = msgspec.json.decode(body, type=_Versioned).version
        if version != VERSION:
            return NotOurs(422, f'version: "{plain(version[:20])}" is not known; riverd reads version "{VERSION}"')
        alerts = msgspec.json.decode(body, type=_Payload).alerts
    except msgspec.ValidationError as error:
        return NotOurs(422, _explain(str(error)))
    except (msgspec.DecodeError, RecursionError) as error:
        return NotOurs(400, f"the body is not JSON: {error}")
    firing = [alert for alert in alerts if alert.status == "firing"]
    if len(firing) > MAX_FIRING:
        return NotOurs(422, f"alerts: {len(firing):,} fire, more than {MAX_FIRING}; set max_alerts in Alertmanager")
    arguments = {"trigger": "alertmanager", "reason": _reason(firing)}
    return Firing([*dict.fromkeys(map(_key, firing))], arguments)


def _key(alert: _Alert) -> str:
    started_us = (alert.starts_at - EPOCH) // MICROSECOND
    return f"alertmanager/{alert.fingerprint}/{started_us}"


def _reason(firing: list[_Alert]) -> str:
    names = [*dict.fromkeys(plain(alert.labels.get("alertname", "an alert"))[:NAME_LENGTH] for alert in firing)]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"Alertmanager: {', '.join(names[:NAMED])}{more}"


def _explain(fault: str) -> str:
    """msgspec's message, with the field in front: ``alerts[0].startsAt: Expected `str`, got `int```."""
    what, _, path = fault.partition(" - at `")
    field = re.sub(r"^\$\.?", "", path.rstrip("`"))
    return f"{field or 'the body'}: {what}"
