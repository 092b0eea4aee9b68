"""What the daemon remembers of one model, behind one object."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import URL

from storage.alerts import Alert, read_alerts
from storage.blocks import sha256_of
from storage.checkpoint import Checkpoint, Committed, commit, refuse_too_large
from storage.database import Database, open_database
from storage.deadletters import (
    StoredDeadLetter,
    count_dead_letters,
    delete_dead_letters,
    purge_dead_letters,
    read_dead_letter,
    read_dead_letters,
)
from storage.errors import ConnectionLost, Fenced, LeaseLost
from storage.history import Figures, read_history
from storage.lease import Lease, acquire_lease
from storage.load import Loaded, load
from storage.requests import Request, add_request, read_open_requests, read_request
from storage.retrains import StoredDecision, read_decisions
from storage.settle import Doubt, settle
from storage.snapshots import NewSnapshot, Snapshot, prune_snapshots, read_snapshot_data, read_snapshots, write_snapshot


def wall_clock() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000


class Store:
    """The state of one model and its history, in a database that may hold many models.

    Whoever writes calls ``acquire``, then ``load``, then ``commit`` as often as it likes. Reading needs no
    lease. ``commit`` may run in a thread of its own while other threads read.

    Parameters
    ----------
    database
        From ``open_database``; closed with the store.
    model
        The model's name.
    now
        Wall clock in microseconds, stored beside what was written and used for nothing else.
    reached
        Told the name of each step of a commit as it is reached, see ``FAIL_POINTS``.
    keep_dead_letters_us
        A commit deletes older dead letters; None keeps them however old.
    lease_s
        How long the lease is good for without being renewed; on a server only.

    Examples
    --------
    >>> from storage.blocks import Block
    >>> store = Store.open("sqlite://", "late-flights")
    >>> store.acquire()
    1
    >>> store.load() is None
    True
    >>> store.commit(Checkpoint(state=b"positions", blocks=[Block("weights", 0, b"...")]))
    Committed(number=1, bytes=12, snapshot=None)
    >>> store.load().blocks
    {('weights', 0): b'...'}
    >>> store.close()
    """

    def __init__(
        self,
        database: Database,
        model: str,
        *,
        now: Callable[[], int],
        reached: Callable[[str], None],
        keep_dead_letters_us: int | None = None,
        lease_s: float = 15.0,
    ) -> None:
        self.database = database
        self.model = model
        self._now = now
        self._reached = reached
        self._keep_dead_letters_us = keep_dead_letters_us
        self._lease_s = lease_s
        self._lease: Lease | None = None
        self._last: int | None = None  # the checkpoint that the next one follows
        self._doubt: Doubt | None = None  # the one whose outcome is not known

    @classmethod
    def open(
        cls,
        url: str | URL,
        model: str,
        *,
        now: Callable[[], int] = wall_clock,
        reached: Callable[[str], None] = lambda _: None,
        keep_dead_letters_us: int | None = None,
        lease_s: float = 15.0,
    ) -> Store:
        """Open the database at ``url``, creating and migrating it as needed; see ``open_database``."""
        database = open_database(url)
        return cls(
            database, model, now=now, reached=reached, keep_dead_letters_us=keep_dead_letters_us, lease_s=lease_s
        )

    def acquire(self, *, wait: bool = False, sleep: Callable[[float], None] = time.sleep) -> int:
        """Take the lease and return its epoch; see ``acquire_lease``."""
        self._lease = acquire_lease(
            self.database, self.model, wait=wait, lease_s=self._lease_s, now=self._now, sleep=sleep
        )
        self._last = self._doubt = None  # what was loaded before may be out of date
        return self._lease.epoch

    def check_lease(self) -> None:
        """Return at once if this process still holds the lease.

        Raises
        ------
        Fenced
            It never did, or may not any more. Then all connections are cut: no thread waits for the server any longer.
        """
        if self._lease is None:
            raise Fenced(f"{self.model}: this process holds no lease, so it may not write. Call acquire first.")
        try:
            self._lease.check()
        except LeaseLost:
            self.database.sever()
            raise

    @contextmanager
    def writing(self) -> Generator[Connection]:
        """A transaction for the holder of the lease alone; raises Fenced if this process no longer is."""
        self.check_lease()
        assert self._lease is not None
        with self.database.writing() as connection:
            self._lease.fence(connection)
            yield connection

    def load(self) -> Loaded | None:
        """Return the newest intact checkpoint, or None before the first.

        Raises
        ------
        DamagedState
            There are checkpoints, but none is intact.
        """
        loaded = load(self.database, self.model)
        self._last = loaded.number if loaded else 0
        return loaded

    def commit(self, checkpoint: Checkpoint) -> Committed:
        """Write a checkpoint in one transaction; see ``checkpoint.commit`` for steps and errors.

        If the connection is cut in the middle, the database is asked what became of it, now or, while it can't be
        asked, before the next commit: nothing is written twice, and nothing lost. What was not written is tried
        once more.
        """
        self.check_lease()
        self._settle()
        for is_last in (False, True):
            try:
                return self._commit(checkpoint)
            except ConnectionLost:
                if settled := self._settle():
                    return settled
                if is_last:
                    raise
        raise AssertionError("the last try returns or raises")

    def _commit(self, checkpoint: Checkpoint) -> Committed:
        assert self._lease is not None
        if self._last is None:
            raise RuntimeError(f"{self.model}: commit before load; what is there already would be overwritten")
        self._doubt = Doubt(self._last + 1, self._lease.epoch, sha256_of(checkpoint.state), checkpoint.size_bytes)
        try:
            committed = commit(
                self.database,
                self.model,
                checkpoint,
                lease=self._lease,
                follows=self._last,
                at=self._now(),
                reached=self._reached,
                keep_dead_letters_us=self._keep_dead_letters_us,
            )
        except ConnectionLost:
            raise
        except BaseException:
            self._doubt = None
            raise
        self._last, self._doubt = committed.number, None
        return committed

    def _settle(self) -> Committed | None:
        if self._doubt is None:
            return None
        self.check_lease()
        settled = settle(self.database, self.model, self._doubt)
        if settled is not None:
            self._last = settled.number
        self._doubt = None
        return settled

    def alerts(self) -> list[Alert]:
        """Return the alerts as of the last checkpoint, the latest to start first."""
        with self.database.reading() as connection:
            return read_alerts(connection, self.model)

    def history(
        self, *, window: str | None = None, kind: str | None = None, from_us: int | None = None
    ) -> list[Figures]:
        """Return how metrics went, in the order of event time: of one window, of one kind, or all."""
        with self.database.reading() as connection:
            return read_history(connection, self.model, window=window, kind=kind, from_us=from_us)

    def dead_letters(self, *, limit: int | None, reason: str | None = None) -> list[StoredDeadLetter]:
        """Return at most ``limit`` dead letters, the newest first; ``reason`` is a part of theirs."""
        with self.database.reading() as connection:
            return read_dead_letters(connection, self.model, limit=limit, reason=reason)

    def dead_letter(self, number: int) -> StoredDeadLetter:
        """Return one dead letter; raises NoSuchDeadLetter."""
        with self.database.reading() as connection:
            return read_dead_letter(connection, self.model, number)

    def dead_letter_count(self) -> int:
        """Return how many dead letters are kept."""
        with self.database.reading() as connection:
            return count_dead_letters(connection, self.model)

    def delete_dead_letters(self, numbers: Collection[int]) -> int:
        """Delete these dead letters and return how many were there. It needs no lease: no state depends on them."""
        with self.database.writing() as connection:
            return delete_dead_letters(connection, self.model, numbers)

    def purge_dead_letters(self, *, before: int | None = None) -> int:
        """Delete those stored ``before`` this wall-clock time, or all; return how many. It needs no lease."""
        purged = 0
        while True:  # a transaction for each batch, so that a checkpoint need not wait for all of them
            with self.database.writing() as connection:
                some = purge_dead_letters(connection, self.model, before=before)
            purged += some
            if not some:
                return purged

    def snapshots(self) -> list[Snapshot]:
        """Return what is known of each snapshot, the newest first."""
        with self.database.reading() as connection:
            return read_snapshots(connection, self.model)

    def snapshot(self, number: int) -> bytes:
        """Return the data of a snapshot; raises NoSuchSnapshot or DamagedBlob."""
        with self.database.reading() as connection:
            return read_snapshot_data(connection, self.model, number)

    def prune_snapshots(self, *, keep: int) -> list[int]:
        """Delete all but the newest ``keep``, those promoted and those in use; return the numbers deleted.

        It needs no lease: no state depends on them.
        """
        with self.database.writing() as connection:
            return prune_snapshots(connection, self.model, keep=keep)

    def add_snapshot(self, snapshot: NewSnapshot) -> int:
        """Add one that comes from elsewhere; return its number. It needs no lease: no state depends on it, and it stays
        whatever checkpoints turn out to be damaged.

        Raises TooLarge if the database would not take it.
        """
        refuse_too_large(self.model, snapshots=[snapshot])
        with self.database.writing() as connection:
            return write_snapshot(connection, self.model, snapshot, checkpoint=0, at=self._now())

    def ask(self, what: str, arguments: Mapping[str, Any], *, keys: Sequence[str] = ()) -> tuple[int, bool]:
        """Ask something of the daemon; return the request's number, and False if its ``keys`` were all known already.

        It needs no lease.
        """
        with self.database.writing() as connection:
            return add_request(connection, self.model, what, arguments, keys=keys, at=self._now())

    def open_requests(self) -> list[Request]:
        """Return the requests that are not done yet, the oldest first."""
        with self.database.reading() as connection:
            return read_open_requests(connection, self.model)

    def request(self, number: int) -> Request | None:
        """Return one request, or None if it is not there."""
        with self.database.reading() as connection:
            return read_request(connection, self.model, number)

    def decisions(self, *, limit: int | None = None) -> list[StoredDecision]:
        """Return the newest decisions about retraining, the newest first."""
        with self.database.reading() as connection:
            return read_decisions(connection, self.model, limit=limit)

    def close(self) -> None:
        """Close the database, then give the lease back: nobody takes over before the last write is done."""
        self.database.close()
        if self._lease is not None:
            self._lease.release()
            self._lease = None
