"""What differs between databases: the same few functions, in one file for each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.engine import URL

from storage import sqlite
from storage.errors import StorageError


class Dialect(Protocol):
    """What ``storage/sqlite.py`` and ``storage/postgresql.py`` offer."""

    READS: Mapping[str, Any]
    """Execution options of a transaction that reads: one consistent view."""
    WRITES: Mapping[str, Any]
    """And of one that writes."""
    ERRORS: tuple[type[BaseException], ...]
    """What the driver raises by itself."""

    def connect(self, url: URL) -> Engine:
        """An engine whose transactions begin when SQLAlchemy says so, DDL included."""

    def place_of(self, url: URL) -> str:
        """What errors call the database: no password in it."""

    def explain(self, error: BaseException, place: str, path: Path | None) -> StorageError:
        """The driver's error with place and remedy; ``path`` is the database's file, if it is one."""

    def refuse_unfit(self, connection: Connection, place: str) -> None:
        """Raise UnsupportedUrl for a server that riverd can't store on."""

    def migrate_alone(self, connection: Connection) -> None:
        """Wait until no other process migrates, until this transaction ends."""

    def sever(self, engine: Engine) -> None:
        """Cut all connections, so that no thread waits for the server any longer."""


def dialect_of(name: str) -> Dialect | None:
    """The dialect for this backend of SQLAlchemy's, or None if riverd can't store there."""
    if name == "sqlite":
        return sqlite
    if name == "postgresql":
        from storage import postgresql  # only here: it needs a driver that may not be installed

        return postgresql
    return None


def insert(connection: Connection, table: Table) -> Insert:
    """An INSERT that knows ON CONFLICT, which SQLAlchemy spells once per database, with the same methods."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)  # pyrefly: ignore
    return Insert(table)
