"""Every decision about retraining, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select

from storage.tables import retrains

KEEP = 10_000


@dataclass(frozen=True, slots=True)
class Decision:
    """One of them: what was decided of a retrain, or of the model that serves, and why."""

    decision: str  # "started" | "refused" | "in shadow" | "promoted" | "rejected" | "failed" | "rolled back"
    reason: str
    at: int | None  # event time, microseconds; None before the first record
    retrain: int | None = None  # the number of the retrain
    details: Mapping[str, Any] = field(default_factory=dict)  # JSON-able


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A decision, as it is stored."""

    number: int
    created_at: int  # wall clock, microseconds
    decision: Decision


def write_decisions(
    connection: Connection, model: str, decisions: Sequence[Decision], *, checkpoint: int, at: int
) -> None:
    """Append them; the newest ten thousand are kept."""
    if not decisions:
        return
    connection.execute(
        insert(retrains),
        [
            {
                "model": model,
                "checkpoint": checkpoint,
                "retrain": each.retrain,
                "created_at": at,
                "at": each.at,
                "decision": each.decision,
                "reason": each.reason,
                "details": msgspec.json.encode(each.details).decode(),
            }
            for each in decisions
        ],
    )
    numbers = select(retrains.c.number).where(retrains.c.model == model).order_by(retrains.c.number.desc())
    last = connection.scalar(numbers.limit(1).offset(KEEP))
    if last is not None:
        connection.execute(delete(retrains).where(retrains.c.model == model, retrains.c.number <= last))


def read_decisions(connection: Connection, model: str, *, limit: int | None = None) -> list[StoredDecision]:
    """Return the newest ``limit`` of them, or all, the newest first."""
    query = select(retrains).where(retrains.c.model == model).order_by(retrains.c.number.desc()).limit(limit)
    return [
        StoredDecision(
            number=row.number,
            created_at=row.created_at,
            decision=Decision(
                decision=row.decision,
                reason=row.reason,
                at=row.at,
                retrain=row.retrain,
                details=msgspec.json.decode(row.details, type=dict[str, Any]),
            ),
        )
        for row in connection.execute(query)
    ]
