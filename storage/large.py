"""Values that may be longer than a database sends at once."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, LargeBinary, func, select

SLICE = 1 << 26  # bytes; PostgreSQL sends less than 1 GB, of which half is lost on its notation


def read_large(connection: Connection, column: ColumnElement[bytes], *where: ColumnElement[bool]) -> bytes | None:
    """Return the bytes of one column of the one row that satisfies all conditions; None for NULL or no such row."""

    def piece(start: int) -> ColumnElement[bytes]:
        return func.substr(column, start + 1, SLICE, type_=LargeBinary)

    row = connection.execute(select(func.length(column), piece(0)).where(*where)).one_or_none()
    if row is None or row[0] is None:
        return None
    rest = (connection.scalar(select(piece(start)).where(*where)) for start in range(SLICE, row[0], SLICE))
    return b"".join(part or b"" for part in (row[1], *rest))  # SQLite makes NULL of nothing
