"""Memory while Kafka has far more than anybody takes."""

import random
import time

import psutil
import pytest

from tests.system.kafka import CLIENTS, reading

pytestmark = pytest.mark.system

MESSAGES, SIZE = 200_000, 2_000
MEGABYTE = 1e6


@pytest.fixture(scope="module")
def topic(kafka):
    """400 MB on two partitions."""
    made = kafka.topic(partitions=2)
    for partition in (0, 1):
        kafka.send(made, [random.randbytes(SIZE)] * (MESSAGES // 2), partition)
    return made


@pytest.mark.parametrize("client", CLIENTS)
def test_a_slow_reader_holds_little(kafka, client, topic):
    process = psutil.Process()
    with reading(client, kafka.address, topic) as source:
        before = process.memory_info().rss
        most, taken, end_s = 0, 0, time.monotonic() + 3
        while time.monotonic() < end_s:
            taken += sum(len(batch.messages) for batch in source.poll(source.partitions(), 10))
            most = max(most, process.memory_info().rss - before)
            time.sleep(0.02)  # it has more to do than to read
    assert 100 < taken < MESSAGES / 20
    assert most < 150 * MEGABYTE
