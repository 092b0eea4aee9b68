"""What PostgreSQL's errors mean, and what to do about each."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from sqlalchemy.engine import make_url

from storage.errors import (
    AccessDenied,
    CannotOpen,
    ConnectionLost,
    DamagedDatabase,
    DatabaseBusy,
    DiskFailed,
    DiskFull,
    ReadOnly,
    StorageError,
    TooLarge,
    Unreachable,
)


class _Meaning(NamedTuple):
    kind: type[StorageError]
    what: str  # completes "{place}: "
    remedy: str


_STANDS = "Nothing was half written, the last checkpoint stands. "
_AGAIN = "It is tried again; if that does not help, look at the server's log."
_PASSWORD = "Give it in RIVERD_DATABASE_PASSWORD or PGPASSWORD, or in ~/.pgpass (chmod 600)."
_GRANTS = 'Let the database belong to it:  ALTER DATABASE "{database}" OWNER TO "{user}"'
_TOO_MANY = _Meaning(
    DatabaseBusy,
    "the server takes no more connections",
    "End some of the others, or raise max_connections.",
)

# By SQLSTATE, or how it begins; https://www.postgresql.org/docs/current/errcodes-appendix.html
_STATES = {
    "08": _Meaning(ConnectionLost, "the connection was lost", _AGAIN),
    "22021": _Meaning(StorageError, "a text holds a character that can't be stored", "Please report this."),
    "25006": _Meaning(ReadOnly, "the server is read-only, as a standby is", "Let [storage] url name the primary."),
    "25P03": _Meaning(ConnectionLost, "the server ended a transaction of ours that stood still", _AGAIN),
    "28": _Meaning(AccessDenied, "the server does not let user {user} in", _PASSWORD),
    "40001": _Meaning(DatabaseBusy, "another transaction came in between", "It is tried again."),
    "40P01": _Meaning(DatabaseBusy, "this and another transaction waited for each other", "It is tried again."),
    "42501": _Meaning(AccessDenied, "user {user} may not do that", _GRANTS),
    "42P07": _Meaning(
        CannotOpen,
        "another application has a table of that name",
        "Give riverd a database of its own:  createdb --encoding UTF8 riverd",
    ),
    "53100": _Meaning(DiskFull, "the server's disk is full", f"{_STANDS}Free some space there."),
    "53200": _Meaning(DatabaseBusy, "the server is out of memory", f"{_STANDS}{_AGAIN}"),
    "53300": _TOO_MANY,
    "54000": _Meaning(TooLarge, "PostgreSQL takes no values of 1 GB or more", f"{_STANDS}Choose fewer [model] bits."),
    "55P03": _Meaning(
        DatabaseBusy,
        "another session keeps rows of riverd's locked",
        "Find it in pg_stat_activity and end it: perhaps an open transaction in a shell.",
    ),
    "57014": _Meaning(
        DatabaseBusy,
        "the server stopped a statement that took too long",
        f'{_STANDS}Give it more time:\n  ALTER ROLE "{{user}}" SET statement_timeout = 0',
    ),
    "57P": _Meaning(ConnectionLost, "the server is being stopped or started", _AGAIN),
    "58030": _Meaning(
        DiskFailed, "the server's disk reported an error", "Look at the system's log there; copy the data first."
    ),
    "XX000": _Meaning(StorageError, "the server has a fault", "Look at its log, and report it to PostgreSQL."),
    "XX": _Meaning(
        DamagedDatabase,
        "the server finds its data damaged",
        "Restore it from a backup, or let riverd learn the stream anew in a new database.",
    ),
}

# While connecting the driver gives no state, only what was said.
_SAYINGS = {
    "no password supplied": _Meaning(AccessDenied, "user {user} needs a password, and there is none", _PASSWORD),
    "authentication failed": _Meaning(AccessDenied, "the password is wrong, or there is no user {user}", _PASSWORD),
    "role .* does not exist": _Meaning(
        AccessDenied, "there is no user {user}", 'Create it:  createuser --pwprompt "{user}"'
    ),
    "database .* does not exist": _Meaning(
        CannotOpen,
        "there is no such database",
        'Create it:  createdb --owner "{user}" --encoding UTF8 "{database}"',
    ),
    "permission denied for database": _Meaning(AccessDenied, "user {user} may not use it", _GRANTS),
    "no pg_hba.conf entry": _Meaning(
        AccessDenied,
        "the server lets user {user} in from no machine like this one",
        "Add a line to its pg_hba.conf and reload it.",
    ),
    "too many clients|connection slots|too many connections": _TOO_MANY,
    "starting up|shutting down|recovery mode|not yet accepting": _Meaning(
        Unreachable,
        "the server is being started or stopped",
        "Wait until it is up:  pg_isready -h {host} -p {port}",
    ),
    "resolve host|translate host name": _Meaning(
        Unreachable, "no machine has this name", "Correct the host in [storage] url."
    ),
    "SSL|certificate": _Meaning(
        Unreachable,
        "the two sides don't agree on TLS",
        "Say what you want at the end of the URL:  ?sslmode=verify-full&sslrootcert=/path/to/ca.pem",
    ),
}
_NOBODY = _Meaning(
    Unreachable,
    "no PostgreSQL answers there",
    "Start it, or correct [storage] url. Try:  pg_isready -h {host} -p {port}",
)
_LOST = _STATES["08"]
_CONNECTING = ("connection failed", "connection is bad", "failed to resolve", "connection timeout", "Multiple")


def explain_error(error: BaseException, place: str) -> StorageError:
    """The driver's error as one that names ``place`` and the remedy, and quotes what the server said."""
    meaning = _meaning(error)
    said = _said(error)
    if meaning is None:
        return StorageError(f"{place}: {said} ({getattr(error, 'sqlstate', None) or type(error).__name__}).")
    url = make_url(place)
    names = {"user": url.username or "", "database": url.database or "", "host": url.host, "port": url.port or 5432}
    # by name, one after another: what was said may hold braces
    what, remedy = (_filled(part, names) for part in (meaning.what, meaning.remedy))
    return meaning.kind(f"{place}: {what} ({said}).\n  {remedy}")


def _meaning(error: BaseException) -> _Meaning | None:
    state = getattr(error, "sqlstate", None)
    if "invalid memory alloc request size" in str(error):  # a fault in the server's own terms
        state = "54000"
    if state is not None:
        return next((_STATES[state[:n]] for n in (5, 3, 2) if state[:n] in _STATES), None)
    if not type(error).__name__.startswith(("OperationalError", "Connection")):
        return None
    words = str(error)
    if not words.startswith(
        ("connection failed", "connection is bad", "failed to resolve", "connection timeout", "Multiple")
    ):
        return _LOST
    return next((meaning for pattern, meaning in _SAYINGS.items() if re.search(pattern, words)), _NOBODY)


def _said(error: BaseException) -> str:
    diagnosis: Any = getattr(error, "diag", None)
    words = getattr(diagnosis, "message_primary", None) or (str(error).splitlines() or [type(error).__name__])[0]
    return words.rpartition("FATAL:  ")[2].strip().rstrip(".")


def _filled(text: str, names: dict[str, Any]) -> str:
    for name, value in names.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text
