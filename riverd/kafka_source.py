"""The Kafka that the config names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from riverd.config import Config, resolve_path
from riverd.errors import ConfigError
from stream.kafka import KafkaSource
from stream.kafka_client import KafkaClient, KafkaSettings
from stream.kafka_losses import AcceptLoss

PASSWORD = "RIVERD_KAFKA_PASSWORD"


def open_kafka(
    config: Config, config_path: Path, topics: Sequence[str], *, bounded: bool, accept_loss: AcceptLoss | None
) -> KafkaSource:
    """Connect, and find the topics.

    Raises
    ------
    ConfigError
        The client is not installed, a file is missing, or the password is.
    SourceError
        No broker answers, access is denied, or a topic does not exist.
    """
    source = config.source
    settings = kafka_settings(config, config_path)

    def connect(timeout_s: float) -> KafkaClient:
        return _client(source.client, settings, timeout_s=timeout_s)

    return KafkaSource(
        connect,
        ", ".join(source.bootstrap_servers),
        topics,
        bounded=bounded,
        accept_loss=accept_loss,
        max_message_bytes=source.max_message_bytes,
    )


def kafka_settings(config: Config, config_path: Path) -> KafkaSettings:
    """Where its brokers are, and who we are to them.

    Raises
    ------
    ConfigError
        A file is missing, or the password is.
    """
    source = config.source
    return KafkaSettings(
        bootstrap_servers=tuple(source.bootstrap_servers),
        group=f"riverd-{config.model.name}",
        security_protocol=source.security_protocol,
        sasl_mechanism=source.sasl_mechanism,
        sasl_username=source.sasl_username,
        sasl_password=_password(config),
        ca_file=_file(config_path, "ca_file", source.ca_file),
        cert_file=_file(config_path, "cert_file", source.cert_file),
        key_file=_file(config_path, "key_file", source.key_file),
    )


def _client(name: str, settings: KafkaSettings, *, timeout_s: float) -> KafkaClient:
    if name == "kafka-python":
        from stream.kafka_python import KafkaPythonClient

        return KafkaPythonClient(settings, timeout_s=timeout_s)
    try:
        from stream.kafka_confluent import ConfluentClient
    except ModuleNotFoundError:
        raise ConfigError(
            '[source] client = "confluent" needs confluent-kafka, which is not installed.\n'
            "  pip install 'riverd[fast]', or leave client out."
        ) from None
    return ConfluentClient(settings, timeout_s=timeout_s)


def _password(config: Config) -> str | None:
    if config.source.sasl_mechanism is None:
        return None
    password = os.environ.get(PASSWORD)
    if not password:
        raise ConfigError(
            f"{PASSWORD} is not set, but Kafka asks {config.source.sasl_username!r} for a password.\n"
            "  Set it in the environment of riverd: it never stands in the config."
        )
    return password


def _file(config_path: Path, key: str, name: str | None) -> str | None:
    if name is None:
        return None
    path = resolve_path(config_path, name)
    if not path.is_file():
        raise ConfigError(f'[source] {key} = "{name}": {path} does not exist.\n  Correct it, or put the file there.')
    return str(path)
