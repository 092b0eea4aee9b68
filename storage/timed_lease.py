"""The lease on a model on a server: a row that lapses by the server's clock unless its holder renews it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import BigInteger, Connection, cast, extract, func, select, text, update

from storage.database import Database
from storage.dialect import insert
from storage.epochs import refuse_other_epochs, this_process
from storage.errors import ConnectionLost, DatabaseBusy, LeaseHeld, LeaseLost, StorageError, Unreachable
from storage.tables import leases

log = logging.getLogger("riverd")

MICROSECONDS = 1_000_000
RENEW = 3  # times within a lease
# The server's clock, not the transaction's beginning.
NOW = cast(extract("epoch", func.clock_timestamp()) * MICROSECONDS, BigInteger)


class TimedLease:
    """Held for as long as a thread of its own renews it, on a connection of its own; see ``Lease``.

    It is renewed at every third of its time. If that fails for two thirds, its holder no longer trusts it, by its
    own monotonic clock: when the server lets it lapse and another takes over, this process has stopped.
    """

    def __init__(
        self, database: Database, model: str, *, epoch: int, lease_s: float, asked_s: float, now: Callable[[], float]
    ) -> None:
        self.epoch = epoch
        self._database = database
        self._model = model
        self._lease_s = lease_s
        self._monotonic_s = now
        self._good_until_s = asked_s + lease_s * 2 / 3
        self._lost: str | None = None
        self._trouble = "this process stood still"
        self._connection: Connection | None = None
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="riverd-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        if self._lost is None and self._monotonic_s() >= self._good_until_s:
            self._lost = f"it could not be renewed for {self._lease_s * 2 / 3:.3g} s ({self._trouble})"
        if self._lost is not None:
            raise LeaseLost(
                f"{self._model}: the lease is lost: {self._lost}.\n"
                "  From then on nothing was written. Start riverd again: it goes on from the last checkpoint, or waits."
            )

    def fence(self, connection: Connection) -> None:
        self.check()
        # frozen in the middle of a commit, this process must not keep others out for longer than its lease does
        milliseconds = str(round(self._lease_s * 1000))
        connection.execute(select(func.set_config("idle_in_transaction_session_timeout", milliseconds, True)))
        refuse_other_epochs(connection, self._model, self.epoch)
        if not connection.scalar(select(leases.c.expires_at > NOW).where(leases.c.model == self._model)):
            self._lost = "it lapsed by the server's clock"
            self.check()

    def release(self) -> None:
        self._released.set()
        self._thread.join(0.0 if self._lost else self._lease_s)
        if not self._thread.is_alive() and self._lost is None:
            with suppress(StorageError):  # then it lapses by itself
                self._set(None)
        if not self._thread.is_alive():
            self._disconnect()

    def _keep(self) -> None:
        interval_s = self._lease_s / RENEW
        wait_s = interval_s
        while not self._released.wait(wait_s):
            asked_s = self._monotonic_s()
            try:
                renewed = self._set(NOW + round(self._lease_s * MICROSECONDS))
            except StorageError as error:
                self._trouble = str(error)
                self._disconnect()
                wait_s = interval_s / 4
            else:
                if not renewed:
                    self._lost = self._lost or "it lapsed, or another process has it"
                    return
                self._good_until_s = asked_s + self._lease_s * 2 / 3
                wait_s = interval_s

    def _set(self, expires_at: object) -> bool:
        """Write when it lapses, None: at once. False if it is no longer ours."""
        mine = (leases.c.model == self._model) & (leases.c.epoch == self.epoch) & (leases.c.expires_at > NOW)
        with self._database.explained():
            if self._connection is None:
                self._connection = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                self._connection.detach()  # the pool's end is not its own
                # a row that another keeps locked must not be waited for in vain
                self._connection.execute(text(f"SET lock_timeout = {round(self._lease_s * 1000 / RENEW)}"))
            return self._connection.execute(update(leases).where(mine).values(expires_at=expires_at)).rowcount == 1

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(Exception):
                self._connection.close()
            self._connection = None


def acquire_timed_lease(
    database: Database,
    model: str,
    *,
    wait: bool,
    lease_s: float,
    now: Callable[[], int],
    sleep: Callable[[float], None],
    monotonic_s: Callable[[], float] = time.monotonic,
) -> TimedLease:
    """Take the row and the next epoch; see ``acquire_lease``."""
    first_seen: int | None = None
    while True:
        asked_s = monotonic_s()
        try:
            taken = _try_to_take(database, model, lease_s=lease_s, at=now())
        except (Unreachable, ConnectionLost, DatabaseBusy) as error:
            if not wait:
                raise
            log.warning("waiting to take over %s, but %s", model, error)
            taken = None
        if isinstance(taken, int):
            return TimedLease(database, model, epoch=taken, lease_s=lease_s, asked_s=asked_s, now=monotonic_s)
        if taken is not None and not wait:
            holder, expires_at = taken
            first_seen = first_seen or expires_at
            if expires_at != first_seen:  # renewed: its holder lives
                raise LeaseHeld(
                    f"{model} is already run by {holder}.\n"
                    "  Stop that process first, or start this one as a standby that waits for it to end."
                )
        sleep(min(1.0, lease_s / 4))


def _try_to_take(database: Database, model: str, *, lease_s: float, at: int) -> int | tuple[str, int] | None:
    """The epoch; or who has it, and until when unless it is renewed; or None if that can't be told just now."""
    mine = leases.c.model == model
    with database.writing() as connection:
        fresh = {"model": model, "epoch": 0, "holder": "", "acquired_at": at}
        connection.execute(insert(connection, leases).values(fresh).on_conflict_do_nothing())
        # skipped if locked: a commit of the holder's is going on
        query = select(leases.c.epoch, leases.c.holder, leases.c.expires_at, NOW.label("now")).where(mine)
        row = connection.execute(query.with_for_update(skip_locked=True)).one_or_none()
        if row is None:
            return None
        if row.expires_at is not None and row.expires_at > row.now:
            return row.holder, row.expires_at
        taken = {"epoch": row.epoch + 1, "holder": this_process(), "acquired_at": at}
        connection.execute(update(leases).where(mine).values(**taken, expires_at=NOW + round(lease_s * MICROSECONDS)))
        return row.epoch + 1
