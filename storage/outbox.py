"""Messages to be delivered: written with the checkpoint that they tell of, kept until a receiver has taken them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Exists, Row, Select, exists, func, or_, select, update

from storage.dialect import insert
from storage.retention import AT_ONCE, delete_some
from storage.storable import storable
from storage.tables import outbox

KEEP = 10_000  # messages, delivered or not: a receiver that is gone for good must not fill the disk


@dataclass(frozen=True, slots=True)
class Notice:
    """A change of an alert that one channel has to be told of."""

    rule: str
    started_at: int  # event time; with the rule, the alert's identity
    state: str  # "firing" | "resolved"
    channel: str
    body: bytes  # JSON, as the channel understands it

    def id(self, model: str) -> str:
        """The same however often the notice is written or delivered, so that a receiver can tell it again.

        Examples
        --------
        >>> Notice("loss", 10, "firing", "webhook", b"{}").id("late-flights")
        'cf5a4950e919bafc9112d99e0327cd24'
        """
        identity = "\0".join((model, self.rule, str(self.started_at), self.state, self.channel))
        return hashlib.sha256(identity.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Pending:
    """A notice as it lies in the outbox; ``created_at`` and ``began_at`` are wall-clock microseconds."""

    number: int  # in the order of writing
    id: str
    notice: Notice
    created_at: int
    began_at: int  # when the alert's firing was written
    attempts: int  # at which it was refused, or taken


@dataclass(frozen=True, slots=True)
class Backlog:
    """What one channel has still to be told."""

    waiting: int
    oldest_at: int | None  # wall clock at which the oldest of it was written


def write_outbox(connection: Connection, model: str, notices: Sequence[Notice], *, at: int) -> None:
    """Put notices in, due at once. One that is or was there already, told by its id, stays as it is."""
    for notice in notices:
        connection.execute(
            insert(connection, outbox)
            .values(
                id=notice.id(model),
                model=model,
                rule=notice.rule,
                started_at=notice.started_at,
                state=notice.state,
                channel=notice.channel,
                created_at=at,
                began_at=at if notice.state == "firing" else _began_at(connection, model, notice, at=at),
                attempts=0,
                next_attempt_at=at,
                body=notice.body,
            )
            .on_conflict_do_nothing(index_elements=["id"])
        )


def _began_at(connection: Connection, model: str, notice: Notice, *, at: int) -> int:
    query = select(outbox.c.created_at).where(
        outbox.c.model == model,
        outbox.c.rule == notice.rule,
        outbox.c.started_at == notice.started_at,
        outbox.c.channel == notice.channel,
        outbox.c.state == "firing",
    )
    began_at = connection.scalar(query)
    return at if began_at is None else began_at


def prune_outbox(connection: Connection, model: str) -> None:
    """Keep the newest 10,000, whether they were delivered or not, and each rule's newest, which may still fire."""
    newest = select(outbox.c.number).where(outbox.c.model == model).order_by(outbox.c.number.desc())
    too_old = outbox.c.number <= newest.limit(1).offset(KEEP).scalar_subquery()
    old = outbox.c.model == model, too_old, _is_followed()
    delete_some(connection, outbox, *old, oldest_first=outbox.c.number, limit=AT_ONCE)


def read_due(connection: Connection, model: str, channel: str, *, at: int, limit: int) -> list[Pending]:
    """Return at most ``limit`` notices whose next attempt is due, in the order in which they were written.

    Of each rule only the oldest: that an alert is over must not be told before it is known to fire.
    """
    earlier = outbox.alias()
    query = (
        select(outbox)
        .where(
            *_undelivered(model, channel),
            outbox.c.next_attempt_at <= at,
            ~exists().where(
                earlier.c.model == outbox.c.model,
                earlier.c.channel == outbox.c.channel,
                earlier.c.rule == outbox.c.rule,
                earlier.c.delivered_at.is_(None),
                earlier.c.number < outbox.c.number,
            ),
        )
        .order_by(outbox.c.number)
        .limit(limit)
    )
    return [_pending(row) for row in connection.execute(query)]


def read_unresolved(connection: Connection, model: str, channel: str) -> list[Pending]:
    """Return the notices of alerts that a channel knows to fire and that have not been resolved since."""
    return [_pending(row) for row in connection.execute(_last_told(model, channel, outbox.c.state == "firing"))]


def read_repeated(connection: Connection, model: str, channel: str, *, over_since: int) -> list[Pending]:
    """Return what a channel that forgets has to hear again: what it knows to fire, and what ended lately.

    Parameters
    ----------
    over_since
        Of the alerts that are over, those of which the channel was first told at this time or later.
    """
    lately = or_(outbox.c.state == "firing", outbox.c.delivered_at >= over_since)
    return [_pending(row) for row in connection.execute(_last_told(model, channel, lately))]


def read_backlog(connection: Connection, model: str, channel: str) -> Backlog:
    """Say how much a channel has still to be told, and for how long."""
    query = select(func.count(), func.min(outbox.c.created_at)).where(*_undelivered(model, channel))
    waiting, oldest_at = connection.execute(query).one()
    return Backlog(waiting, oldest_at)


def mark_delivered(connection: Connection, number: int, *, at: int) -> None:
    """Note that a receiver has taken it."""
    connection.execute(
        update(outbox)
        .where(outbox.c.number == number)
        .values(delivered_at=at, attempts=outbox.c.attempts + 1, last_error=None)
    )


def mark_failed(connection: Connection, number: int, *, next_attempt_at: int, error: str, refused: bool = True) -> None:
    """Note why it could not be delivered, and when to try again.

    Parameters
    ----------
    refused
        Whether it counts as an attempt; one that nobody was there to hear says nothing against the message.
    """
    connection.execute(
        update(outbox)
        .where(outbox.c.number == number)
        .values(
            attempts=outbox.c.attempts + int(refused),
            next_attempt_at=next_attempt_at,
            last_error=storable(error)[:1000],
        )
    )


def mark_given_up(connection: Connection, number: int, *, at: int, error: str) -> None:
    """Note that it is not tried again: it counts as delivered, but for the error that stays with it."""
    connection.execute(
        update(outbox)
        .where(outbox.c.number == number)
        .values(delivered_at=at, attempts=outbox.c.attempts + 1, last_error=storable(error)[:1000])
    )


def _undelivered(model: str, channel: str) -> tuple[ColumnElement[bool], ...]:
    return outbox.c.model == model, outbox.c.channel == channel, outbox.c.delivered_at.is_(None)


def _last_told(model: str, channel: str, wanted: ColumnElement[bool]) -> Select[Any]:
    """Of each rule what was written last, if the channel has taken it."""
    return (
        select(outbox)
        .where(
            outbox.c.model == model,
            outbox.c.channel == channel,
            outbox.c.delivered_at.is_not(None),
            outbox.c.last_error.is_(None),  # not given up
            wanted,
            ~_is_followed(),
        )
        .order_by(outbox.c.number)
    )


def _is_followed() -> Exists:
    later = outbox.alias()
    return exists().where(
        later.c.model == outbox.c.model,
        later.c.channel == outbox.c.channel,
        later.c.rule == outbox.c.rule,
        later.c.number > outbox.c.number,
    )


def _pending(row: Row[Any]) -> Pending:
    notice = Notice(row.rule, row.started_at, row.state, row.channel, row.body)
    return Pending(row.number, row.id, notice, row.created_at, row.began_at, row.attempts)
