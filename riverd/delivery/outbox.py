"""Empties the outbox in a thread of its own: a receiver that is slow, dead or out of its mind delays nobody else."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from riverd.delivery.alertmanager import LIVES_US, REPEATED_EVERY_S
from riverd.delivery.receivers import Receiver, RefusedError, UnreachableError
from riverd.status import DeliveryStatus
from storage.errors import Fenced, StorageError
from storage.outbox import (
    Pending,
    mark_delivered,
    mark_failed,
    mark_given_up,
    read_backlog,
    read_due,
    read_repeated,
)
from storage.store import Store
from stream.records import MICROSECONDS

log = logging.getLogger("riverd")

FIRST_RETRY_S, LAST_RETRY_S = 1.0, 600.0
LOOK_S = 60.0  # at least so often the outbox is looked at, even if nobody calls
AT_ONCE = 100
REFUSALS = 30  # of one message, over two to four hours; then it is given up


@dataclass(slots=True)
class _Channel:
    """How it stands with one receiver; all times are of the monotonic clock."""

    receiver: Receiver
    failures: int = 0  # in a row
    open_s: float = float("-inf")  # nothing is sent before
    repeated_s: float = float("-inf")  # at the start at once: the receiver may have forgotten

    @property
    def last_retry_s(self) -> float:
        """The longest that it is left alone: one that forgets may not believe that an alert is over."""
        return REPEATED_EVERY_S if self.receiver.forgets else LAST_RETRY_S


class Delivery:
    """Tells receivers what lies in the outbox: at least once, each rule's changes in order, under one id for ever.

    A receiver that can't be reached is left alone for one second, then two, up to ten minutes, and nothing is given
    up; one that refuses a single message gets the others meanwhile, and is asked 30 times. A receiver that forgets
    hears every minute what fires, and for five minutes what is over.

    Parameters
    ----------
    store
        Whose outbox; it must hold the lease. Once that is lost nothing more is sent.
    receivers
        By channel.
    now_us, monotonic_s
        The wall clock, and seconds of a clock that never goes back.
    reached
        Told when a receiver has taken a notice, which is not noted yet.
    jitter
        A number from 0 to 1, another each time: it spreads those who wait for the same receiver.

    Attributes
    ----------
    statuses : tuple of DeliveryStatus
        How it stood after the last round; replaced as a whole, so that any thread may read it.
    """

    def __init__(
        self,
        store: Store,
        receivers: Mapping[str, Receiver],
        *,
        now_us: Callable[[], int],
        reached: Callable[[str], None] = lambda _: None,
        monotonic_s: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.statuses = tuple(DeliveryStatus(name) for name in receivers)
        self._store = store
        self._channels = {name: _Channel(receiver) for name, receiver in receivers.items()}
        self._now_us = now_us
        self._reached = reached
        self._monotonic_s = monotonic_s
        self._jitter = jitter
        self._wake = threading.Event()
        self._stopping = False
        self._stop_by_s = float("inf")
        self._thread = threading.Thread(target=self._run, name="riverd-delivery", daemon=True)

    def start(self) -> None:
        """Begin with what an earlier run left behind."""
        self._thread.start()

    def wake(self) -> None:
        """Something was committed. Any thread may call this; it returns at once."""
        self._wake.set()

    def close(self, *, within_s: float) -> None:
        """Send what is due to receivers that were well, then stop; wait no longer than this."""
        self._stop_by_s = self._monotonic_s() + within_s
        self._stopping = True
        self._wake.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        stop = False
        while not stop:
            stop = self._stopping  # read first: then this round still sees what was committed before
            self._wake.clear()
            wait_s = self.round()
            if not stop:
                self._wake.wait(wait_s)

    def round(self) -> float:
        """Send whatever is due; return the seconds until the next round unless something is committed before."""
        return max(0.0, min(self._survive(name, channel) for name, channel in self._channels.items()))

    def _survive(self, name: str, channel: _Channel) -> float:
        try:
            return self._serve(name, channel)
        except Fenced:
            self._stopping = True  # it is another's outbox now; the engine stops too, and says why
        except StorageError as error:
            log.error("the outbox can't be read or written, again in %.0f s: %s", LOOK_S, error)
        except Exception:
            # a fault of ours with one channel must not silence the others
            log.exception("delivering to %s failed, again in %.0f s", name, LOOK_S)
        return LOOK_S

    def _serve(self, name: str, channel: _Channel) -> float:
        """Send what is due to one channel; return the seconds after which it should be looked at again."""
        wait_s = LOOK_S
        status = self._status(name)
        if self._monotonic_s() >= channel.open_s:
            try:
                while self._in_time() and (due := self._due(name)):
                    for first in range(0, len(due), channel.receiver.at_once):
                        if self._in_time():
                            told = due[first : first + channel.receiver.at_once]
                            wait_s = min(wait_s, self._send(name, channel, told))
                if channel.receiver.forgets:
                    wait_s = min(wait_s, self._repeat(name, channel))
            except UnreachableError as error:
                channel.failures += 1
                delay_s = self._delay_s(channel.failures, channel.last_retry_s)
                channel.open_s = self._monotonic_s() + delay_s
                self._count(name, failures=1, last_error=str(error))
                if channel.failures == 1:
                    log.error(
                        "%s (%s) can't be told of alerts, which wait in the outbox; tried again from now on, "
                        "at last every %.0f min: %s",
                        name, channel.receiver.place, channel.last_retry_s / 60, error,
                    )  # fmt: skip
            else:
                if channel.failures:
                    heard = self._status(name).delivered - status.delivered
                    log.info("%s (%s) is back, and was told of %d", name, channel.receiver.place, heard)
                channel.failures = 0
        with self._store.database.reading() as connection:
            backlog = read_backlog(connection, self._store.model, name)
        self._replace(name, waiting=backlog.waiting, oldest_at=backlog.oldest_at)
        if channel.failures:
            return channel.open_s - self._monotonic_s()
        return wait_s

    def _in_time(self) -> bool:
        return self._monotonic_s() < self._stop_by_s

    def _due(self, name: str) -> list[Pending]:
        with self._store.writing() as connection:  # for the holder of the lease alone
            return read_due(connection, self._store.model, name, at=self._now_us(), limit=AT_ONCE)

    def _send(self, name: str, channel: _Channel, told: Sequence[Pending]) -> float:
        """Tell of changes and note how that went; return the seconds after which one of them is due again."""
        try:
            refused = self._tell(channel, told)
        except UnreachableError as error:
            with self._store.writing() as connection:
                for each in told:
                    at = self._now_us()
                    mark_failed(connection, each.number, next_attempt_at=at, error=str(error), refused=False)
            raise
        numbers = {each.number for each, _ in refused}
        taken = [each.number for each in told if each.number not in numbers]
        if taken:
            self._reached("delivery.sent")
            with self._store.writing() as connection:
                for number in taken:
                    mark_delivered(connection, number, at=self._now_us())
            self._count(name, delivered=len(taken), last_error=None)
        return min((self._refuse(name, channel, each, error) for each, error in refused), default=LOOK_S)

    def _tell(self, channel: _Channel, told: Sequence[Pending]) -> list[tuple[Pending, str]]:
        """Say it in one message; return what was refused, and why."""
        self._store.check_lease()  # this process may have stood still since it looked
        try:
            channel.receiver.send(told)  # outside any transaction: it may take long
        except RefusedError as error:
            if len(told) == 1:
                return [(told[0], str(error))]
            # one is at fault, and nobody says which
            return [refused for each in told for refused in self._tell(channel, [each])]
        return []

    def _refuse(self, name: str, channel: _Channel, pending: Pending, error: str) -> float:
        attempts, notice = pending.attempts + 1, pending.notice
        self._count(name, failures=1, last_error=error)
        if attempts >= REFUSALS:
            with self._store.writing() as connection:
                mark_given_up(connection, pending.number, at=self._now_us(), error=error)
            self._count(name, given_up=1, last_error=error)
            log.error(
                "%s (%s) has refused %s of %s %d times, and is not asked again: %s",
                name, channel.receiver.place, notice.state, notice.rule, attempts, error,
            )  # fmt: skip
            return LOOK_S
        delay_s = self._delay_s(attempts, LAST_RETRY_S)
        with self._store.writing() as connection:
            next_attempt_at = self._now_us() + int(delay_s * MICROSECONDS)
            mark_failed(connection, pending.number, next_attempt_at=next_attempt_at, error=error)
        log.error(
            "%s (%s) refuses %s of %s, again in %.0f s: %s",
            name, channel.receiver.place, notice.state, notice.rule, delay_s, error,
        )  # fmt: skip
        return delay_s

    def _repeat(self, name: str, channel: _Channel) -> float:
        """Say again what fires and what has ended lately, if it is time; return the seconds until the next time."""
        wait_s = channel.repeated_s + REPEATED_EVERY_S - self._monotonic_s()
        if self._stopping or wait_s > 0.0:
            return wait_s
        with self._store.database.reading() as connection:
            over_since = self._now_us() - LIVES_US
            told = read_repeated(connection, self._store.model, name, over_since=over_since)
        for first in range(0, len(told), channel.receiver.at_once):
            for each, error in self._tell(channel, told[first : first + channel.receiver.at_once]):
                self._count(name, failures=1, last_error=error)
                log.error(
                    "%s (%s) refuses to hear again of %s: %s", name, channel.receiver.place, each.notice.rule, error
                )
        channel.repeated_s = self._monotonic_s()
        return REPEATED_EVERY_S

    def _delay_s(self, failures: int, last_s: float) -> float:
        # never below half of it, so that a receiver is not hammered by chance
        return min(last_s, FIRST_RETRY_S * 2.0 ** min(failures - 1, 30)) * (0.5 + 0.5 * self._jitter())

    def _status(self, name: str) -> DeliveryStatus:
        return next(status for status in self.statuses if status.channel == name)

    def _count(
        self, name: str, *, delivered: int = 0, failures: int = 0, given_up: int = 0, last_error: str | None
    ) -> None:
        before = self._status(name)
        self._replace(
            name,
            delivered=before.delivered + delivered,
            failures=before.failures + failures,
            given_up=before.given_up + given_up,
            last_error=last_error,
        )

    def _replace(self, name: str, **changes: object) -> None:
        self.statuses = tuple(
            replace(status, **changes) if status.channel == name else status  # pyrefly: ignore
            for status in self.statuses
        )
