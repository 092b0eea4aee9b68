"""Kafka through kafka-python: no compiled client is needed, about 500,000 messages a second."""

from __future__ import annotations

import gc
import logging
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition, errors
from kafka.admin import OffsetSpec
from kafka.structs import OffsetAndMetadata

from stream.kafka_client import (
    CorruptError,
    Fetched,
    KafkaSettings,
    OutOfRangeError,
    Topic,
    UnreachableError,
)
from stream.kafka_records import read_in_runs, run_of
from stream.source import Partition, SourceError

REQUEST_MS = 3_000
RECONNECT_MS = 2_000  # at most between two attempts
CLOSE_MS = 1_000
_DENIED = (errors.AuthorizationError, errors.SaslAuthenticationFailedError)
_UNKNOWN_TOPIC = errors.UnknownTopicOrPartitionError.errno


class _LastFailure(logging.Handler):
    """Keeps the client's log from standard error, and the reason that its time-outs do not name."""

    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith("Bootstrap connection to ") and "uthentication" not in self.text:
            self.text = text.partition(" failed: ")[2].partition(" (backoff")[0]


_HEARD = _LastFailure(logging.WARNING)


class KafkaPythonClient:
    """The client of ``client = "kafka-python"``."""

    def __init__(self, settings: KafkaSettings, *, timeout_s: float) -> None:
        if _HEARD not in logging.getLogger("kafka").handlers:
            logging.getLogger("kafka").addHandler(_HEARD)
        self._group = settings.group
        options = options_of(settings) | {"bootstrap_timeout_ms": max(int(timeout_s * 1000), 1)}
        _HEARD.text = ""
        with _translated():
            self._admin = KafkaAdminClient(**options, request_timeout_ms=REQUEST_MS)
            self._consumer = KafkaConsumer(
                **options,
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level="read_committed",
                fetch_max_wait_ms=100,  # what is resumed waits for the fetch that is under way
                allow_auto_create_topics=False,
                metrics_enabled=False,
            )
        read_in_runs(self._consumer)

    def describe(self, topics: Collection[str]) -> dict[str, Topic]:
        found: dict[str, Topic] = {}
        with _translated():
            for topic in self._admin.describe_topics(list(topics)):
                if topic["error_code"] not in (0, _UNKNOWN_TOPIC):
                    raise errors.for_code(topic["error_code"])(topic["name"])
                numbers = sorted(partition["partition_index"] for partition in topic["partitions"])
                if numbers:
                    partitions = tuple(Partition(topic["name"], str(number)) for number in numbers)
                    found[topic["name"]] = Topic(str(topic["topic_id"] or ""), partitions)
        return found

    def offsets(self, partitions: Collection[Partition], which: Literal["first", "end"]) -> dict[Partition, int]:
        spec = OffsetSpec.EARLIEST if which == "first" else OffsetSpec.LATEST
        asked = {_theirs(partition): spec for partition in partitions}
        with _translated():
            answer = self._admin.list_partition_offsets(asked, isolation_level="read_committed", timeout_ms=REQUEST_MS)
        return {_ours(theirs): found.offset for theirs, found in answer.items()}

    def commit(self, positions: Mapping[Partition, int]) -> None:
        with _translated():
            told = {_theirs(partition): OffsetAndMetadata(position) for partition, position in positions.items()}
            for error in self._admin.alter_group_offsets(self._group, told).values():
                if error is not errors.NoError:
                    raise error(self._group)

    def assign(self, positions: Mapping[Partition, int]) -> None:
        self._consumer.assign([_theirs(partition) for partition in positions])
        self._seek(positions)

    def _seek(self, positions: Mapping[Partition, int]) -> None:
        for partition, position in positions.items():
            self._consumer.seek(_theirs(partition), position)

    # In 3.0 a partition that is paused with messages parsed may never be heard of again, so it is taken away instead.

    def pause(self, partitions: Collection[Partition]) -> None:
        self._consumer.assign([*self._consumer.assignment().difference(map(_theirs, partitions))])

    def resume(self, positions: Mapping[Partition, int]) -> None:
        self._consumer.assign([*self._consumer.assignment().union(map(_theirs, positions))])
        self._seek(positions)

    def fetch(self, wait_s: float, at_most: int) -> list[Fetched]:
        try:
            polled = self._consumer.poll(timeout_ms=int(wait_s * 1000), max_records=at_most)
        except (errors.OffsetOutOfRangeError, errors.LogTruncationError) as error:
            raise OutOfRangeError(str(error)) from error
        except errors.RetriableError:  # it goes on by itself
            return []
        except _DENIED as error:
            raise _denied(error) from error
        except errors.UnsupportedCodecError as error:
            raise SourceError(
                f"Kafka's messages are compressed with a codec that kafka-python has no library for: {error}.\n"
                '  Install it (for snappy: pip install python-snappy), or set [source] client = "confluent".'
            ) from error
        except Exception as error:  # of the many kinds that unreadable bytes raise
            raise _corrupt(error) from error
        return [_fetched(theirs, records) for theirs, records in polled.items()]

    def position(self, partition: Partition) -> int:
        return self._consumer.position(_theirs(partition), timeout_ms=0) or 0

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=CLOSE_MS)
        self._admin.close()


def options_of(settings: KafkaSettings) -> dict[str, Any]:
    return {
        "bootstrap_servers": list(settings.bootstrap_servers),
        "client_id": settings.group,
        "reconnect_backoff_max_ms": RECONNECT_MS,
        "security_protocol": settings.security_protocol,
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": settings.sasl_password,
        "ssl_cafile": settings.ca_file,
        "ssl_certfile": settings.cert_file,
        "ssl_keyfile": settings.key_file,
    }


def _theirs(partition: Partition) -> TopicPartition:
    return TopicPartition(partition.topic, int(partition.name))


def _ours(theirs: TopicPartition) -> Partition:
    return Partition(theirs.topic, str(theirs.partition))


def _fetched(theirs: TopicPartition, records: list[Any]) -> Fetched:
    run = run_of(records)
    return Fetched(_ours(theirs), run.offsets, run.times_ms, run.values, appended=records[-1].timestamp_type == 1)


@contextmanager
def _translated() -> Iterator[None]:
    """Their errors as ours."""
    try:
        yield
    except _DENIED as error:
        raise _denied(error) from error
    except errors.KafkaError as error:
        gc.collect()  # connections that were refused hold their sockets in cycles: an outage must not use them up
        raise UnreachableError(f"{error} ({_HEARD.text})" if _HEARD.text else str(error)) from error


def _denied(error: Exception) -> SourceError:
    return SourceError(
        f"Kafka denies access: {error}.\n"
        "  See [source] sasl_username and RIVERD_KAFKA_PASSWORD, and the user's rights to describe and read the topics."
    )


def _corrupt(error: Exception) -> CorruptError:
    """Which batch it is stands in the text alone, if anywhere."""
    named = re.search(r"topic='(.+?)', partition=(\d+)\).* at offset (\d+)", str(error))
    if named is None:
        return CorruptError(f"{type(error).__name__}: {error}")
    return CorruptError("its checksum (CRC) does not fit", Partition(named[1], named[2]), int(named[3]))
