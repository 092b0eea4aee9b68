"""Messages that were not used, kept with the reason."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from operator import index

from sqlalchemy import Connection, Row, delete, func, select

from storage import sqlite
from storage.errors import NoSuchDeadLetter
from storage.tables import dead_letters
from stream.records import DeadLetter

KEEP = 100_000
AT_ONCE = 500  # numbers in one statement


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


def prune_dead_letters(connection: Connection, model: str, *, before: int | None = None) -> None:
    """Keep the newest 100,000, and of those none that was stored ``before`` this wall-clock time."""
    newest = select(dead_letters.c.id).where(dead_letters.c.model == model).order_by(dead_letters.c.id.desc())
    connection.execute(
        delete(dead_letters).where(
            dead_letters.c.model == model,
            dead_letters.c.id <= newest.limit(1).offset(KEEP).scalar_subquery(),
        )
    )
    if before is not None:
        purge_dead_letters(connection, model, before=before)


def purge_dead_letters(connection: Connection, model: str, *, before: int | None = None) -> int:
    """Delete those stored ``before`` this wall-clock time, or all; return how many."""
    statement = delete(dead_letters).where(dead_letters.c.model == model)
    if before is not None:
        statement = statement.where(dead_letters.c.at < before)
    return connection.execute(statement).rowcount


def delete_dead_letters(connection: Connection, model: str, ids: Collection[int]) -> int:
    """Delete those with these numbers; return how many were there."""
    deleted, numbers = 0, list(ids)
    for start in range(0, len(numbers), AT_ONCE):
        some = dead_letters.c.id.in_(numbers[start : start + AT_ONCE])
        deleted += connection.execute(delete(dead_letters).where(dead_letters.c.model == model, some)).rowcount
    return deleted


def read_dead_letters(
    connection: Connection, model: str, *, limit: int | None, reason: str | None = None
) -> list[StoredDeadLetter]:
    """Return at most ``limit``, the newest first, of those whose reason contains ``reason`` in any case."""
    query = select(dead_letters).where(dead_letters.c.model == model).order_by(dead_letters.c.id.desc()).limit(limit)
    if reason is not None:
        query = query.where(dead_letters.c.reason.icontains(reason, autoescape=True))
    return [_stored(row) for row in connection.execute(query)]


def read_dead_letter(connection: Connection, model: str, number: int) -> StoredDeadLetter:
    """Return the one with this number; raises NoSuchDeadLetter."""
    mine = select(dead_letters).where(dead_letters.c.model == model)
    row = connection.execute(mine.where(dead_letters.c.id == number)).one_or_none()
    if row is None:
        ends = select(func.min(dead_letters.c.id), func.max(dead_letters.c.id)).where(dead_letters.c.model == model)
        first, last = connection.execute(ends).one()
        kept = "there are none" if first is None else f"kept are some from {first} to {last}"
        raise NoSuchDeadLetter(f"{model} has no dead letter {number}: {kept}.\n  See:  riverd deadletters list")
    return _stored(row)


def count_dead_letters(connection: Connection, model: str) -> int:
    """Return how many are kept."""
    return connection.scalar(select(func.count()).where(dead_letters.c.model == model)) or 0


def _stored(row: Row) -> StoredDeadLetter:  # pyrefly: ignore
    letter = DeadLetter(
        topic=row.topic, partition=row.partition, position=row.position, reason=row.reason, payload=row.payload
    )
    return StoredDeadLetter(id=row.id, at=row.at, letter=letter)
