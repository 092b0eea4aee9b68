"""Who runs a model: one process at a time. What an earlier one still tries to write is refused by its epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from sqlalchemy import Connection

from storage.database import Database
from storage.file_lease import acquire_file_lease
from storage.timed_lease import acquire_timed_lease


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
        return acquire_timed_lease(database, model, wait=wait, lease_s=lease_s, now=now, sleep=sleep)
    return acquire_file_lease(database, model, wait=wait, now=now, sleep=sleep)
