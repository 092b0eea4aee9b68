"""What became of a commit whose connection was cut before its outcome was known."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select

from storage.checkpoint import Committed
from storage.database import Database
from storage.errors import ConnectionLost
from storage.tables import checkpoints, leases, snapshots

TRIES, PAUSE_S = 20, 0.1


@dataclass(frozen=True, slots=True)
class Doubt:
    """A checkpoint that may have been written."""

    number: int
    epoch: int
    sha256: str  # of its state
    bytes: int


def settle(
    database: Database, model: str, doubt: Doubt, *, sleep: Callable[[float], None] = time.sleep
) -> Committed | None:
    """Return what was committed, or None if it was not and never will be.

    Raises
    ------
    ConnectionLost
        The server is still at it, and the answer not yet known.
    StorageError
        It can't be asked.
    """
    for _ in range(TRIES):
        with database.writing() as connection:
            # a commit that is still going on has the lease's row locked, see refuse_other_epochs
            ours = select(leases.c.epoch).where(leases.c.model == model).with_for_update(skip_locked=True)
            if connection.execute(ours).one_or_none() is not None:
                written = (checkpoints.c.model == model) & (checkpoints.c.number == doubt.number)
                query = select(checkpoints.c.epoch, checkpoints.c.sha256).where(written)
                found = connection.execute(query).one_or_none()
                if found is None or (found.epoch, found.sha256) != (doubt.epoch, doubt.sha256):
                    return None
                taken = (snapshots.c.model == model) & (snapshots.c.checkpoint == doubt.number)
                snapshot = connection.scalar(select(snapshots.c.number).where(taken))
                return Committed(doubt.number, doubt.bytes, snapshot)
        sleep(PAUSE_S)
    raise ConnectionLost(
        f"{database.place}: the connection was lost while checkpoint {doubt.number} was written, and the server has "
        "not ended that yet.\n  Whether it was written is asked again before anything else is."
    )
