"""Messages for topics: written with the checkpoint that they tell of, kept until the brokers have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import zstandard
from sqlalchemy import Connection, delete, func, insert, select

from storage.retention import AT_ONCE, delete_some
from storage.tables import outgoing

KEEP = 10_000  # parcels of a model: a topic that takes nothing must not fill the disk


class Message(NamedTuple):
    """What a consumer of the topic gets."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Parcel:
    """Messages for one topic, in the order in which they are to be sent."""

    topic: str
    count: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StoredParcel:
    """A parcel as it lies in the database."""

    number: int  # in the order of writing
    parcel: Parcel
    created_at: int  # wall-clock microseconds


def pack(topic: str, messages: Sequence[Message]) -> Parcel:
    """Make a parcel.

    Examples
    --------
    >>> parcel = pack("scores", [Message(b"1", b"{}", [])])
    >>> parcel.count, unpack(parcel)
    (1, [Message(key=b'1', value=b'{}', headers=[])])
    """
    data = zstandard.ZstdCompressor(level=1).compress(msgspec.msgpack.encode(messages))
    return Parcel(topic, len(messages), data)


def unpack(parcel: Parcel) -> list[Message]:
    """Return its messages."""
    return msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(parcel.data), type=list[Message])


def write_outgoing(connection: Connection, model: str, parcels: Sequence[Parcel], *, checkpoint: int, at: int) -> None:
    """Put the parcels of a checkpoint in."""
    if parcels:
        connection.execute(
            insert(outgoing),
            [
                {
                    "model": model,
                    "topic": parcel.topic,
                    "checkpoint": checkpoint,
                    "created_at": at,
                    "messages": parcel.count,
                    "data": parcel.data,
                }
                for parcel in parcels
            ],
        )


def prune_outgoing(connection: Connection, model: str) -> int:
    """Keep the newest 10,000, sent or not; return how many had to go."""
    newest = select(outgoing.c.number).where(outgoing.c.model == model).order_by(outgoing.c.number.desc())
    too_old = outgoing.c.number <= newest.limit(1).offset(KEEP).scalar_subquery()
    return delete_some(
        connection, outgoing, outgoing.c.model == model, too_old, oldest_first=outgoing.c.number, limit=AT_ONCE
    )


def next_parcel(connection: Connection, model: str, topic: str) -> StoredParcel | None:
    """Return the oldest one that a topic has still to get."""
    mine = (outgoing.c.model == model) & (outgoing.c.topic == topic)
    row = connection.execute(select(outgoing).where(mine).order_by(outgoing.c.number).limit(1)).one_or_none()
    return None if row is None else StoredParcel(row.number, Parcel(row.topic, row.messages, row.data), row.created_at)


def delete_parcel(connection: Connection, number: int) -> None:
    """Forget a parcel that was sent."""
    connection.execute(delete(outgoing).where(outgoing.c.number == number))


def waiting_messages(connection: Connection, model: str, topic: str) -> tuple[int, int | None]:
    """Return how many messages a topic has still to get, and when the oldest was written."""
    mine = (outgoing.c.model == model) & (outgoing.c.topic == topic)
    count, oldest_at = connection.execute(
        select(func.coalesce(func.sum(outgoing.c.messages), 0), func.min(outgoing.c.created_at)).where(mine)
    ).one()
    return int(count), oldest_at
