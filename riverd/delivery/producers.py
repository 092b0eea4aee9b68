"""Sending to topics of Kafka: returns once all brokers that must have the messages have them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from riverd.config import Config
from riverd.delivery.receivers import UnreachableError
from riverd.kafka_source import kafka_settings
from storage.outgoing import Message
from stream.kafka_client import KafkaSettings

SEND_S = 30.0


class Producer(Protocol):
    """Takes messages for topics."""

    def send(self, topic: str, messages: Sequence[Message]) -> None:
        """Send them all, those of one key in order.

        Raises
        ------
        UnreachableError
            Not all have been taken; some may have been.
        """

    def close(self) -> None: ...


class KafkaPythonProducer:
    """Sends by kafka-python."""

    def __init__(self, settings: KafkaSettings) -> None:
        from kafka import KafkaProducer
        from kafka.errors import KafkaError

        from stream.kafka_python import options_of

        try:
            self._producer = KafkaProducer(
                **options_of(settings),
                acks="all",
                enable_idempotence=True,
                compression_type="gzip",
                linger_ms=10,
                max_block_ms=round(1e3 * SEND_S / 3),
                request_timeout_ms=round(1e3 * SEND_S / 3),
                delivery_timeout_ms=round(1e3 * SEND_S),
            )
        except KafkaError as error:
            raise UnreachableError(f"{type(error).__name__}: {error}") from error

    def send(self, topic: str, messages: Sequence[Message]) -> None:
        from kafka.errors import KafkaError

        futures: list[Any] = []
        heard: BaseException | None = None
        try:
            futures.extend(
                self._producer.send(topic, message.value, message.key, headers=message.headers) for message in messages
            )
            self._producer.flush(timeout=SEND_S)
        except KafkaError as error:
            heard = error
        for future in futures:
            if not future.succeeded():
                reason = future.exception or heard or "no answer"
                raise UnreachableError(f"{topic} has not taken a message: {reason}")
        if heard is not None:
            raise UnreachableError(f"{type(heard).__name__}: {heard}") from heard

    def close(self) -> None:
        from kafka.errors import KafkaError

        with suppress(KafkaError):  # what was not sent is sent anew, by another producer
            self._producer.close(timeout=1.0)


class ConfluentProducer:
    """Sends by confluent-kafka."""

    def __init__(self, settings: KafkaSettings) -> None:
        from confluent_kafka import Producer as Client

        from stream.kafka_confluent import options_of

        self._producer = Client(
            options_of(settings)
            | {
                "enable.idempotence": True,
                "compression.type": "gzip",
                "linger.ms": 10,
                "delivery.timeout.ms": round(1e3 * SEND_S),
                "queue.buffering.max.messages": 1_000_000,
            }
        )

    def send(self, topic: str, messages: Sequence[Message]) -> None:
        failed: list[str] = []

        def taken(error: Any, _: object) -> None:
            if error is not None:
                failed.append(error.str())

        for message in messages:
            while True:
                try:
                    self._producer.produce(
                        topic, message.value, message.key, headers=[*message.headers], on_delivery=taken
                    )
                    break
                except BufferError:
                    self._producer.poll(0.1)
            self._producer.poll(0)
        left = self._producer.flush(SEND_S)
        if failed or left:
            reason = failed[0] if failed else "no answer"
            self._producer.purge()
            self._producer.flush(1.0)
            raise UnreachableError(f"{topic} has not taken {len(failed) + left} messages: {reason}")

    def close(self) -> None:
        self._producer.flush(1.0)


def open_producer(config: Config, config_path: Path) -> Producer:
    """The producer for the brokers of [source], by the client that is named there.

    Raises
    ------
    UnreachableError
        No broker answers.
    """
    settings = kafka_settings(config, config_path)
    return KafkaPythonProducer(settings) if config.source.client == "kafka-python" else ConfluentProducer(settings)
