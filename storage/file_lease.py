"""The lease on a model in a file: a lock that the kernel drops when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote
from weakref import WeakSet

from sqlalchemy import Connection, insert, select, update

from storage.database import Database
from storage.epochs import refuse_other_epochs, this_process
from storage.errors import LeaseHeld
from storage.sqlite import cannot_open
from storage.tables import leases

POLL_INTERVAL_S = 1.0

_held: WeakSet[FileLease] = WeakSet()


class FileLease:
    """Held until released or until the process ends; see ``Lease``."""

    def __init__(self, model: str, *, epoch: int, lock: int | None) -> None:
        self.epoch = epoch
        self._model = model
        self._lock = lock
        _held.add(self)

    def check(self) -> None:
        """A lock of the kernel's does not get lost."""

    def fence(self, connection: Connection) -> None:
        refuse_other_epochs(connection, self._model, self.epoch)

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _release_in_fork() -> None:
    # a forked child shares the lock: it would keep it after its parent was killed
    for lease in list(_held):
        lease.release()


os.register_at_fork(after_in_child=_release_in_fork)


def acquire_file_lease(
    database: Database, model: str, *, wait: bool, now: Callable[[], int], sleep: Callable[[float], None]
) -> FileLease:
    """Take the lock and the next epoch; see ``acquire_lease``."""
    holder = this_process()
    lock = None
    if database.path is not None:
        file = lock_file(database.path, model)
        while (lock := _try_lock(file, holder)) is None:
            if not wait:
                raise LeaseHeld(
                    f"{model} is already run by {_read_holder(file)} (lock {file}).\n"
                    "  Stop that process first, or start this one as a standby that waits for it to end."
                )
            sleep(POLL_INTERVAL_S)
    try:
        return FileLease(model, epoch=_next_epoch(database, model, holder=holder, at=now()), lock=lock)
    except BaseException:
        if lock is not None:
            os.close(lock)
        raise


def lock_file(database: Path, model: str) -> Path:
    """Where the lock lies; what a file name cannot hold is written as %XX."""
    return database.with_name(f"{database.name}.{quote(model, safe='')}.lock")


def _try_lock(file: Path, holder: str) -> int | None:
    try:
        lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise cannot_open(file, error.strerror or str(error)) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    # not for us but for whoever is refused and wants to know by whom; the file stays, an empty one would be raced for
    os.truncate(lock, 0)
    os.pwrite(lock, holder.encode(), 0)
    return lock


def _read_holder(file: Path) -> str:
    return file.read_text(errors="replace").strip() or "another process"


def _next_epoch(database: Database, model: str, *, holder: str, at: int) -> int:
    mine = leases.c.model == model
    with database.writing() as connection:
        epoch = connection.scalar(select(leases.c.epoch).where(mine))
        if epoch is None:
            connection.execute(insert(leases).values(model=model, epoch=1, holder=holder, acquired_at=at))
            return 1
        connection.execute(update(leases).where(mine).values(epoch=epoch + 1, holder=holder, acquired_at=at))
        return epoch + 1
