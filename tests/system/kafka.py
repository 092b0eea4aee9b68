"""A Kafka of the tests' own, with what goes into it. Riverd's clients are not used for that."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.kafka.local_broker import LocalBroker, NotInstalledError
from stream.kafka import KafkaSource
from stream.kafka_client import KafkaClient, KafkaSettings
from stream.source import Batch, Partition, Source
from tests.system.programs import missing

CLIENTS = ("kafka-python", "confluent")
DEADLINE_S = 30.0
LIMIT = 3 << 20  # bytes of a message, for the broker
USER, PASSWORD = "river", "s3cret"
PLAIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_river="s3cret";'
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class Kafka:
    """One broker for all tests, which is killed and started again by some, and a topic for each.

    ``address`` takes everybody. ``secure_address`` wants TLS and a password, and gives ``USER`` rights to topics
    that were made ``readable`` alone.
    """

    def __init__(self) -> None:
        from tests.system.certificates import make_certificates

        self.certificates = make_certificates()
        try:
            self.broker = LocalBroker(
                {
                    "message.max.bytes": f"{LIMIT}",
                    "log.cleaner.backoff.ms": "100",
                    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                    "super.users": "User:ANONYMOUS",
                    "listener.name.secure.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
                    "listener.name.secure.plain.sasl.jaas.config": PLAIN,
                    "listener.name.secure.scram-sha-512.sasl.jaas.config": SCRAM,
                    "listener.name.secure.ssl.keystore.type": "PEM",
                    "listener.name.secure.ssl.keystore.location": str(self.certificates.server),
                },
                secure=True,
            )
        except NotInstalledError as error:
            self.certificates.close()
            missing(str(error).partition(" ")[0])
        self._numbers = itertools.count()
        self._admin: Any = None
        self._scram_made = False

    @property
    def address(self) -> str:
        return self.broker.address

    @property
    def admin(self) -> Any:
        """A client of our own, made anew after the broker was away."""
        from kafka import KafkaAdminClient

        if self._admin is None:
            self._admin = KafkaAdminClient(bootstrap_servers=self.address, reconnect_backoff_max_ms=500)
        return self._admin

    def again(self) -> None:
        """The broker was away."""
        self.rest()
        eventually(lambda: self.admin.describe_topics([]) is not None)

    def rest(self) -> None:
        """Have no threads, so that this process can fork."""
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    def topic(self, partitions: int = 1, *, name: str | None = None, **configs: Any) -> str:
        name = name or f"topic-{next(self._numbers)}"
        told = {key.replace("_", "."): str(value) for key, value in configs.items()}
        self.admin.create_topics({name: {"num_partitions": partitions, "configs": told}})
        self.admin.wait_for_topics([name])
        return name

    def set_topic(self, topic: str, **configs: Any) -> None:
        from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

        entries = [
            ConfigEntry(key.replace("_", "."), str(value), incremental_operation=AlterConfigOpType.SET)
            for key, value in configs.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        client = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        for future in client.incremental_alter_configs([resource]).values():
            future.result(DEADLINE_S)

    def readable(self, topic: str) -> str:
        """Let ``USER`` read it, but see no group, and make its SCRAM password."""
        from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

        pattern = ResourcePattern(ResourceType.TOPIC, topic)
        self.admin.create_acls([ACL(f"User:{USER}", "*", ACLOperation.READ, ACLPermissionType.ALLOW, pattern)])
        self.make_scram_password()
        return topic

    def make_scram_password(self) -> None:
        from confluent_kafka.admin import (
            AdminClient,
            ScramCredentialInfo,
            ScramMechanism,
            UserScramCredentialUpsertion,
        )

        if not self._scram_made:
            info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
            made = UserScramCredentialUpsertion(USER, info, PASSWORD.encode())
            client = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
            for future in client.alter_user_scram_credentials([made]).values():
                future.result(DEADLINE_S)
            self._scram_made = True

    def producer(self, **options: Any) -> Any:
        from confluent_kafka import Producer

        told = {key.replace("_", "."): value for key, value in options.items()}
        return Producer({"bootstrap.servers": self.address, "log_level": 0, "message.max.bytes": LIMIT, **told})

    def send(self, topic: str, messages: Iterable[bytes | None], partition: int = 0, **options: Any) -> None:
        """In few batches."""
        self.send_in_order(((topic, partition, message) for message in messages), **options)

    def send_in_order(self, messages: Iterable[tuple[str, int, bytes | None]], **options: Any) -> None:
        """Topic, partition and value of each."""
        producer = self.producer(linger_ms=50, **options)
        for topic, partition, message in messages:
            while True:
                try:
                    producer.produce(topic, message, partition=partition)
                    break
                except BufferError:
                    producer.poll(0.1)
        assert producer.flush(DEADLINE_S) == 0

    def told(self, group: str) -> dict[Partition, int]:
        """The offsets that a group has."""
        from kafka.errors import RetriableError

        try:
            offsets = self.admin.list_group_offsets([group])[group]
        except RetriableError:  # the first time the broker makes a topic for them
            return {}
        return {Partition(theirs.topic, str(theirs.partition)): found.offset for theirs, found in offsets.items()}

    def log_file(self, topic: str, partition: int = 0) -> Path:
        """Where its messages lie, as long as they are few."""
        return self.broker.folder / "data" / f"{topic}-{partition}" / f"{0:020}.log"

    def close(self) -> None:
        self.rest()
        self.broker.close()
        self.certificates.close()


def connect(client: str, settings: KafkaSettings) -> Callable[[float], KafkaClient]:
    def connected(timeout_s: float) -> KafkaClient:
        if client == "kafka-python":
            from stream.kafka_python import KafkaPythonClient

            return KafkaPythonClient(settings, timeout_s=timeout_s)
        from stream.kafka_confluent import ConfluentClient

        return ConfluentClient(settings, timeout_s=timeout_s)

    return connected


@contextmanager
def reading(
    client: str, address: str, *topics: str, security: Mapping[str, Any] | None = None, **options: Any
) -> Iterator[KafkaSource]:
    """A source that looks at Kafka ten times a second."""
    settings = KafkaSettings((address,), "riverd-test", **(security or {}))
    changed: dict[str, Any] = {"bounded": False, "interval_s": 0.1, "start_timeout_s": 10.0, **options}
    source = KafkaSource(connect(client, settings), address, topics, **changed)
    try:
        yield source
    finally:
        source.close()


def eventually(condition: Callable[[], Any], *, within_s: float = DEADLINE_S) -> Any:
    """What it gives, once that is true."""
    end_s = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < end_s, "it never came true"
        time.sleep(0.01)
    return found


def poll_until(source: Source, condition: Callable[[list[Batch]], Any], max_records: int = 1000) -> list[Batch]:
    """All batches that came until the condition holds of them."""
    batches: list[Batch] = []
    end_s = time.monotonic() + DEADLINE_S
    while True:
        came = source.poll(source.partitions(), max_records)
        batches += came
        if condition(batches):
            return batches
        if not came:
            assert time.monotonic() < end_s, "it never came"
            time.sleep(0.01)


def drain(source: Source, max_records: int = 1000) -> list[Batch]:
    """Everything, until all partitions are at their ends."""
    return poll_until(source, lambda _: all(map(source.at_end, source.partitions())), max_records)


def messages(batches: Sequence[Batch], partition: Partition | None = None) -> list[bytes]:
    return [message for batch in batches if partition in (None, batch.partition) for message in batch.messages]


def places(batches: Sequence[Batch], partition: Partition) -> list[int]:
    return [int(offset) for batch in batches if batch.partition == partition for offset in batch.positions]
