"""What somebody asked of the daemon, running or not: retrain, promote, roll back.

A request is open until the checkpoint that holds its effect is written, in the same transaction: after a crash it is
carried out again, never half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, delete, insert, select, update

from storage.tables import requests

KEEP = 10_000  # of those that are done, so that who asks again under their keys is recognised
PART_OF = "part_of"  # argument of a row that is there for its key alone: the number of the request


@dataclass(frozen=True, slots=True)
class Request:
    """One of them, with its outcome once it is done."""

    number: int
    created_at: int  # wall clock, microseconds
    what: str  # "retrain" | "promote" | "rollback"
    arguments: dict[str, Any]
    done_at: int | None
    outcome: str | None


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a request."""

    number: int
    outcome: str


def add_request(
    connection: Connection, model: str, what: str, arguments: Mapping[str, Any], *, keys: Sequence[str] = (), at: int
) -> tuple[int, bool]:
    """Add it, unless all of its ``keys`` are known; return its number, and whether it is new.

    One key that is new makes a request, and all of them are known from then on. If none is, the number is that of
    the request that the first of them belongs to.
    """
    known = {row.key: row for row in connection.execute(_with_keys(model, keys))}
    new = [key for key in dict.fromkeys(keys) if key not in known]
    if keys and not new:
        first = known[keys[0]]
        return _request(first).arguments.get(PART_OF, first.number), False
    values = {"model": model, "created_at": at, "what": what}
    number = connection.scalar(
        insert(requests)
        .values(**values, arguments=_json(arguments), key=new[0] if new else None)
        .returning(requests.c.number)
    )
    assert number is not None
    if new[1:]:
        part = values | {"arguments": _json({PART_OF: number}), "done_at": at, "outcome": f"part of request {number}"}
        connection.execute(insert(requests), [part | {"key": key} for key in new[1:]])
    return number, True


def _with_keys(model: str, keys: Sequence[str]) -> Select[Any]:
    return select(requests).where(requests.c.model == model, requests.c.key.in_(keys))


def _json(arguments: Mapping[str, Any]) -> str:
    return msgspec.json.encode(arguments).decode()


def read_open_requests(connection: Connection, model: str) -> list[Request]:
    """Return those not done yet, the oldest first."""
    query = select(requests).where(requests.c.model == model, requests.c.done_at.is_(None))
    return [_request(row) for row in connection.execute(query.order_by(requests.c.number))]


def read_request(connection: Connection, model: str, number: int) -> Request | None:
    """Return one of them, or None if it is not there."""
    row = connection.execute(
        select(requests).where(requests.c.model == model, requests.c.number == number)
    ).one_or_none()
    return None if row is None else _request(row)


def finish_requests(connection: Connection, model: str, done: Sequence[Done], *, at: int) -> None:
    """Note what became of them; keep the newest ten thousand."""
    for each in done:
        connection.execute(
            update(requests)
            .where(requests.c.model == model, requests.c.number == each.number)
            .values(done_at=at, outcome=each.outcome)
        )
    finished = select(requests.c.number).where(requests.c.model == model, requests.c.done_at.is_not(None))
    last = connection.scalar(finished.order_by(requests.c.number.desc()).limit(1).offset(KEEP))
    if last is not None:
        connection.execute(
            delete(requests).where(
                requests.c.model == model, requests.c.done_at.is_not(None), requests.c.number <= last
            )
        )


def _request(row: Any) -> Request:
    return Request(
        number=row.number,
        created_at=row.created_at,
        what=row.what,
        arguments=msgspec.json.decode(row.arguments, type=dict[str, Any]),
        done_at=row.done_at,
        outcome=row.outcome,
    )
