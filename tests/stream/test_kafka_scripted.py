"""What no broker does on demand: stand still, give half an answer, lose its place. The client is a script."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka import KafkaSource
from stream.kafka_client import CorruptError, Fetched, OutOfRangeError, Topic, UnreachableError
from stream.kafka_corruption import first_readable
from stream.source import Partition, SourceError

ZERO, ONE = Partition("clicks", "0"), Partition("clicks", "1")


class Script:
    """A client that has ``there`` messages of each partition, and of which a test may bend any part."""

    def __init__(self, *partitions):
        self.there = dict.fromkeys(partitions, 0)
        self.first = dict.fromkeys(partitions, 0)
        self.assigned = {}
        self.assignments = 0
        self.mute = set()  # partitions of which nothing comes
        self.faults = []  # raised by the next fetches
        self.now_s = 0.0
        self.closed = False

    def describe(self, _):
        return {"clicks": Topic("id", tuple(self.there))}

    def offsets(self, partitions, which):
        of = self.first if which == "first" else self.there
        return {partition: of[partition] for partition in partitions}

    def commit(self, _):
        raise UnreachableError("never mind")

    def assign(self, positions):
        self.assigned = dict(positions)
        self.assignments += 1

    def pause(self, partitions):
        for partition in partitions:
            del self.assigned[partition]

    def resume(self, positions):
        self.assigned |= positions

    def fetch(self, _, at_most):
        if self.faults:
            raise self.faults.pop()
        fetched = []
        for partition, position in self.assigned.items():
            count = min(self.there[partition] - position, at_most)
            if count > 0 and partition not in self.mute:
                offsets = np.arange(position, position + count)
                fetched.append(Fetched(partition, offsets, offsets, [b"%d" % offset for offset in offsets]))
        self.assigned |= {each.partition: int(each.offsets[-1]) + 1 for each in fetched}
        return fetched

    def position(self, partition):
        return self.assigned[partition]

    def close(self):
        self.closed = True


@pytest.fixture
def script():
    return Script(ZERO, ONE)


@pytest.fixture
def source(script):
    made = KafkaSource(
        lambda _: script,
        "a:1",
        ["clicks"],
        bounded=False,
        interval_s=1e6,
        stall_s=10.0,
        monotonic_s=lambda: script.now_s,
    )
    yield made
    made.close()


def pass_time(script, source, seconds):
    """Look and poll once a second."""
    polled = []
    for _ in range(seconds):
        script.now_s += 1.0
        source._watch.look()
        polled += source.poll(source.partitions(), 100)
    return polled


def test_a_partition_that_stands_still_is_assigned_anew_once_and_then_given_up(script, source, caplog):
    caplog.set_level(logging.WARNING)
    script.there[ZERO] = 5
    script.mute.add(ZERO)
    before = script.assignments
    pass_time(script, source, 10)
    assert script.assignments == before
    pass_time(script, source, 3)
    assert script.assignments == before + 1
    assert "clicks/0 stands at offset 0 of 5; assigning anew" in caplog.text
    with pytest.raises(SourceError, match=r"partition 0 has stood at offset 0 for 20 s .*\n  Start riverd again"):
        pass_time(script, source, 10)
    assert script.assignments == before + 1


def test_a_partition_that_moves_or_has_no_more_is_left_alone(script, source):
    before = script.assignments
    for there in range(60):
        script.there[ZERO] = there
        pass_time(script, source, 1)
    pass_time(script, source, 60)
    assert script.assignments == before


def test_a_partition_that_is_held_back_is_left_alone(script, source):
    script.there |= {ZERO: 100_000, ONE: 10**9}
    before = script.assignments
    for _ in range(60):
        script.now_s += 1.0
        source._watch.look()
        source.poll([ONE], 1_000_000)
    assert script.assignments == before
    assert source._lanes[ZERO].paused


def test_time_without_a_broker_does_not_count_as_standing_still(script, source):
    script.there[ZERO] = 5
    script.mute.add(ZERO)
    before = script.assignments
    pass_time(script, source, 3)
    script.now_s += 1000.0  # nobody looked
    pass_time(script, source, 1)
    assert script.assignments == before
    assert not source.at_end(ZERO)


def test_what_was_seen_long_ago_is_no_end(script, source):
    assert source.at_end(ZERO)
    script.now_s += 60.0
    assert not source.at_end(ZERO)
    pass_time(script, source, 1)
    assert source.at_end(ZERO)


def test_a_place_that_was_lost_for_a_moment_is_taken_up_again(script, source):
    script.there[ZERO] = 5
    script.faults.append(OutOfRangeError("a replica lags"))
    polled = pass_time(script, source, 3)
    assert [offset for batch in polled for offset in batch.positions] == [0, 1, 2, 3, 4]


def test_a_place_that_is_lost_is_refused(script, source):
    script.there[ZERO] = 5
    pass_time(script, source, 1)
    script.first[ZERO] = 7
    script.there[ZERO] = 9
    script.faults.append(OutOfRangeError("gone"))
    with pytest.raises(SourceError, match="wanted offset 5, the oldest is 7"):
        pass_time(script, source, 2)


def test_what_can_not_be_read_and_not_be_found_is_no_endless_loop(script, source):
    script.there[ZERO] = 5  # and nothing of the other partition, which is no proof of anything
    script.faults.append(CorruptError("it makes no sense"))
    with pytest.raises(SourceError, match="could not be read: it makes no sense"):
        pass_time(script, source, 2)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5), st.booleans()), min_size=1, max_size=8), st.data())
def test_the_way_past_a_batch_that_can_not_be_read(drawn, data):
    """Batches of any length with holes behind them, some of which can't be read, in any order."""
    batches, at = [], 0
    for length, hole, bad in drawn:
        batches.append((at, at + length, at + length + hole, bad))
        at += length + hole
    offset = data.draw(st.integers(0, at - 1))

    class Log:
        """A client to which an offset in a hole means the batch behind it."""

        def assign(self, positions):
            ((_, self.at),) = positions.items()

        def fetch(self, *_):
            first, bad = next(((first, bad) for first, last, _, bad in batches if self.at < last), (at, False))
            if bad:
                raise CorruptError("bad", ZERO, first)
            return [first]

    found = first_readable(Log(), ZERO, offset, end=at)
    last, bad = next(((last, bad) for _, last, _, bad in batches if offset < last), (at, False))
    assert found == (last if bad else None)
