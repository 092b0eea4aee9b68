"""The benchmark's rows as topics: keyed by id, which also says the partition, and stamped with event time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from zlib import crc32

import msgspec
from confluent_kafka import Producer
from kafka import KafkaAdminClient

PARTITIONS = 3
LATER_MS = 60_000  # the last record of a partition lies so far behind the last label
_decode = msgspec.json.Decoder(msgspec.defstruct("Stamp", [("_id", str), ("_time", int)])).decode


def create(address: str, topics: Iterable[str]) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=address)) as admin:
        admin.create_topics({topic: {"num_partitions": PARTITIONS} for topic in topics})
        admin.wait_for_topics(list(topics))


def send(address: str, folder: Path, topics: tuple[str, str], *, first: int, behind: int) -> float:
    """Send the pairs from ``first`` on, and return the monotonic seconds at which they were about to be visible.

    They are one transaction, so that readers get them at once. Each partition ends with a later record, as in a
    stream that goes on: what came before it waits for nobody.
    """
    producer = Producer(
        {
            "bootstrap.servers": address,
            "transactional.id": topics[0],
            "transaction.timeout.ms": 600_000,
            "linger.ms": 20,
            "batch.size": 1 << 18,
            "log_level": 0,
        }
    )
    producer.init_transactions()
    producer.begin_transaction()
    for topic, name in zip(topics, ("events", "outcomes"), strict=True):
        last_ms = 0
        for line in _lines(folder / name / "0.jsonl", first=first, behind=behind):
            stamp = _decode(line)
            last_ms = max(stamp._time, last_ms)
            key = stamp._id.encode()
            _produce(producer, topic, line, key, crc32(key) % PARTITIONS, stamp._time)
        for number in range(PARTITIONS):
            key, at_ms = b"last-%d-%s-%d" % (behind, name.encode(), number), last_ms + LATER_MS
            _produce(producer, topic, b'{"_id":"%s","_time":%d,"_late":false}' % (key, at_ms), key, number, at_ms)
    producer.flush()
    sent_s = time.monotonic()
    producer.commit_transaction()
    return sent_s


def _lines(file: Path, *, first: int, behind: int) -> Iterator[bytes]:
    with file.open("rb") as lines:
        for line in lines:
            if first <= int(line[len(b'{"_id":"f') : line.index(b'",')]) < behind:
                yield line.rstrip(b"\n")


def _produce(producer: Producer, topic: str, value: bytes, key: bytes, partition: int, at_ms: int) -> None:
    while True:
        try:
            return producer.produce(topic, value, key, partition, timestamp=at_ms)
        except BufferError:
            producer.poll(0.1)
