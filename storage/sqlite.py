"""Everything that is SQLite's own: connecting, locking, and what its errors mean."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event
from sqlalchemy.engine import URL

from storage.errors import (
    CannotOpen,
    DamagedDatabase,
    DatabaseBusy,
    DiskFailed,
    DiskFull,
    NotADatabase,
    ReadOnly,
    StorageError,
)

BUSY_TIMEOUT_S = 30.0
READS: Mapping[str, Any] = {}
WRITES: Mapping[str, Any] = {"writes": True}
ERRORS: tuple[type[BaseException], ...] = (sqlite3.Error,)

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # a committed checkpoint survives a power cut
    "PRAGMA foreign_keys = ON",
    "PRAGMA journal_size_limit = 67108864",  # a huge first checkpoint must not leave a huge log behind
)


def file_of(url: URL) -> Path | None:
    """Return the absolute path of the database file, or None for a database in memory."""
    if not url.database or url.database == ":memory:":
        return None
    # resolved, so that two names of one file share one lock, and chdir changes nothing
    return Path(url.database).resolve()


def place_of(url: URL) -> str:
    return str(file_of(url) or "the database in memory")


def connect(url: URL) -> Engine:
    """Return an engine whose transactions begin when SQLAlchemy says so, DDL included."""
    path = file_of(url)
    if path is None:
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        engine = create_engine(url.set(database=str(path)), connect_args={"timeout": BUSY_TIMEOUT_S})

    def prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # transactions begin below and nowhere else
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    def begin(connection: Connection) -> None:
        # a writer that began as a reader could not wait for another writer: it would fail at once
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def refuse_unfit(connection: Connection, place: str) -> None:
    """Nothing to do: the library comes with Python."""


def migrate_alone(connection: Connection) -> None:
    """Nothing to do: there is one writer at a time."""


def sever(engine: Engine) -> None:
    """Nothing to do: there is no server to wait for."""


def explain(error: BaseException, place: str, path: Path | None) -> StorageError:
    """The driver's error as one that names ``place`` and the remedy."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        free = f" ({shutil.disk_usage(path.parent).free / 1e6:,.0f} MB free)" if path else ""
        return DiskFull(
            f"{place}: the disk is full{free}.\n"
            "  Nothing was half written, the last checkpoint stands.\n"
            "  Free some space: the next checkpoint makes up for it."
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return DatabaseBusy(
            f"{place}: another process has kept the database locked for {BUSY_TIMEOUT_S:g} s.\n"
            f"  Find it (fuser -v {place}) and close it: a backup, or an open sqlite3 shell in a transaction."
        )
    if name.startswith("SQLITE_NOTADB"):
        return NotADatabase(
            f"{place} is not a SQLite database.\n"
            "  Give [storage] url another path, or move this file away and riverd makes a new one."
        )
    if name.startswith("SQLITE_CORRUPT"):
        return DamagedDatabase(
            f"{place}: the database file is damaged ({error}).\n"
            "  Restore it from a backup, or move it away and let riverd learn the stream anew."
        )
    if name.startswith("SQLITE_READONLY"):
        return ReadOnly(
            f"{place}: the database is read-only ({error}).\n"
            "  riverd must be able to write the file and its folder: check owner, permissions and mount options."
        )
    if name.startswith("SQLITE_CANTOPEN"):
        return cannot_open(path, str(error))
    if name.startswith("SQLITE_IOERR"):
        return DiskFailed(
            f"{place}: the disk reported an error ({name}: {error}).\n"
            "  Look at the system's log (dmesg); keep a copy of the file before going on."
        )
    return StorageError(f"{place}: {error} ({name or type(error).__name__}).")


def cannot_open(path: Path | None, why: str) -> CannotOpen:
    """Say why the file at ``path`` cannot be opened or created."""
    if path is None:
        return CannotOpen(f"the database in memory cannot be opened: {why}.")
    if path.is_dir():
        return CannotOpen(f"{path} is a folder, not a database file.\n  Give [storage] url the path of a file.")
    if path.parent.is_dir():
        return CannotOpen(f"{path} cannot be opened: {why}.\n  Check owner and permissions of the file and its folder.")
    missing = next(folder for folder in (path, *path.parents) if folder.parent.exists())
    if missing.parent.is_dir():
        return CannotOpen(f"{path}: the folder {missing} does not exist.\n  Create it:  mkdir -p '{path.parent}'")
    return CannotOpen(
        f"{path} cannot be created: {missing.parent} is a file, not a folder.\n  Give [storage] url another path."
    )
