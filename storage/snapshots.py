"""Immutable versions of the model: what is promoted, rolled back to and explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import index
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, func, insert, select

from storage.blocks import sha256_of
from storage.errors import DamagedBlob, NoSuchSnapshot
from storage.large import read_large
from storage.tables import snapshots

KEEP = 48


@dataclass(frozen=True, slots=True)
class NewSnapshot:
    """A snapshot to be taken with a checkpoint."""

    watermark: int  # event time in microseconds up to which it has learned
    reason: str
    lineage: Mapping[str, Any]  # JSON-able: where it comes from
    data: bytes
    promoted: bool = False
    line: str | None = None  # of which model it is, as "retrain 3"; None: of the one that serves
    parent: int | str | None = None  # its number, or that of whose line it is the newest; None: of its own


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known of a stored snapshot without reading its data."""

    number: int
    created_at: int  # wall clock, microseconds
    checkpoint: int
    watermark: int
    reason: str
    lineage: dict[str, Any]
    sha256: str
    promoted_at: int | None = None  # wall clock; None: it never was


def write_snapshot(connection: Connection, model: str, snapshot: NewSnapshot, *, checkpoint: int, at: int) -> int:
    """Store it under the next number, which is returned."""
    of_model = select(snapshots.c.number).where(snapshots.c.model == model).order_by(snapshots.c.number.desc()).limit(1)
    connection.scalar(of_model.with_for_update())  # an import and a checkpoint at once: one waits for the other
    number = (connection.scalar(of_model) or 0) + 1
    parent = snapshot.parent
    if not isinstance(parent, int):
        line = snapshot.line if parent is None else parent
        parent = connection.scalar(of_model.where(snapshots.c.line == line))  # no line: IS NULL
    connection.execute(
        insert(snapshots).values(
            model=model,
            number=number,
            created_at=at,
            checkpoint=checkpoint,
            watermark=index(snapshot.watermark),
            reason=snapshot.reason,
            lineage=msgspec.json.encode({**snapshot.lineage, "parent": parent}).decode(),
            sha256=sha256_of(snapshot.data),
            data=snapshot.data,
            promoted_at=at if snapshot.promoted else None,
            line=snapshot.line,
        )
    )
    return number


def prune_snapshots(connection: Connection, model: str, *, keep: int = KEEP) -> list[int]:
    """Keep the newest ``keep``, those that were promoted, and what any of these goes on from; return those deleted."""
    query = select(snapshots.c.number, snapshots.c.promoted_at, snapshots.c.lineage)
    rows = connection.execute(query.where(snapshots.c.model == model).order_by(snapshots.c.number.desc())).all()
    lineages = {row.number: msgspec.json.decode(row.lineage, type=dict[str, Any]) for row in rows}
    kept = {row.number for place, row in enumerate(rows) if place < keep or row.promoted_at is not None}
    in_use = {lineages[number].get(of) for number in kept for of in ("parent", "start")}
    gone = sorted(lineages.keys() - kept - in_use)
    if gone:
        connection.execute(delete(snapshots).where(snapshots.c.model == model, snapshots.c.number.in_(gone)))
    return gone


def read_snapshots(connection: Connection, model: str) -> list[Snapshot]:
    """Return all of them, the newest first."""
    columns = [column for column in snapshots.c if column.name not in ("model", "data")]
    query = select(*columns).where(snapshots.c.model == model).order_by(snapshots.c.number.desc())
    return [
        Snapshot(
            number=row.number,
            created_at=row.created_at,
            checkpoint=row.checkpoint,
            watermark=row.watermark,
            reason=row.reason,
            lineage=msgspec.json.decode(row.lineage, type=dict[str, Any]),
            sha256=row.sha256,
            promoted_at=row.promoted_at,
        )
        for row in connection.execute(query)
    ]


def read_snapshot_data(connection: Connection, model: str, number: int) -> bytes:
    """Return the bytes of one snapshot, checked."""
    this = (snapshots.c.model == model, snapshots.c.number == number)
    sha256 = connection.scalar(select(snapshots.c.sha256).where(*this))
    if sha256 is None:
        numbers = select(func.min(snapshots.c.number), func.max(snapshots.c.number)).where(snapshots.c.model == model)
        first, last = connection.execute(numbers).one()
        kept = "none was taken yet" if first is None else f"kept are {first} to {last}"
        raise NoSuchSnapshot(f"{model} has no snapshot {number}: {kept}.")
    data = read_large(connection, snapshots.c.data, *this)
    if data is None or sha256_of(data) != sha256:
        raise DamagedBlob(f"{model}: snapshot {number} does not match its sha256.\n  Use another one.")
    return data
