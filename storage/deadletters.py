"""Messages that were not used, kept with the reason."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from operator import index

from sqlalchemy import ColumnElement, Connection, Row, delete, func, select

from storage.dialect import insert
from storage.errors import NoSuchDeadLetter
from storage.retention import AT_ONCE, delete_some
from storage.storable import storable
from storage.tables import dead_letters
from stream.records import DeadLetter

KEEP = 100_000
NUMBERS = 500  # in one statement


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
    statement = insert(connection, dead_letters).on_conflict_do_nothing(
        index_elements=["model", "topic", "partition", "position"]
    )
    connection.execute(
        statement,
        [
            {
                "model": model,
                "topic": storable(letter.topic),
                "partition": storable(letter.partition),
                "position": index(letter.position),  # numpy's integers too, which the driver refuses
                "reason": storable(letter.reason),
                "at": at,
                "payload": letter.payload,
            }
            for letter in letters
        ],
    )


def prune_dead_letters(connection: Connection, model: str, *, before: int | None = None, came_in: int = 0) -> None:
    """Keep about the newest 100,000, and of those none that was stored ``before`` this wall-clock time.

    What is too much goes in batches, one with each call, no smaller than what ``came_in``.
    """
    newest = select(dead_letters.c.id).where(dead_letters.c.model == model).order_by(dead_letters.c.id.desc())
    too_old = dead_letters.c.id <= newest.limit(1).offset(KEEP).scalar_subquery()
    _delete_oldest(connection, model, too_old, limit=max(AT_ONCE, came_in))
    if before is not None:
        purge_dead_letters(connection, model, before=before)


def purge_dead_letters(connection: Connection, model: str, *, before: int | None = None) -> int:
    """Delete a batch of those stored ``before`` this wall-clock time, or of all; return how many."""
    return _delete_oldest(connection, model, *([] if before is None else [dead_letters.c.at < before]), limit=AT_ONCE)


def _delete_oldest(connection: Connection, model: str, *where: ColumnElement[bool], limit: int) -> int:
    mine = dead_letters.c.model == model
    return delete_some(connection, dead_letters, mine, *where, oldest_first=dead_letters.c.id, limit=limit)


def delete_dead_letters(connection: Connection, model: str, ids: Collection[int]) -> int:
    """Delete those with these numbers; return how many were there."""
    deleted, numbers = 0, list(ids)
    for start in range(0, len(numbers), NUMBERS):
        some = dead_letters.c.id.in_(numbers[start : start + NUMBERS])
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
