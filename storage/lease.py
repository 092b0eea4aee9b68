"""Who runs a model: one process at a time. What an earlier one still tries to write is refused by its epoch."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Protocol

from sqlalchemy import Connection, select

from storage.database import Database
from storage.errors import Fenced
from storage.tables import leases


class Lease(Protocol):
    """The right to write a model's state.

    Attributes
    ----------
    epoch : int
        Rises by one with every holder.
    """

    epoch: int

    def check(self) -> None:
        """Raise LeaseLost if another process may have taken over."""

    def fence(self, connection: Connection) -> None:
        """See that the epoch is still ours, and let nobody take over before this transaction ends; raises Fenced."""

    def release(self) -> None:
        """Give it back: the next one need not wait."""


def this_process() -> str:
    """Who asks, as others are told."""
    return f"pid {os.getpid()} on {socket.gethostname()}"


def acquire_lease(
    database: Database,
    model: str,
    *,
    wait: bool,
    lease_s: float,
    now: Callable[[], int],
    sleep: Callable[[float], None] = time.sleep,
) -> Lease:
    """Take the lease on a model.

    On a server it is a row that its holder renews, and the server's clock decides when it lapses. A file has a
    lock of the kernel's beside it, ``riverd.db.<model>.lock``. A database in memory needs none.

    Parameters
    ----------
    wait
        Wait, as a standby does, until the present holder is gone. Else wait only for a lease that nobody renews.
    lease_s
        Seconds that it is good for without being renewed; on a server only.
    now
        Wall clock in microseconds.
    sleep
        Called with seconds between two tries; may raise to give up.

    Raises
    ------
    LeaseHeld
        Another process holds it; the message says which.
    """
    if database.on_server:
        from storage.timed_lease import acquire_timed_lease

        return acquire_timed_lease(database, model, wait=wait, lease_s=lease_s, now=now, sleep=sleep)
    from storage.file_lease import acquire_file_lease

    return acquire_file_lease(database, model, wait=wait, now=now, sleep=sleep)


def refuse_other_epochs(connection: Connection, model: str, epoch: int) -> None:
    """Raise Fenced unless ``epoch`` is the newest of the model.

    The row is locked against those who would take over, until this transaction ends; its holder may renew it
    meanwhile, however long a commit takes.
    """
    query = select(leases.c.epoch, leases.c.holder).where(leases.c.model == model)
    newest = connection.execute(query.with_for_update(read=True, key_share=True)).one_or_none()
    if newest is None or newest.epoch != epoch:
        taken = "its lease is gone" if newest is None else f"{newest.holder} runs it now, with epoch {newest.epoch}"
        raise Fenced(
            f"{model} was taken over: this process holds epoch {epoch}, but {taken}.\n"
            "  Nothing was written. Stop this process; the other one goes on from the last checkpoint."
        )
