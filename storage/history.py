"""How metrics went: their values over final windows, one document per window and tick."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from storage.dialect import insert
from storage.retention import AT_ONCE, delete_some
from storage.tables import metric_history

KEEP = 100_000  # documents: more than five years of two windows by the hour


@dataclass(frozen=True, slots=True)
class Figures:
    """The values of metrics over one window, by name; what is undefined is left out."""

    at: int  # event time in microseconds: the end of the window
    window: str  # as configured: "1d"
    kind: str  # "outcomes", "slices", or "traffic", which is known a join window earlier
    values: Mapping[str, float]  # a metric of a field is "null_rate[temp]"
    end: str = "final"


def write_history(connection: Connection, model: str, history: Sequence[Figures]) -> None:
    """Store them. Writing again changes nothing: the same window has the same figures, the last ones stand."""
    if not history:
        return
    statement = insert(connection, metric_history)
    statement = statement.on_conflict_do_update(
        index_elements=list(metric_history.primary_key), set_={"values": statement.excluded["values"]}
    )
    connection.execute(
        statement,
        [
            {
                "model": model,
                "window": figures.window,
                "end": figures.end,
                "kind": figures.kind,
                "at": int(figures.at),
                "values": json.dumps({name: float(value) for name, value in figures.values.items()}),
            }
            for figures in history
        ],
    )


def prune_history(connection: Connection, model: str, *, came_in: int = 0) -> None:
    """Keep about the newest 100,000; what is too much goes in batches, no smaller than what ``came_in``."""
    mine = metric_history.c.model == model
    newest = select(metric_history.c.at).where(mine).order_by(metric_history.c.at.desc())
    too_old = metric_history.c.at <= newest.limit(1).offset(KEEP).scalar_subquery()
    limit = max(AT_ONCE, came_in)
    delete_some(connection, metric_history, mine, too_old, oldest_first=metric_history.c.at, limit=limit)


def read_history(
    connection: Connection,
    model: str,
    *,
    window: str | None = None,
    kind: str | None = None,
    from_us: int | None = None,
) -> list[Figures]:
    """Return the figures in the order of event time: of one window, of one kind, from a time on, or all."""
    table = metric_history.c
    query = select(metric_history).where(table.model == model)
    if window is not None:
        query = query.where(table.window == window)
    if kind is not None:
        query = query.where(table.kind == kind)
    if from_us is not None:
        query = query.where(table.at >= from_us)
    found = [
        Figures(row["at"], row["window"], row["kind"], json.loads(row["values"]), row["end"])
        for row in connection.execute(query).mappings()
    ]
    # not sorted there: databases differ in how they sort text
    return sorted(found, key=lambda figures: (figures.at, figures.window, figures.kind, figures.end))
