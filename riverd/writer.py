"""Commits checkpoints in a thread of its own, so that the engine waits only while it copies."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from riverd.checkpointing import Capture, Checkpointer
from storage.checkpoint import Committed
from storage.errors import Fenced, StorageError
from storage.store import Store

log = logging.getLogger("riverd")

MAX_NEW_BYTES = 20_000_000  # of rows: a checkpoint is due however young the last, to keep the pause short
MAX_DEAD_LETTERS = 1_000
SHARE = 10  # writing takes at most a tenth of the time, unless rows press
URGENT_S = 1.0
LOOK_S = 1.0
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Written:
    """A checkpoint that was committed."""

    committed: Committed
    events: int
    write_s: float
    pause_s: float
    at_us: int = 0  # wall clock


class Writer:
    """Takes checkpoints when they are due, one at a time.

    A failed one loses nothing: what it held goes into the next. The engine goes on meanwhile, until so much
    is unsaved that it has to wait.

    Parameters
    ----------
    store, checkpointer
        Where to write, and what.
    interval_s, snapshot_interval_s
        Wall time between two checkpoints, and between two snapshots of the model.
    reached
        Told when a state has been captured.
    on_commit
        Called by the writing thread after each commit.
    monotonic_s
        Seconds of a clock that never goes back.
    sleep
        Waits so many seconds.

    Attributes
    ----------
    last : Written or None
        The newest checkpoint of this run.
    error : str or None
        Why the one that was tried after it could not be written.
    """

    def __init__(
        self,
        store: Store,
        checkpointer: Checkpointer,
        *,
        interval_s: float,
        snapshot_interval_s: float,
        reached: Callable[[str], None] = lambda _: None,
        on_commit: Callable[[], None] = lambda: None,
        monotonic_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.last: Written | None = None
        self.error: str | None = None
        self._store = store
        self._checkpointer = checkpointer
        self._interval_s = interval_s
        self._snapshot_interval_s = snapshot_interval_s
        self._reached = reached
        self._on_commit = on_commit
        self._monotonic_s = monotonic_s
        self._sleep = sleep
        self._captured_s = self._snapshot_s = monotonic_s()
        self._retry_s = 0.0  # how long to wait after a failure; 0: the last one succeeded
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="riverd-writer")
        self._running: tuple[Future[Written], Capture] | None = None

    def poll(self, *, dead_letters: int, events: int, urgent: bool = False) -> None:
        """Between two steps: take note of what was written, and begin a checkpoint if one is due.

        It is due within a second if it is ``urgent``, because an alert or somebody's command is in it.

        Raises
        ------
        Fenced
            Another process may have taken the model over: this one must stop.
        """
        self._store.check_lease()
        must_wait = self._pressed(dead_letters, factor=2)
        if self._running is not None:
            if not self._running[0].done() and not must_wait:
                return
            self._join()
        if self._retry_s and must_wait:
            self._sleep(self._retry_s)  # so much is unsaved that the engine has to wait for the store
            self._begin(events, reason="periodic", with_snapshot=self._snapshot_due())
        elif self._due(URGENT_S if urgent else self._interval_s) or (
            self._pressed(dead_letters, factor=1) and not self._retry_s
        ):
            self._begin(events, reason="periodic", with_snapshot=self._snapshot_due())

    def finish(self, *, events: int) -> None:
        """Write a last checkpoint, with a snapshot, and wait for it.

        Raises
        ------
        StorageError
            It could not be written; the one before it stands.
        """
        if self._running is not None:
            self._join()
        self._begin(events, reason="stopped", with_snapshot=True)
        self._join(last=True)

    def close(self) -> None:
        """Wait for what is being written; begin nothing any more."""
        self._thread.shutdown()

    def _due(self, interval_s: float) -> bool:
        elapsed_s = self._monotonic_s() - self._captured_s
        if self._retry_s:
            return elapsed_s >= self._retry_s
        write_s = self.last.write_s if self.last and self._interval_s else 0.0
        return elapsed_s >= max(min(interval_s, self._interval_s), SHARE * write_s)

    def _snapshot_due(self) -> bool:
        return self._monotonic_s() - self._snapshot_s >= self._snapshot_interval_s

    def _pressed(self, dead_letters: int, *, factor: int) -> bool:
        return self._checkpointer.new_bytes >= factor * MAX_NEW_BYTES or dead_letters >= factor * MAX_DEAD_LETTERS

    def _begin(self, events: int, *, reason: str, with_snapshot: bool) -> None:
        began_s = self._captured_s = self._monotonic_s()
        if with_snapshot:
            self._snapshot_s = began_s
        capture = self._checkpointer.capture(with_snapshot=with_snapshot)
        self._reached("engine.captured")
        pause_s = self._monotonic_s() - began_s

        def write() -> Written:
            committed = self._store.commit(capture.encode(reason))
            self._on_commit()
            return Written(committed, events, self._monotonic_s() - began_s, pause_s, time.time_ns() // 1000)

        self._running = self._thread.submit(write), capture

    def _join(self, *, last: bool = False) -> None:
        assert self._running is not None
        (future, capture), self._running = self._running, None
        while not wait([future], timeout=LOOK_S).done:
            self._store.check_lease()  # if that is lost, nothing is waited for any more
        try:
            written = future.result()
        except StorageError as error:
            self._checkpointer.failed(capture)
            if capture.with_snapshot:
                self._snapshot_s = float("-inf")  # the next checkpoint has one
            if last or isinstance(error, Fenced):
                raise
            self.error = str(error)
            self._retry_s = min(2 * self._retry_s or FIRST_RETRY_S, LAST_RETRY_S)
            log.error(
                "checkpoint failed, again in %.0f s; nothing is lost and riverd goes on: %s", self._retry_s, error
            )
        else:
            self._checkpointer.saved(capture)
            news = self.last is None or written.events != self.last.events
            self.last, self.error, self._retry_s = written, None, 0.0
            log.log(logging.INFO if news else logging.DEBUG, _line(written, capture))


def _line(written: Written, capture: Capture) -> str:
    committed = written.committed
    return (
        f"checkpoint {committed.number}: {written.events:,} events, {len(capture.blocks):,} blocks, "
        f"{committed.bytes / 1e6:.1f} MB, {written.write_s * 1e3:.0f} ms ({written.pause_s * 1e3:.1f} ms pause)"
    )
