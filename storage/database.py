"""An open database with the tables in place, and its two kinds of transaction."""

from __future__ import annotations

import re
import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from storage import sqlite
from storage.dialect import Dialect, dialect_of
from storage.errors import NewerSchema, UnsupportedUrl
from storage.tables import REVISIONS


@dataclass(frozen=True, slots=True)
class Database:
    """Hands out transactions; any thread may ask, each gets a connection of its own.

    Parameters
    ----------
    engine
        SQLAlchemy's pool of connections.
    dialect
        What is this kind of database's own.
    place
        What errors call it.
    path
        The file of SQLite's, or None: in memory, or on a server.
    turn
        Held during a transaction. In memory there is one connection, so threads take turns.
    """

    engine: Engine
    dialect: Dialect
    place: str
    path: Path | None
    turn: AbstractContextManager[object]

    @property
    def on_server(self) -> bool:
        """Whether other machines may use it too, so that a lock of this one's kernel decides nothing."""
        return self.engine.dialect.name == "postgresql"

    @contextmanager
    def explained(self) -> Generator[None]:
        """Raise the driver's errors as a StorageError that names the place and the remedy."""
        try:
            yield
        except DBAPIError as error:
            raise self.dialect.explain(error.orig or error, self.place, self.path) from error
        except self.dialect.ERRORS as error:  # while connecting
            raise self.dialect.explain(error, self.place, self.path) from error

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """One consistent view, which waits for nobody."""
        with self.explained(), self.turn, self.engine.connect() as connection:
            connection.execution_options(**self.dialect.READS)
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Generator[Connection]:
        """All or nothing: commits at the end, rolls back on any error."""
        with self.explained(), self.turn, self.engine.connect() as connection:
            connection.execution_options(**self.dialect.WRITES)
            with connection.begin():
                yield connection

    def sever(self) -> None:
        """Cut all connections to a server: whoever waits for it, in whatever thread, gets an error."""
        self.dialect.sever(self.engine)

    def close(self) -> None:
        self.engine.dispose()


def open_database(url: str | URL) -> Database:
    """Open the database, creating and migrating it as needed.

    Parameters
    ----------
    url
        ``sqlite:///riverd.db`` (relative), ``sqlite:////var/lib/riverd.db`` (absolute), ``sqlite://``
        (in memory, gone when closed) or ``postgresql+psycopg://user@host/database``.

    Raises
    ------
    UnsupportedUrl, CannotOpen, NotADatabase, NewerSchema
        The message says what to change.
    """
    database = connect(url)
    try:
        _bring_up_to_date(database)
    except BaseException:
        database.close()
        raise
    return database


def connect(url: str | URL) -> Database:
    """A database in which nothing was looked at yet: it may be empty, old or newer, or not be there at all.

    Raises
    ------
    UnsupportedUrl
        No database that riverd can use.
    """
    parsed = parse_url(url)
    dialect = dialect_of(parsed.get_backend_name())
    if dialect is None:
        raise UnsupportedUrl(
            f'[storage] url "{parsed.render_as_string()}": riverd stores in SQLite or PostgreSQL.\n'
            '  Write "sqlite:///riverd.db" or "postgresql+psycopg://user@host/database".'
        )
    path = sqlite.file_of(parsed) if dialect is sqlite else None
    turn = threading.RLock() if dialect is sqlite and path is None else nullcontext()
    return Database(dialect.connect(parsed), dialect, dialect.place_of(parsed), path, turn)


def parse_url(url: str | URL) -> URL:
    """Take a URL apart; raises UnsupportedUrl, without telling a password that may be in it."""
    try:
        return make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        shown = re.sub(r"[^/@]*@", "***@", str(url))  # what stands before the @ may hold a password
        raise UnsupportedUrl(
            f'[storage] url "{shown}" is not a URL.\n  Write "sqlite:///riverd.db": three slashes, then the path; '
            'or "postgresql+psycopg://user@host/database".'
        ) from None


def _bring_up_to_date(database: Database) -> None:
    with database.reading() as connection:
        database.dialect.refuse_unfit(connection, database.place)
        current = _revision(connection, database.place)
    if current != REVISIONS[-1]:
        from storage.migration import migrate  # 0.3 s, so only when there is something to migrate

        with database.writing() as connection:
            database.dialect.migrate_alone(connection)  # whoever comes second waits here, and Alembic finds it done
            migrate(connection)


def _revision(connection: Connection, place: str) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if found is not None and found not in REVISIONS:
        raise NewerSchema(
            f"{place} has tables of version {found}; this riverd knows versions up to {REVISIONS[-1]}.\n"
            "  A newer riverd wrote it: upgrade riverd, or give [storage] url another database."
        )
    return found
