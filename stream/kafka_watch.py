"""Looks at the topics from a thread of its own, so that a broker that hangs never holds up the engine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from stream.kafka_client import KafkaClient, Topic, UnreachableError
from stream.source import Partition, SourceError

log = logging.getLogger("riverd")

CLOSE_S = 1.0  # a look that hangs is left behind
SOON_S = 0.1  # between two looks when somebody waits for them


class Range(NamedTuple):
    """Offsets of a partition: the oldest there is, and the one after the last committed message."""

    first: int
    end: int


class Sighting(NamedTuple):
    """What the brokers said of the topics at one moment."""

    at_s: float
    topics: dict[str, Topic]  # those that exist
    ranges: dict[Partition, Range]


class Watch:
    """Asks again and again, from ``start`` to ``close``, and says once when no broker answers, and when one does.

    Parameters
    ----------
    client, servers
        What to ask, and what to call it.
    topics
        Names of the topics.
    interval_s
        Wall time between two looks when nobody waits for one.
    monotonic_s
        Seconds of a clock that never goes back.

    Attributes
    ----------
    latest : Sighting
        It grows old while no broker answers.
    fault : SourceError or None
        Why looking on makes no sense.
    """

    def __init__(
        self,
        client: KafkaClient,
        servers: str,
        topics: Sequence[str],
        *,
        interval_s: float,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._client = client
        self._servers = servers
        self._topics = topics
        self._interval_s = interval_s
        self._monotonic_s = monotonic_s
        self._stop = threading.Event()
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="riverd-kafka-watch", daemon=True)
        self.fault: SourceError | None = None
        self.latest = Sighting(monotonic_s(), {}, {})

    def look(self) -> Sighting:
        """Ask now, and wait for the answer.

        Raises
        ------
        UnreachableError, SourceError
            None came, or it was denied.
        """
        began_s = self._monotonic_s()
        topics = self._client.describe(self._topics)
        partitions = [partition for topic in topics.values() for partition in topic.partitions]
        first = self._client.offsets(partitions, "first")
        end = self._client.offsets(partitions, "end")
        ranges = {partition: Range(first[partition], end[partition]) for partition in partitions}
        self.latest = Sighting(began_s, topics, ranges)
        return self.latest

    def start(self) -> None:
        self._thread.start()

    def look_soon(self) -> None:
        self._wanted.set()

    def close(self) -> None:
        self._stop.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        silent_since_s: float | None = None
        while not self._pause():
            began_s = self._monotonic_s()
            try:
                self.look()
            except UnreachableError as error:
                if silent_since_s is None and not self._stop.is_set():
                    silent_since_s = began_s
                    log.warning("no Kafka broker at %s answers (%s); riverd waits for one", self._servers, error)
            except SourceError as error:
                self.fault = error
                return
            else:
                if silent_since_s is not None:
                    log.warning("Kafka answers again, after %.0f s", self._monotonic_s() - silent_since_s)
                silent_since_s = None

    def _pause(self) -> bool:
        """Wait until the next look is due; True when there is to be none."""
        soon_s = min(SOON_S, self._interval_s)
        if not self._stop.wait(soon_s):
            self._wanted.wait(self._interval_s - soon_s)
            self._wanted.clear()
        return self._stop.is_set()
