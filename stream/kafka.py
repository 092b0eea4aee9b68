"""Topics of Kafka: positions are offsets, and come from marks alone, never from a consumer group."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from typing import TypeVar

from stream.kafka_client import CorruptError, KafkaClient, OutOfRangeError, UnreachableError
from stream.kafka_corruption import first_readable
from stream.kafka_lane import Lane
from stream.kafka_losses import AcceptLoss, Loss, make_fingerprint, refusal, resume
from stream.kafka_watch import Sighting, Watch
from stream.source import Batch, Mark, Partition, SourceError

log = logging.getLogger("riverd")

FETCH_RECORDS = 8192
WAIT_S = 0.1  # for a first message
FRESH_S = 5.0  # what was seen longer ago says nothing about now
REPAIR_S = 3.0  # for a second client to connect
RETRY_S = 0.5  # between two attempts to commit
CLOSE_S = 3.0  # for the last of them

Connect = Callable[[float], KafkaClient]  # gives up after so many seconds
Answer = TypeVar("Answer")


class KafkaSource:
    """Committed messages of topics, from the oldest on or from given marks.

    A topic is known by its identity: one that was deleted and created anew is refused. New partitions are found
    while it is read. Brokers that are away are waited for, and connected to again.

    Parameters
    ----------
    connect, servers
        Makes a client, and what to call the brokers it speaks to.
    topics
        Their names. One that does not exist yet is waited for, unless ``bounded``.
    bounded
        The ends of now are the ends.
    accept_loss
        Where to go on when Kafka no longer holds what comes next; None refuses.
    max_message_bytes
        A longer message is handed on as broken, with its beginning alone.
    start_timeout_s
        How long to wait for a first answer.
    interval_s
        Wall time between two looks at what there is.
    stall_s
        A partition that has more but stands still so long is assigned anew; after as long again reading fails.
    monotonic_s
        Seconds of a clock that never goes back.

    Attributes
    ----------
    clocks : dict of str
        By topic, whose clock its timestamps are of: "CreateTime", the producer's, or "LogAppendTime", the broker's.

    Raises
    ------
    SourceError
        No broker answers, access is denied, or a topic does not exist.
    """

    def __init__(
        self,
        connect: Connect,
        servers: str,
        topics: Sequence[str],
        *,
        bounded: bool,
        accept_loss: AcceptLoss | None = None,
        max_message_bytes: int = 1 << 20,
        start_timeout_s: float = 15.0,
        interval_s: float = 1.0,
        stall_s: float = 60.0,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._servers = servers
        self._topics = topics
        self._bounded = bounded
        self._accept_loss: AcceptLoss | None = accept_loss
        self._max_message_bytes = max_message_bytes
        self._stall_s = stall_s
        self._monotonic_s = monotonic_s
        self.clocks: dict[str, str] = {}
        self._lanes: dict[Partition, Lane] = {}
        self._ids: dict[str, str] = {}  # of topics
        self._awaited: set[str] = set()  # topics that do not exist yet
        self._fault: CorruptError | OutOfRangeError | None = None  # to be seen to before more is fetched
        self._fetches = 0  # since Kafka was last looked at
        self._to_commit = self._committed = dict[Partition, int]()
        self._committing: Future[None] | None = None
        self._closing = threading.Event()
        self._start_timeout_s = start_timeout_s
        self._client = self._insist(lambda: connect(start_timeout_s))
        try:
            self._watch = Watch(self._client, servers, topics, interval_s=interval_s, monotonic_s=monotonic_s)
            self._seen = self._insist(self._watch.look)
            self._discover(self._seen)
        except SourceError:
            self._client.close()
            raise
        self._committer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="riverd-kafka-commit")
        self._watch.start()

    def _insist(self, ask: Callable[[], Answer]) -> Answer:
        give_up_s = self._monotonic_s() + self._start_timeout_s
        while True:
            try:
                return ask()
            except UnreachableError as error:
                if self._monotonic_s() >= give_up_s:
                    raise SourceError(
                        f"no Kafka broker at {self._servers} has answered within {self._start_timeout_s:g} s: "
                        f"{error}.\n  Start it, or correct [source] bootstrap_servers, security_protocol, ca_file, "
                        "sasl_username, or RIVERD_KAFKA_PASSWORD."
                    ) from error
                time.sleep(WAIT_S)

    def partitions(self) -> list[Partition]:
        self._follow()
        return sorted(self._lanes)

    def _follow(self) -> None:
        """Take note of what the watch has seen since."""
        if self._watch.fault is not None:
            raise self._watch.fault
        before, seen = self._seen, self._watch.latest
        if seen is before:
            return
        self._seen = seen
        if not self._bounded:
            self._discover(seen)
            for partition, found in seen.ranges.items():
                self._lanes[partition].end = found.end
        self._see_progress(min(seen.at_s - before.at_s, FRESH_S))

    def _discover(self, seen: Sighting) -> None:
        missing = {topic for topic in self._topics if topic not in seen.topics}
        if missing and self._bounded:
            raise SourceError(
                f"topic {min(missing)!r} does not exist at {self._servers}.\n"
                "  Create it, or correct the topic's name in the config."
            )
        for topic in sorted(missing - self._awaited):
            log.warning("topic %r does not exist at %s; riverd waits for it", topic, self._servers)
        self._awaited = missing
        recreated = {name for name, topic in seen.topics.items() if self._ids.setdefault(name, topic.id) != topic.id}
        if recreated:
            raise refusal(
                [
                    Loss(partition, lane.fetched, seen.ranges[partition], recreated=True)
                    for partition, lane in self._lanes.items()
                    if partition.topic in recreated and partition in seen.ranges
                ]
            )
        new = seen.ranges.keys() - self._lanes.keys()
        for partition in new:
            first, end = seen.ranges[partition]
            self._lanes[partition] = Lane(begin=first, fetched=first, end=end, fixed=self._bounded)
        if new:
            self._assign()

    def _assign(self) -> None:
        for lane in self._lanes.values():
            lane.paused = lane.done
        self._client.assign({partition: lane.fetched for partition, lane in self._lanes.items() if not lane.done})

    def _see_progress(self, elapsed_s: float) -> None:
        """Assign anew once what stands still though there is more, and give up if that does not help."""
        assign = False
        for partition, lane in self._lanes.items():
            still = self._fetches and not lane.paused and lane.stood_at == lane.fetched < lane.end
            lane.stood_at, lane.stood_s = lane.fetched, lane.stood_s + elapsed_s if still else 0.0
            if lane.stood_s >= 2 * self._stall_s:
                raise SourceError(
                    f"topic {partition.topic}, partition {partition.name} has stood at offset {lane.fetched:,} for "
                    f"{lane.stood_s:.0f} s though it goes on to {lane.end:,}, also after it was assigned anew.\n"
                    "  Start riverd again: nothing is lost. If that does not help, see the broker that leads it."
                )
            if lane.stood_s >= self._stall_s > lane.stood_s - elapsed_s:
                log.warning("%s/%s stands at offset %d of %d; assigning anew", *partition, lane.fetched, lane.end)
                assign = True
        self._fetches = 0
        if assign:
            self._assign()

    def seek(self, marks: Mapping[Partition, Mark]) -> dict[Partition, int]:
        # a standby has waited for long, and whom it takes over from has read on since the last look
        seen = self._insist(self._watch.look)
        positions, losses = resume(marks, seen)
        if losses and self._accept_loss is None:
            raise refusal(losses)
        lost = {loss.partition: loss for loss in losses}
        for partition, position in positions.items():
            begin, end = seen.ranges[partition]
            if self._bounded and partition in self._lanes:
                end = self._lanes[partition].end
            if partition in lost and self._accept_loss is not None:
                begin = position = lost[partition].accepted(self._accept_loss)
                log.warning("loss accepted: %s; going on at %d", lost[partition], position)
            positions[partition] = position
            self._lanes[partition] = Lane(begin=begin, fetched=position, end=end, fixed=self._bounded)
        self._assign()
        return positions

    def poll(self, wanted: Collection[Partition], max_records: int) -> list[Batch]:
        self._follow()
        self._hold_back()
        lanes = [self._lanes[partition] for partition in sorted(wanted)]
        if any(not lane.records and not lane.done for lane in lanes) and self._repaired():
            self._fetch(0.0 if any(lane.records for lane in lanes) else WAIT_S)
        return [batch for lane in lanes if (batch := lane.take(max_records)) is not None]

    def _hold_back(self) -> None:
        """Let the client fetch no more of what nobody takes."""
        pause = [p for p, lane in self._lanes.items() if not lane.paused and (lane.full or lane.done)]
        again = [p for p, lane in self._lanes.items() if lane.paused and lane.drained and not lane.done]
        for partition in pause + again:
            self._lanes[partition].paused = not self._lanes[partition].paused
        if pause:
            self._client.pause(pause)
        if again:
            self._client.resume({partition: self._lanes[partition].fetched for partition in again})

    def _fetch(self, wait_s: float) -> None:
        self._fetches += 1
        try:
            fetched = self._client.fetch(wait_s, FETCH_RECORDS)
        except (CorruptError, OutOfRangeError) as error:
            self._fault = error
            return
        for each in fetched:
            self._lanes[each.partition].hold(each, max_message_bytes=self._max_message_bytes)
            self.clocks[each.partition.topic] = "LogAppendTime" if each.appended else "CreateTime"
        came = {each.partition for each in fetched}
        for partition, lane in self._lanes.items():
            # compacted, aborted and control records are passed without a message
            if partition not in came and not lane.paused and lane.fetched < lane.end:
                lane.fetched = max(lane.fetched, self._client.position(partition))

    def _repaired(self) -> bool:
        """See to the last fault, if there is one; False while that can't be done for want of a broker."""
        if self._fault is None:
            return True
        try:
            if isinstance(self._fault, CorruptError):
                self._pass_over(self._fault)
            else:
                self._refuse_lost()
        except UnreachableError:
            return False
        self._fault = None
        self._assign()
        return True

    def _pass_over(self, fault: CorruptError) -> None:
        suspects = [fault.partition] if fault.partition is not None else list(self._lanes)
        found = False
        with closing(self._connect(REPAIR_S)) as probe:
            ends = probe.offsets(suspects, "end")
            for partition in suspects:
                lane = self._lanes[partition]
                found |= lane.done  # what lies behind the end is not ours to judge
                if lane.done or lane.fetched >= ends[partition]:
                    continue
                behind = first_readable(probe, partition, lane.fetched, end=ends[partition])
                if behind is not None:
                    reason = f"offsets {lane.fetched:,} to {behind - 1:,} can't be read and were passed over: {fault}"
                    log.error("%s/%s: %s", *partition, reason)
                    lane.pass_over(partition, behind, reason)
                    found = True
        if not found:
            raise SourceError(
                f"Kafka's messages could not be read: {fault}.\n"
                '  Start riverd again: nothing is lost. If that does not help, try [source] client = "confluent".'
            ) from fault

    def _refuse_lost(self) -> None:
        """The fault may be a replica's that lags; it is not if what there is does not hold where we stand."""
        ranges = self._watch.look().ranges
        losses = [
            Loss(partition, lane.fetched, ranges[partition])
            for partition, lane in self._lanes.items()
            if partition in ranges and not ranges[partition].first <= lane.fetched <= ranges[partition].end
        ]
        if losses:
            raise refusal(losses)

    def at_end(self, partition: Partition) -> bool:
        lane = self._lanes[partition]
        if lane.records or lane.fetched < lane.end:
            return False
        # while no broker answers nobody knows
        return self._bounded or self._monotonic_s() - self._seen.at_s < FRESH_S

    def looked_s(self) -> float:
        return self._seen.at_s

    def look_soon(self) -> None:
        self._watch.look_soon()

    def fingerprint(self, partition: Partition) -> str:
        return make_fingerprint(self._ids[partition.topic], self._lanes[partition].begin)

    def progress(self) -> float | None:
        lanes = self._lanes.values()
        total = sum(max(lane.end, lane.fetched) - lane.begin for lane in lanes)
        return sum(lane.fetched - lane.begin - lane.records for lane in lanes) / total if total else None

    def commit(self, positions: Mapping[Partition, int]) -> None:
        self._to_commit = {partition: position for partition, position in positions.items() if position}
        if self._committing is None or self._committing.done():
            self._committing = self._committer.submit(self._commit)

    def _commit(self) -> None:
        while (positions := self._to_commit) is not self._committed and not self._closing.is_set():
            try:
                self._client.commit(positions)
                self._committed = positions
            except UnreachableError as error:
                log.debug("the group was not told, again in %g s: %s", RETRY_S, error)
                self._closing.wait(RETRY_S)
            except SourceError as error:
                log.debug("the group is not told: %s", error)
                self._committed = positions

    def close(self) -> None:
        self._watch.close()
        if self._to_commit is not self._committed:
            wait([self._committer.submit(self._commit)], CLOSE_S)
        self._closing.set()
        self._committer.shutdown(wait=False)
        self._client.close()
