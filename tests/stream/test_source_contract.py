"""What every source has to do, whatever is behind it."""

from __future__ import annotations

from contextlib import ExitStack, closing

import numpy as np
import pytest

from stream.files import FileSource
from stream.memory import MemorySource
from stream.source import Mark, Partition, SourceError
from tests.system.kafka import CLIENTS, drain, eventually, messages, poll_until, reading

LONGEST = 1024
FIRST = [b"message %d" % i for i in range(50)]


class Memory:
    """Topics in memory."""

    topic = "clicks"

    def __init__(self):
        self.topics = {}

    def append(self, number, written):
        self.topics.setdefault(Partition(self.topic, str(number)), []).extend(written)

    def open(self, *, bounded):
        return closing(MemorySource(self.topics, bounded=bounded))


class Files:
    """Topics in a folder."""

    topic = "clicks"

    def __init__(self, folder):
        self.folder = folder
        (folder / self.topic).mkdir()

    def append(self, number, written):
        with (self.folder / self.topic / f"{number}.jsonl").open("ab") as file:
            file.writelines(message + b"\n" for message in written)

    def open(self, *, bounded):
        return closing(FileSource(self.folder, [self.topic], bounded=bounded, max_message_bytes=LONGEST))


class Kafka:
    """A topic of a real broker, which gets a partition when it is written to."""

    def __init__(self, server, client):
        self.server, self.client = server, client
        self.topic = server.topic()
        self.partitions = 1

    def append(self, number, written):
        if number >= self.partitions:
            self.partitions = number + 1
            self.server.admin.create_partitions({self.topic: self.partitions})
        self.server.send(self.topic, [message or None for message in written], number)

    def open(self, *, bounded):
        return reading(self.client, self.server.address, self.topic, bounded=bounded, max_message_bytes=LONGEST)


STORED = ["files", *CLIENTS]


@pytest.fixture(params=["memory", *STORED])
def world(request, tmp_path):
    """Somewhere to write messages to, and to read them from: ``FIRST`` is there."""
    if request.param == "memory":
        made = Memory()
    elif request.param == "files":
        made = Files(tmp_path)
    else:
        made = Kafka(request.getfixturevalue("kafka"), request.param)
    made.append(0, FIRST)
    return made


@pytest.fixture
def open_source(world):
    with ExitStack() as opened:
        yield lambda *, bounded=False: opened.enter_context(world.open(bounded=bounded))


@pytest.fixture
def zero(world):
    return Partition(world.topic, "0")


def marks(batches):
    """Each message with the position to be marked to get it again."""
    return [
        (int(position), message)
        for batch in batches
        for position, message in zip(batch.positions, batch.messages, strict=True)
    ]


@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("max_records", [1, 7, 1000])
def test_everything_comes_once_and_in_order(open_source, zero, bounded, max_records):
    source = open_source(bounded=bounded)
    assert source.partitions() == [zero]
    batches = drain(source, max_records)
    assert messages(batches) == FIRST
    assert max(len(batch.messages) for batch in batches) <= max_records
    position = 0
    for batch in batches:
        assert batch.partition == zero
        assert batch.positions.dtype == np.int64
        assert position <= batch.positions[0]
        assert (np.diff(batch.positions) > 0).all()
        assert batch.positions[-1] < batch.next_position
        position = batch.next_position
    assert source.poll([zero], max_records) == []


@pytest.mark.parametrize("taken", [0, 1, 20, 50])
def test_a_mark_leads_on(open_source, zero, taken):
    source = open_source(bounded=True)
    before = poll_until(source, lambda batches: len(messages(batches)) >= taken, 1) if taken else []
    mark = Mark(before[-1].next_position if before else 0, source.fingerprint(zero))
    again = open_source(bounded=True)
    again.seek({zero: mark})
    assert messages(before) + messages(drain(again)) == FIRST


def test_every_position_is_a_mark(open_source, zero):
    source = open_source(bounded=True)
    found = marks(drain(source))
    fingerprint = source.fingerprint(zero)
    source = open_source(bounded=True)
    for position, message in found[::-9]:
        source.seek({zero: Mark(position)} if not fingerprint else {zero: Mark(position, fingerprint)})
        polled = poll_until(source, lambda batches: batches, 1)
        assert messages(polled) == [message]


def test_what_is_appended_comes_unless_the_ends_are_fixed(world, open_source, zero):
    tailing, bounded = open_source(), open_source(bounded=True)
    assert messages(drain(tailing)) == FIRST
    world.append(0, [b"later"])
    assert messages(poll_until(tailing, lambda batches: batches)) == [b"later"]
    eventually(lambda: tailing.at_end(zero) or tailing.partitions() is None)
    assert messages(drain(bounded)) == FIRST
    assert bounded.poll([zero], 100) == []


def test_new_partitions_are_found_unless_the_ends_are_fixed(world, open_source, zero):
    tailing, bounded = open_source(), open_source(bounded=True)
    drain(tailing)
    one = Partition(world.topic, "1")
    world.append(1, [b"new"])
    assert messages(poll_until(tailing, lambda batches: batches)) == [b"new"]
    assert tailing.partitions() == [zero, one]
    assert messages(drain(bounded)) == FIRST
    assert bounded.partitions() == [zero]


def test_only_what_is_wanted_is_polled(world, open_source, zero):
    world.append(1, [b"of one"])
    source = open_source(bounded=True)
    one = Partition(world.topic, "1")
    polled = []
    eventually(lambda: polled.extend(source.poll([one], 10)) or source.at_end(one))
    assert messages(polled) == [b"of one"]
    assert not source.at_end(zero)
    assert source.poll([], 10) == []
    assert messages(drain(source)) == FIRST


def test_an_empty_partition_is_at_its_end(world, open_source):
    world.append(2, [])
    source = open_source(bounded=True)
    drain(source)
    two = Partition(world.topic, "2")
    assert two in source.partitions()
    assert source.at_end(two)
    assert isinstance(source.fingerprint(two), str)


def test_an_empty_message_is_a_tombstone(world, open_source):
    world.append(0, [b"", b"after"])
    assert messages(drain(open_source(bounded=True))) == [*FIRST, b"", b"after"]


@pytest.mark.parametrize("world", STORED, indirect=True)  # a list in memory has no limit, and is trusted
def test_a_message_that_is_too_long_is_broken_and_no_other(world, open_source):
    world.append(0, [b"x" * LONGEST, b"y" * (LONGEST + 1), b"after"])
    batches = drain(open_source(bounded=True))
    assert messages(batches) == [*FIRST, b"x" * LONGEST, b"y" * LONGEST, b"after"]
    broken = [(batch.messages[index], reason) for batch in batches for index, reason in batch.broken.items()]
    assert broken == [(b"y" * LONGEST, "the message has 1,025 bytes, more than max_message_bytes = 1,024")]


def test_progress_goes_from_nothing_to_all(open_source):
    source = open_source(bounded=True)
    assert source.progress() == 0.0
    poll_until(source, lambda batches: batches, 1)
    assert 0.0 < source.progress() < 0.1
    drain(source)
    assert source.progress() == 1.0


@pytest.mark.parametrize("world", STORED, indirect=True)  # a list in memory has no limit, and is trusted
def test_a_mark_beyond_the_end_is_refused(world, open_source, zero):
    source = open_source(bounded=True)
    drain(source)
    with pytest.raises(SourceError, match="\n  "):
        open_source(bounded=True).seek({zero: Mark(10**9, source.fingerprint(zero))})


@pytest.mark.parametrize("world", STORED, indirect=True)  # a list in memory has no limit, and is trusted
def test_a_partition_that_is_gone_is_refused(world, open_source):
    with pytest.raises(SourceError, match="\n  "):
        open_source(bounded=True).seek({Partition(world.topic, "7"): Mark(5)})


def test_what_is_committed_changes_nothing(open_source, zero):
    source = open_source(bounded=True)
    drain(source, 10)
    source.commit({zero: 20})
    assert messages(drain(open_source(bounded=True))) == FIRST
