"""How messages of the compiled client become columns, where the brokers can't be made to show it."""

from typing import NamedTuple

import pytest

from stream import kafka_confluent
from stream.kafka_confluent import TIMESTAMP_LOG_APPEND_TIME, _fetched

CREATE = 1


class Sent(NamedTuple):
    """A message of the client's own type can't be made."""

    where: tuple[str, int]
    at: int
    body: bytes | None
    stamp: tuple[int, int] = (CREATE, 5)


class Message:
    topic = staticmethod(lambda sent: sent.where[0])
    partition = staticmethod(lambda sent: sent.where[1])
    offset = staticmethod(lambda sent: sent.at)
    value = staticmethod(lambda sent: sent.body)
    timestamp = staticmethod(lambda sent: sent.stamp)


@pytest.fixture(autouse=True)
def _messages(monkeypatch):
    monkeypatch.setattr(kafka_confluent, "Message", Message)


def shown(messages):
    return [(f.partition, f.offsets.tolist(), f.times_ms.tolist(), f.values, f.appended) for f in _fetched(messages)]


def test_nothing_gives_nothing():
    assert _fetched([]) == []


def test_columns_are_cut_where_another_partition_begins():
    a, b, other = ("t", 0), ("t", 1), ("u", 1)
    chunk = [Sent(a, 3, b"x"), Sent(a, 7, None), Sent(b, 0, b"y"), Sent(other, 1, b"z"), Sent(a, 8, b"w", (CREATE, -1))]
    assert shown(chunk) == [
        (("t", "0"), [3, 7], [5, 5], [b"x", b""], False),
        (("t", "1"), [0], [5], [b"y"], False),
        (("u", "1"), [1], [5], [b"z"], False),
        (("t", "0"), [8], [-1], [b"w"], False),
    ]


def test_whose_clock_it_is_is_asked_of_each_partition():
    broker = (TIMESTAMP_LOG_APPEND_TIME, 9)
    chunk = [Sent(("t", 0), 0, b"", broker), Sent(("u", 0), 0, b"")]
    assert [appended for *_, appended in shown(chunk)] == [True, False]
