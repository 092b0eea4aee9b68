"""A look at a database from outside: nothing is created, migrated or locked."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, NullPool, create_engine, func, inspect, select, text
from sqlalchemy.engine import URL

from storage import sqlite
from storage.database import Database, connect
from storage.file_lease import lock_file
from storage.history import Figures, read_history
from storage.tables import alerts, blocks, checkpoints, dead_letters, leases, snapshots
from storage.timed_lease import NOW

LOCKS = Path("/proc/locks")


@dataclass(frozen=True, slots=True)
class CheckpointSeen:
    """One stored checkpoint; ``bytes`` is what was written with it."""

    number: int
    created_at: int  # wall clock, microseconds
    bytes: int


@dataclass(frozen=True, slots=True)
class ModelSeen:
    """What a database holds of one model."""

    checkpoints: list[CheckpointSeen]  # the newest first
    state: bytes | None  # of the newest, unchecked
    blocks_bytes: dict[str, int]  # by kind
    holder: str | None  # of the newest lease, held or not
    running: bool | None  # somebody holds it now; None where that can't be told
    snapshots: int
    snapshots_bytes: int
    dead_letters: int
    newest_dead_letter_at: int | None
    firing: list[str]  # rules


@dataclass(frozen=True, slots=True)
class DatabaseSeen:
    """A database and what it holds of one model, None if it has no tables yet."""

    place: str  # as errors call it: a path, or a URL without password
    server: str | None  # "PostgreSQL 15.18"; None for a file
    bytes: int  # of a file with its log
    schema: str | None
    model: ModelSeen | None


def inspect_database(url: str | URL, model: str) -> DatabaseSeen | None:
    """Look at a database, or return None if its file does not exist.

    Raises
    ------
    StorageError
        It can't be read; the subclass and the message say why.
    """
    database = connect(url)
    try:
        if not database.on_server and (database.path is None or not database.path.exists()):
            return None
        with reading(database) as connection:
            return _database(database, connection, model)
    finally:
        database.close()


def read_stored_history(url: str | URL, model: str) -> list[Figures]:
    """The history of metrics in the order of event time; none if there is no database, or nothing of the model.

    Raises
    ------
    StorageError
        It can't be read.
    """
    database = connect(url)
    try:
        if not database.on_server and (database.path is None or not database.path.exists()):
            return []
        with reading(database) as connection:
            if "metric_history" not in inspect(connection).get_table_names():
                return []
            return read_history(connection, model)
    finally:
        database.close()


@contextmanager
def reading(database: Database) -> Generator[Connection]:
    """A connection to an existing database that can only read."""
    if database.path is None:
        with database.reading() as connection:
            connection.execute(text("SET TRANSACTION READ ONLY"))
            yield connection
        return
    uri = f"file:{quote(str(database.path))}?mode=ro"
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(uri, uri=True, timeout=sqlite.BUSY_TIMEOUT_S, check_same_thread=False),
        poolclass=NullPool,
    )
    try:
        with database.explained(), engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _database(database: Database, connection: Connection, model: str) -> DatabaseSeen:
    server = None
    if database.path is not None:
        files = database.path, database.path.with_name(f"{database.path.name}-wal")
        size = sum(file.stat().st_size for file in files if file.exists())
    else:
        server = f"PostgreSQL {connection.scalar(text('SHOW server_version'))}"
        size = connection.scalar(text("SELECT pg_database_size(current_database())")) or 0
    tables = set(inspect(connection).get_table_names())
    versioned = "alembic_version" in tables
    schema = connection.scalar(text("SELECT version_num FROM alembic_version")) if versioned else None
    seen = _model(connection, database, model) if schema is not None and "checkpoints" in tables else None
    return DatabaseSeen(database.place, server, size, schema, seen)


def _model(connection: Connection, database: Database, model: str) -> ModelSeen:
    mine = select(checkpoints.c.number, checkpoints.c.created_at, func.length(checkpoints.c.state).label("size"))
    rows = connection.execute(
        mine.where(checkpoints.c.model == model).order_by(checkpoints.c.number.desc())
    ).all()  # fmt: skip
    by_checkpoint = _sizes(connection, model, blocks.c.checkpoint)
    state = None
    if rows:
        newest = checkpoints.c.number == rows[0].number
        state = connection.scalar(select(checkpoints.c.state).where(checkpoints.c.model == model, newest))
    taken, taken_bytes = connection.execute(
        select(func.count(), func.coalesce(func.sum(func.length(snapshots.c.data)), 0)).where(
            snapshots.c.model == model
        )
    ).one()
    letters, newest_at = connection.execute(
        select(func.count(), func.max(dead_letters.c.at)).where(dead_letters.c.model == model)
    ).one()
    firing = select(alerts.c.rule).where(alerts.c.model == model, alerts.c.state == "firing")
    return ModelSeen(
        checkpoints=[
            CheckpointSeen(row.number, row.created_at, row.size + by_checkpoint.get(row.number, 0)) for row in rows
        ],
        state=state,
        blocks_bytes=_sizes(connection, model, blocks.c.kind),
        holder=connection.scalar(select(leases.c.holder).where(leases.c.model == model)),
        running=_is_renewed(connection, model)
        if database.path is None
        else _is_locked(lock_file(database.path, model)),
        snapshots=taken,
        snapshots_bytes=taken_bytes,
        dead_letters=letters,
        newest_dead_letter_at=newest_at,
        firing=sorted(connection.scalars(firing)),
    )


def _sizes(connection: Connection, model: str, by: Any) -> dict[Any, int]:
    size = func.coalesce(func.sum(func.length(blocks.c.data)), 0)
    rows = connection.execute(select(by, size).where(blocks.c.model == model).group_by(by))
    return {key: total for key, total in rows}  # noqa: C416 - rows are not quite tuples


def _is_renewed(connection: Connection, model: str) -> bool:
    return bool(connection.scalar(select(leases.c.expires_at > NOW).where(leases.c.model == model)))


def _is_locked(lock: Path) -> bool | None:
    """Whether a process holds the lock, read from the kernel's list: trying it could refuse a daemon that starts."""
    try:
        inode = lock.stat().st_ino
        held = LOCKS.read_text().splitlines()
    except FileNotFoundError:
        return False if LOCKS.exists() else None
    except OSError:
        return None
    return any(
        "FLOCK" in line and line.split()[5].rpartition(":")[2] == str(inode) for line in held if "->" not in line
    )
