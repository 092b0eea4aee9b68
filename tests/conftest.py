"""Servers that tests share: each is started when the first test asks for it, once in a session."""

import pytest

from tests.system.kafka import Kafka
from tests.system.postgres import Postgres


@pytest.fixture(scope="session")
def postgres():
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(scope="session")
def kafka():
    server = Kafka()
    yield server
    server.close()
