"""Everything that is PostgreSQL's own: connecting, transactions, and cutting connections."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL

from storage.errors import StorageError, UnsupportedUrl
from storage.postgresql_errors import explain_error

try:
    import psycopg
except ImportError as error:
    raise UnsupportedUrl(
        f"[storage] url names PostgreSQL, but its driver can't be used ({error}).\n"
        "  Install it:  pip install 'riverd[postgresql]'"
    ) from None

OLDEST = 13  # major version
DRIVER = "postgresql+psycopg"
READS: Mapping[str, Any] = {"isolation_level": "REPEATABLE READ"}
WRITES: Mapping[str, Any] = {"isolation_level": "READ COMMITTED"}
ERRORS: tuple[type[BaseException], ...] = (psycopg.Error,)
MIGRATING = 0x72697665726400  # "riverd": the key of an advisory lock

CONNECT_TIMEOUT_S = 10
LOCK_TIMEOUT_S = 30
IDLE_TIMEOUT_S = 60  # of a transaction in which nothing happens; a commit's own is shorter, see the lease

_connections: WeakSet[psycopg.Connection[Any]] = WeakSet()


def connect(url: URL) -> Engine:
    """Return an engine that tries a connection before it hands it out, and whose waits all end.

    Raises
    ------
    UnsupportedUrl
        The URL names another driver than psycopg.
    """
    if url.drivername not in ("postgresql", DRIVER):
        raise UnsupportedUrl(
            f'[storage] url "{place_of(url)}" names the driver {url.get_driver_name()}.\n'
            f'  Write "{DRIVER}://user@host/database".'
        )
    settings = {"lock_timeout": LOCK_TIMEOUT_S, "idle_in_transaction_session_timeout": IDLE_TIMEOUT_S}
    options = "".join(f" -c {name}={seconds}s" for name, seconds in settings.items())
    given = url.query.get("options", "")
    own: dict[str, Any] = {
        "application_name": "riverd",
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": 20_000,  # milliseconds
    }
    secrets = {name: url.query[name] for name in ("password", "sslpassword") if name in url.query}
    engine = create_engine(
        url.set(drivername=DRIVER).difference_update_query(secrets),  # where logs and tracebacks may show them
        pool_pre_ping=True,
        hide_parameters=True,  # blobs and messages have no place in an error
        connect_args={name: value for name, value in own.items() if name not in url.query}
        | {"options": f"{given}{options}".strip(), "prepare_threshold": None}
        | secrets,
    )
    event.listen(engine, "connect", _remember)
    return engine


def _remember(connection: psycopg.Connection[Any], _: object) -> None:
    _connections.add(connection)


def place_of(url: URL) -> str:
    """The URL without password and options, as libpq would take it."""
    host = url.host or next(iter(_listed(url.query.get("host"))), None)
    return URL.create(
        "postgresql", username=url.username, host=host or "localhost", port=url.port, database=url.database
    ).render_as_string()


def _listed(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else () if value is None else (value,)


def explain(error: BaseException, place: str, path: Path | None) -> StorageError:  # noqa: ARG001 - SQLite tells of the disk
    """The driver's error as one that names ``place`` and the remedy."""
    return explain_error(error, place)


def refuse_unfit(connection: Connection, place: str) -> None:
    """Raise UnsupportedUrl if the server is older than what riverd was made for, or the database is not in UTF-8."""
    version: tuple[Any, ...] = connection.dialect.server_version_info or (0,)
    if version[0] < OLDEST:
        raise UnsupportedUrl(
            f"{place} is PostgreSQL {'.'.join(map(str, version))}; riverd needs {OLDEST} or newer.\n"
            "  Upgrade the server (pg_upgrade), or give [storage] url another one."
        )
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise UnsupportedUrl(
            f"{place} has the encoding {encoding}, which does not hold every text.\n"
            "  Make a new database:  createdb --encoding UTF8 --template template0 riverd"
        )


def migrate_alone(connection: Connection) -> None:
    """Wait until no other process migrates, until this transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATING})


def sever(engine: Engine) -> None:
    """Cut all connections of this process and make no more, so that no thread waits for the server any longer."""
    if not event.contains(engine, "do_connect", _refuse):
        event.listen(engine, "do_connect", _refuse)
    for connection in list(_connections):
        if not connection.closed:
            with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as shared:
                shared.shutdown(socket.SHUT_RDWR)


def _refuse(*_: object) -> None:
    raise psycopg.OperationalError("connection failed: this process has given up its connections")
