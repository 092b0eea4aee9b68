"""Deleting what is too old, a batch at a time: a transaction stays short however much there is to be deleted."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Table, delete, select, tuple_

AT_ONCE = 5_000  # rows; more than come in with one checkpoint, so that in the end all of it goes


def delete_some(
    connection: Connection, table: Table, *where: ColumnElement[bool], oldest_first: ColumnElement[int], limit: int
) -> int:
    """Delete at most ``limit`` of the rows that satisfy all conditions; return how many."""
    key = list(table.primary_key)
    doomed = select(*key).where(*where).order_by(oldest_first).limit(limit)
    return connection.execute(delete(table).where(tuple_(*key).in_(doomed))).rowcount
