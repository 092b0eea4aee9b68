"""The history of alerts: one row per time that a rule fired."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import index

from sqlalchemy import Connection, select

from storage.dialect import insert
from storage.retention import AT_ONCE, delete_some
from storage.tables import alerts
from stream.records import AlertChange

KEEP = 10_000


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as it stood at the last checkpoint; times are event time in microseconds."""

    rule: str
    started_at: int
    state: str  # "firing" | "resolved"
    resolved_at: int | None
    metric: str
    window: str
    value: float  # at the last change
    bound: float
    severity: str


def write_alerts(connection: Connection, model: str, changes: Sequence[AlertChange]) -> None:
    """Apply changes in order. Applying them again changes nothing, so a re-run may."""
    if not changes:
        return
    statement = insert(connection, alerts)
    fresh = {column.name: statement.excluded[column.name] for column in alerts.c if not column.primary_key}
    statement = statement.on_conflict_do_update(index_elements=list(alerts.primary_key), set_=fresh)
    connection.execute(statement, [_row(model, change) for change in changes])


def _row(model: str, change: AlertChange) -> dict[str, object]:
    return {
        "model": model,
        "rule": change.rule,
        "started_at": index(change.started_at),
        "state": change.state,
        "resolved_at": index(change.at) if change.state == "resolved" else None,
        "metric": change.metric,
        "window": change.window,
        "value": _unless_nan(change.value),
        "bound": _unless_nan(change.bound),
        "severity": change.severity,
    }


def _unless_nan(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def prune_alerts(connection: Connection, model: str) -> None:
    """Keep what fires and about the newest 10,000."""
    newest = select(alerts.c.started_at).where(alerts.c.model == model).order_by(alerts.c.started_at.desc())
    delete_some(
        connection,
        alerts,
        alerts.c.model == model,
        alerts.c.state == "resolved",
        alerts.c.started_at <= newest.limit(1).offset(KEEP).scalar_subquery(),
        oldest_first=alerts.c.started_at,
        limit=AT_ONCE,
    )


def read_alerts(connection: Connection, model: str) -> list[Alert]:
    """Return the alerts, the latest to start first."""
    columns = [column for column in alerts.c if column.name != "model"]
    query = select(*columns).where(alerts.c.model == model)
    rows = connection.execute(query).all()  # not sorted there: databases differ in how they sort text
    return [
        Alert(
            rule=row.rule,
            started_at=row.started_at,
            state=row.state,
            resolved_at=row.resolved_at,
            metric=row.metric,
            window=row.window,
            value=math.nan if row.value is None else row.value,
            bound=math.nan if row.bound is None else row.bound,
            severity=row.severity,
        )
        for row in sorted(rows, key=lambda row: (-row.started_at, row.rule))
    ]
