"""Messages that were not used, kept with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index

from sqlalchemy import Connection, delete, select

from storage import sqlite
from storage.tables import dead_letters
from stream.records import DeadLetter

KEEP = 100_000


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A dead letter with the number to ask for it by, and the wall-clock time of storing in microseconds."""

    id: int
    at: int
    letter: DeadLetter


def write_dead_letters(connection: Connection, model: str, letters: Sequence[DeadLetter], *, at: int) -> None:
    """Store them. One that is there already, told by its place in the stream, stays as it is."""
    if not letters:
        return
    statement = sqlite.insert(dead_letters).on_conflict_do_nothing(
        index_elements=["model", "topic", "partition", "position"]
    )
    connection.execute(
        statement,
        [
            {
                "model": model,
                "topic": _storable(letter.topic),
                "partition": _storable(letter.partition),
                "position": index(letter.position),  # numpy's integers too, which the driver refuses
                "reason": _storable(letter.reason),
                "at": at,
                "payload": letter.payload,
            }
            for letter in letters
        ],
    )


def _storable(text: str) -> str:
    # a reason quotes the message; lone surrogates and NUL would make the whole checkpoint fail, for ever
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def prune_dead_letters(connection: Connection, model: str) -> None:
    """Keep the newest 100,000."""
    newest = select(dead_letters.c.id).where(dead_letters.c.model == model).order_by(dead_letters.c.id.desc())
    connection.execute(
        delete(dead_letters).where(
            dead_letters.c.model == model,
            dead_letters.c.id <= newest.limit(1).offset(KEEP).scalar_subquery(),
        )
    )


def read_dead_letters(connection: Connection, model: str, *, limit: int) -> list[StoredDeadLetter]:
    """Return at most ``limit``, the newest first."""
    query = select(dead_letters).where(dead_letters.c.model == model).order_by(dead_letters.c.id.desc()).limit(limit)
    return [
        StoredDeadLetter(
            id=row.id,
            at=row.at,
            letter=DeadLetter(
                topic=row.topic,
                partition=row.partition,
                position=row.position,
                reason=row.reason,
                payload=row.payload,
            ),
        )
        for row in connection.execute(query)
    ]
