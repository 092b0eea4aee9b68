"""Kafka through confluent-kafka: about a million messages a second, by a compiled client."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from itertools import pairwise
from operator import itemgetter
from typing import Any, Literal

import numpy as np
from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from stream.kafka_client import CorruptError, Fetched, KafkaSettings, OutOfRangeError, Topic, UnreachableError
from stream.source import Partition, SourceError

REQUEST_S = 3.0
CLOSE_S = 3.0
_DENIED = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,  # not GROUP_: of groups nothing is needed
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
)
_UNREADABLE = (KafkaError._BAD_MSG, KafkaError._BAD_COMPRESSION, KafkaError._NOT_IMPLEMENTED)
_OUT_OF_RANGE = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._LOG_TRUNCATION)


class ConfluentClient:
    """The client of ``client = "confluent"``."""

    def __init__(self, settings: KafkaSettings, *, timeout_s: float) -> None:
        self._group = settings.group
        self._heard = ""  # the last error of a connection
        self._fault: Exception | None = None  # to be raised once what came before it has been returned
        options = options_of(settings) | {"error_cb": self._hear}
        self._admin = AdminClient(options)
        self._consumer = Consumer(
            options
            | {
                "group.id": settings.group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,  # moves the position past what readers never see
                "check.crcs": True,
                "queued.max.messages.kbytes": 1 << 15,
                "fetch.wait.max.ms": 100,  # what is assigned or resumed waits for the fetch that is under way
                "fetch.queue.backoff.ms": 10,  # the default pauses for a second whenever the queue is full
            }
        )
        try:
            self._consumer.list_topics(timeout=timeout_s)
        except KafkaException as error:
            self.close()
            raise self._translated(error) from error

    def describe(self, topics: Collection[str]) -> dict[str, Topic]:
        found: dict[str, Topic] = {}
        asked = self._admin.describe_topics(TopicCollection(list(topics)), request_timeout=REQUEST_S)
        for name, future in asked.items():
            try:
                topic = self._result(future)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise self._translated(error) from error
            else:
                numbers = sorted(partition.id for partition in topic.partitions)
                found[name] = Topic(_uuid(topic.topic_id), tuple(Partition(name, str(number)) for number in numbers))
        return found

    def offsets(self, partitions: Collection[Partition], which: Literal["first", "end"]) -> dict[Partition, int]:
        if not partitions:
            return {}
        spec: Any = OffsetSpec.earliest() if which == "first" else OffsetSpec.latest()
        asked = {_theirs(partition): spec for partition in partitions}
        answer = self._admin.list_offsets(
            asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=REQUEST_S
        )
        try:
            return {_ours(theirs): self._result(future).offset for theirs, future in answer.items()}
        except KafkaException as error:
            raise self._translated(error) from error

    def commit(self, positions: Mapping[Partition, int]) -> None:
        # not through the admin client: what it asks of a group aborts the process when the connection is lost
        told = [_theirs(partition, position) for partition, position in positions.items()]
        try:
            self._consumer.commit(offsets=told, asynchronous=True)
        except KafkaException as error:
            raise self._translated(error) from error

    def assign(self, positions: Mapping[Partition, int]) -> None:
        self._fault = None
        self._consumer.assign([_theirs(partition, position) for partition, position in positions.items()])

    def pause(self, partitions: Collection[Partition]) -> None:
        self._consumer.pause(list(map(_theirs, partitions)))

    def resume(self, positions: Mapping[Partition, int]) -> None:
        self._consumer.resume(list(map(_theirs, positions)))

    def fetch(self, wait_s: float, at_most: int) -> list[Fetched]:
        if self._fault is not None:
            raise self._fault
        messages = self._consumer.consume(at_most, 0)
        if not messages and wait_s:  # it would wait for as many as it is asked for, so it is asked for one
            messages = self._consumer.consume(1, wait_s)
            messages += self._consumer.consume(at_most, 0) if messages else []
        errors = list(map(Message.error, messages))
        if any(errors):
            messages = self._sound(messages, errors)
        if self._fault is not None and not messages:
            raise self._fault
        return _fetched(messages)

    def _sound(self, messages: list[Message], errors: list[KafkaError | None]) -> list[Message]:
        """The messages up to the first fault: what follows it is not to be trusted."""
        sound: list[Message] = []
        for message, error in zip(messages, errors, strict=True):
            if error is None:
                sound.append(message)
            elif (fault := _fault(message, error)) is not None:
                self._fault = fault
                break
        return sound

    def position(self, partition: Partition) -> int:
        if self._fault is not None:  # it has passed messages that were not handed on
            return 0
        return max(self._consumer.position([_theirs(partition)])[0].offset, 0)

    def close(self) -> None:
        # a commit that no broker takes would hold it up for 45 s
        closing = threading.Thread(target=self._consumer.close, daemon=True)
        closing.start()
        closing.join(CLOSE_S)

    def _hear(self, error: KafkaError) -> None:
        self._heard = error.str()

    def _result(self, future: Future[Any]) -> Any:
        try:
            return future.result(2 * REQUEST_S)
        except FutureTimeoutError:
            raise UnreachableError(self._heard or "no answer") from None

    def _translated(self, error: KafkaException) -> Exception:
        theirs: KafkaError = error.args[0]
        if theirs.code() in _DENIED:
            return _denied(theirs)
        return UnreachableError(f"{theirs.str()} ({self._heard})" if self._heard else theirs.str())


def options_of(settings: KafkaSettings) -> dict[str, Any]:
    options = {
        "bootstrap.servers": ",".join(settings.bootstrap_servers),
        "client.id": settings.group,
        "reconnect.backoff.max.ms": 2_000,
        "log_level": 0,  # what matters riverd says itself
        "security.protocol": settings.security_protocol,
        "sasl.mechanisms": settings.sasl_mechanism,
        "sasl.username": settings.sasl_username,
        "sasl.password": settings.sasl_password,
        "ssl.ca.location": settings.ca_file,
        "ssl.certificate.location": settings.cert_file,
        "ssl.key.location": settings.key_file,
    }
    return {name: value for name, value in options.items() if value is not None}


def _theirs(partition: Partition, offset: int | None = None) -> TopicPartition:
    place = partition.topic, int(partition.name)
    return TopicPartition(*place) if offset is None else TopicPartition(*place, offset)


def _ours(theirs: TopicPartition) -> Partition:
    return Partition(theirs.topic, str(theirs.partition))


def _uuid(theirs: Any) -> str:
    halves = theirs.get_most_significant_bits(), theirs.get_least_significant_bits()
    return str(uuid.UUID(bytes=b"".join((half % 2**64).to_bytes(8, "big") for half in halves)))


def _fetched(messages: list[Message]) -> list[Fetched]:
    """Messages as columns, each taken in one go, and cut where another partition begins."""
    count = len(messages)
    topics = list(map(Message.topic, messages))
    known = {topic: number for number, topic in enumerate(dict.fromkeys(topics))}
    of_topic = np.fromiter(map(known.__getitem__, topics), np.int64, count)
    partitions = np.fromiter(map(Message.partition, messages), np.int64, count)
    offsets = np.fromiter(map(Message.offset, messages), np.int64, count)
    times_ms = np.fromiter(map(itemgetter(1), map(Message.timestamp, messages)), np.int64, count)
    values = [value or b"" for value in map(Message.value, messages)]
    cuts = (np.flatnonzero((np.diff(partitions) != 0) | (np.diff(of_topic) != 0)) + 1).tolist()
    return [
        Fetched(
            Partition(str(topics[start]), str(partitions[start])),
            offsets[start:stop],
            times_ms[start:stop],
            values[start:stop],
            appended=Message.timestamp(messages[stop - 1])[0] == TIMESTAMP_LOG_APPEND_TIME,
        )
        for start, stop in pairwise([0, *cuts, count])
        if stop > start
    ]


def _fault(message: Message, error: KafkaError) -> Exception | None:
    """What an event that is no message means; None where it means nothing to us."""
    code = error.code()
    if code in _OUT_OF_RANGE:
        return OutOfRangeError(error.str())
    if code in _UNREADABLE:
        partition = Partition(str(message.topic()), str(message.partition()))
        bad_checksum = code == KafkaError._BAD_MSG
        reason = "its checksum (CRC) does not fit" if bad_checksum else error.str()
        return CorruptError(reason, partition, message.offset() if bad_checksum else None)
    return _denied(error) if code in _DENIED else None


def _denied(error: KafkaError) -> SourceError:
    return SourceError(
        f"Kafka denies access: {error.str().rstrip('.')}.\n"
        "  See [source] sasl_username and RIVERD_KAFKA_PASSWORD, and the user's rights to describe and read the topics."
    )
