"""An open database with the tables in place, and its two kinds of transaction."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from storage import sqlite
from storage.errors import NewerSchema, UnsupportedUrl
from storage.tables import REVISIONS


@dataclass(frozen=True, slots=True)
class Database:
    """Hands out transactions; any thread may ask, each gets a connection of its own.

    Parameters
    ----------
    engine
        SQLAlchemy's pool of connections.
    path
        The file, or None for a database in memory.
    turn
        Held during a transaction. In memory there is one connection, so threads take turns.
    """

    engine: Engine
    path: Path | None
    turn: AbstractContextManager[object]

    @property
    def place(self) -> str:
        """What errors call it."""
        return str(self.path) if self.path else "the database in memory"

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """One consistent view, which waits for nobody."""
        with sqlite.explained(self.place, self.path), self.turn, self.engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Generator[Connection]:
        """All or nothing: commits at the end, rolls back on any error."""
        with sqlite.explained(self.place, self.path), self.turn, self.engine.connect() as connection:
            connection.execution_options(**{sqlite.WRITES: True})
            with connection.begin():
                yield connection

    def close(self) -> None:
        self.engine.dispose()


def open_database(url: str) -> Database:
    """Open the database, creating and migrating it as needed.

    Parameters
    ----------
    url
        ``sqlite:///riverd.db`` (relative), ``sqlite:////var/lib/riverd.db`` (absolute) or ``sqlite://``
        (in memory, gone when closed).

    Raises
    ------
    UnsupportedUrl, CannotOpen, NotADatabase, NewerSchema
        The message says what to change.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UnsupportedUrl(
            f'[storage] url "{url}" is not a URL.\n  Write "sqlite:///riverd.db": three slashes, then the path.'
        ) from None
    if parsed.get_backend_name() != "sqlite":
        raise UnsupportedUrl(
            f'[storage] url "{parsed.render_as_string()}": this riverd stores in SQLite only.\n'
            '  Write "sqlite:///riverd.db".'
        )
    path = sqlite.file_of(parsed)
    turn = threading.RLock() if path is None else nullcontext()
    database = Database(engine=sqlite.connect(parsed), path=path, turn=turn)
    try:
        _bring_up_to_date(database)
    except BaseException:
        database.close()
        raise
    return database


def _bring_up_to_date(database: Database) -> None:
    with database.reading() as connection:
        current = _revision(connection, database.place)
    if current != REVISIONS[-1]:
        with database.writing() as connection:  # whoever comes second waits here, and Alembic finds it done
            _migrate(connection)


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


def _migrate(connection: Connection) -> None:
    # 0.3 s, so only when there is something to migrate
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(Path(__file__).with_name("migrations")))

    def steps(current: Any, _: object) -> Any:
        return scripts._upgrade_revs("head", current)  # what its own upgrade command calls

    # within our transaction: Alembic neither begins nor commits one of its own
    context = MigrationContext.configure(connection=connection, opts={"fn": steps})
    with Operations.context(context):
        context.run_migrations()
