"""Closes the alerts of rules that the config no longer has: nobody would ever resolve them."""

from __future__ import annotations

import logging
from collections.abc import Collection

from sqlalchemy import Connection

from riverd.alert_checks import BUILT_IN_ALERTS, SKEW_RULE
from riverd.config import Config
from riverd.delivery.alertmanager import notice_of
from storage.alerts import Alert, write_alerts
from storage.outbox import KEEP, read_due, read_unresolved, write_outbox
from storage.store import Store
from stream.records import AlertChange
from stream.timestamps import to_text

log = logging.getLogger("riverd")

END_OF_TIME = (1 << 63) - 1


def close_alerts_of_removed_rules(
    store: Store, config: Config, *, firing: Collection[str], watermark: int | None, now_us: int
) -> None:
    """Resolve what fires under a name that is no rule's, in one transaction with telling whoever heard that it fires.

    Parameters
    ----------
    store
        Holds the lease.
    firing
        Alerts of the calibration watch that go on, slices' among them.
    watermark
        Event time that has been reached: the time of the resolution.
    now_us
        The wall clock.
    """
    known = {*BUILT_IN_ALERTS, *firing, *(alert.name for alert in config.alerts)}
    if config.skew is None:
        known.discard(SKEW_RULE)
    removed = [alert for alert in store.alerts() if alert.state == "firing" and alert.rule not in known]
    if not removed:
        return
    changes = [_resolved(alert, watermark) for alert in removed]
    with store.writing() as connection:
        told = {channel: _rules_told(connection, store.model, channel) for channel in config.delivery.channels}
        notices = [
            notice_of(change, channel) for change in changes for channel, rules in told.items() if change.rule in rules
        ]
        write_alerts(connection, store.model, changes)
        write_outbox(connection, store.model, notices, at=now_us)
    for alert in removed:
        log.warning(
            "alert %s is closed: it fired since %s, but the config has no rule of that name any more",
            alert.rule, to_text(alert.started_at),
        )  # fmt: skip


def _resolved(alert: Alert, watermark: int | None) -> AlertChange:
    # the clock of a rule on liveness is the wall's, which may be ahead of event time
    at = alert.started_at if watermark is None else max(watermark, alert.started_at)
    return AlertChange(
        rule=alert.rule,
        state="resolved",
        started_at=alert.started_at,
        at=at,
        metric=alert.metric,
        window=alert.window,
        value=alert.value,
        bound=alert.bound,
        severity=alert.severity,
    )


def _rules_told(connection: Connection, model: str, channel: str) -> set[str]:
    """The rules of which a channel knows, or will hear, that they fire."""
    pending = [
        *read_unresolved(connection, model, channel),
        *read_due(connection, model, channel, at=END_OF_TIME, limit=KEEP),
    ]
    return {each.notice.rule for each in pending}
