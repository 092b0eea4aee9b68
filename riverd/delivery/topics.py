"""Sends what lies ready for topics, in a thread of its own: predictions and dead letters, once they are committed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from riverd.delivery.producers import Producer
from riverd.delivery.receivers import UnreachableError
from riverd.status import DeliveryStatus
from storage.errors import Fenced, StorageError
from storage.outgoing import delete_parcel, next_parcel, unpack, waiting_messages
from storage.store import Store

log = logging.getLogger("riverd")

FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0
LOOK_S = 60.0


@dataclass(slots=True)
class _Lane:
    """How it stands with one topic; times are of the monotonic clock."""

    topic: str
    producer: Producer | None = None  # one each: after a failure kafka-python's takes nothing more for any topic
    failed_in_a_row: int = 0
    open_s: float = float("-inf")  # nothing is sent before
    status: DeliveryStatus = field(init=False)

    def __post_init__(self) -> None:
        self.status = DeliveryStatus(self.topic)

    def hang_up(self) -> None:
        if self.producer is not None:
            self.producer.close()
            self.producer = None


class TopicSender:
    """Sends parcels in the order in which they were written: at least once, and always the same content.

    A parcel is forgotten when the brokers have all of it. If riverd is killed before that is noted, or a broker
    before it has answered, all of the parcel is sent again.

    Parameters
    ----------
    store
        Where the parcels are; it must hold the lease. Once that is lost nothing more is sent.
    topics
        Those that get any.
    connect
        Makes the producer, once there is something to send.
    reached
        Told when a parcel has been sent, which is not noted yet.

    Attributes
    ----------
    statuses : tuple of DeliveryStatus
        How it stood after the last round, by topic; replaced as a whole, so that any thread may read it.
    """

    def __init__(
        self,
        store: Store,
        topics: Sequence[str],
        connect: Callable[[], Producer],
        *,
        reached: Callable[[str], None] = lambda _: None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.statuses = tuple(DeliveryStatus(topic) for topic in topics)
        self._store = store
        self._lanes = [_Lane(topic) for topic in topics]
        self._connect = connect
        self._reached = reached
        self._monotonic_s = monotonic_s
        self._wake = threading.Event()
        self._stopping = False
        self._stop_by_s = float("inf")
        self._thread = threading.Thread(target=self._run, name="riverd-topics", daemon=True)

    def start(self) -> None:
        """Begin with what an earlier run left behind."""
        if self._lanes:
            self._thread.start()

    def wake(self) -> None:
        """Something was committed. Any thread may call this; it returns at once."""
        self._wake.set()

    def close(self, *, within_s: float) -> None:
        """Send what is there, then stop; wait no longer than this."""
        self._stop_by_s = self._monotonic_s() + within_s
        self._stopping = True
        self._wake.set()
        if self._lanes:
            self._thread.join(within_s)

    def _run(self) -> None:
        stop = False
        while not stop:
            stop = self._stopping  # read first: then this round still sees what was committed before
            self._wake.clear()
            wait_s = self.round()
            if not stop:
                self._wake.wait(wait_s)
        for lane in self._lanes:
            lane.hang_up()

    def round(self) -> float:
        """Send all there is; return the seconds until the next round unless something is committed before."""
        wait_s = LOOK_S
        for lane in self._lanes:
            try:
                if self._monotonic_s() >= lane.open_s:
                    self._serve(lane)
                self._look(lane)
            except Fenced:
                self._stopping = True  # another sends it now; the engine stops too, and says why
            except StorageError as error:
                log.error(
                    "what is to be sent to %s can't be read or noted, again in %.0f s: %s", lane.topic, LOOK_S, error
                )
            except Exception:
                # a fault of ours with one topic must not silence the other
                log.exception("sending to %s failed, again in %.0f s", lane.topic, LOOK_S)
                lane.open_s = self._monotonic_s() + LOOK_S
            if lane.failed_in_a_row:
                wait_s = min(wait_s, lane.open_s - self._monotonic_s())
        self.statuses = tuple(lane.status for lane in self._lanes)
        return max(wait_s, 0.0)

    def _serve(self, lane: _Lane) -> None:
        try:
            self._empty(lane)
        except UnreachableError as error:
            lane.hang_up()
            lane.failed_in_a_row += 1
            delay_s = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(lane.failed_in_a_row - 1, 30))
            lane.open_s = self._monotonic_s() + delay_s
            lane.status = replace(lane.status, failures=lane.status.failures + 1, last_error=str(error))
            if lane.failed_in_a_row == 1:
                log.error("%s does not take what is to be sent, which waits in the database: %s", lane.topic, error)
        else:
            if lane.failed_in_a_row:
                log.info("%s takes what is to be sent again", lane.topic)
            lane.failed_in_a_row = 0

    def _empty(self, lane: _Lane) -> None:
        while self._monotonic_s() < self._stop_by_s:
            with self._store.writing() as connection:  # for the holder of the lease alone
                stored = next_parcel(connection, self._store.model, lane.topic)
            if stored is None:
                return
            if lane.producer is None:
                lane.producer = self._connect()
            lane.producer.send(lane.topic, unpack(stored.parcel))
            self._reached("topics.sent")
            with self._store.writing() as connection:
                delete_parcel(connection, stored.number)
            delivered = lane.status.delivered + stored.parcel.count
            lane.status = replace(lane.status, delivered=delivered, last_error=None)

    def _look(self, lane: _Lane) -> None:
        with self._store.database.reading() as connection:
            waiting, oldest_at = waiting_messages(connection, self._store.model, lane.topic)
        lane.status = replace(lane.status, waiting=waiting, oldest_at=oldest_at)
