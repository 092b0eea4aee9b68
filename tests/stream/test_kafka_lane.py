"""What is held of a Kafka partition, against a list: every message comes out once, in order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka_client import NO_TIME, Fetched
from stream.kafka_lane import KEPT_BYTES, Lane
from stream.source import Partition
from stream.timestamps import INVALID

ZERO = Partition("t", "0")
LONGEST = 40  # bytes

messages = st.lists(st.tuples(st.integers(1, 3), st.sampled_from([0, 1, 7, 39, 40, 41, 90])), min_size=1, max_size=9)
steps = st.lists(st.one_of(messages, st.integers(1, 12), st.just("gap")), max_size=30)


def fetched(offsets, values, times_ms=None):
    times_ms = [NO_TIME] * len(offsets) if times_ms is None else times_ms
    return Fetched(ZERO, np.array(offsets, np.int64), np.array(times_ms, np.int64), list(values))


@given(steps=steps, end=st.one_of(st.none(), st.integers(0, 60)))
def test_all_that_was_held_comes_out_once_and_in_order(steps, end):
    lane = Lane(begin=0, fetched=0, end=end or 0, fixed=end is not None)
    next_offset, held, taken = 0, [], []
    for step in steps:
        if step == "gap":
            lane.pass_over(ZERO, next_offset + 5, "unreadable")
            held.append((next_offset, b"", "unreadable"))
            next_offset += 5
        elif isinstance(step, list):
            offsets, values = [], []
            for stride, size in step:
                next_offset += stride
                offsets.append(next_offset - 1)
                values.append(bytes([next_offset % 256]) * size)
            lane.hold(fetched(offsets, values), max_message_bytes=LONGEST)
            for offset, value in zip(offsets, values, strict=True):
                if end is None or offset < end:
                    reason = f"the message has {len(value)} bytes, more than max_message_bytes = {LONGEST}"
                    held.append((offset, value[:LONGEST], reason if len(value) > LONGEST else None))
        else:
            batch = lane.take(step)
            assert (batch is None) == (not held)
            if batch is not None:
                assert 0 < len(batch.messages) <= step
                assert batch.next_position == batch.positions[-1] + 1
                for index, (offset, value) in enumerate(zip(batch.positions.tolist(), batch.messages, strict=True)):
                    taken.append(held.pop(0))
                    assert taken[-1] == (offset, value, batch.broken.get(index))
        assert lane.fetched == next_offset
        assert lane.records == len(held)
        assert lane.bytes == sum(len(value) for _, value, _ in held)


def test_a_message_that_is_too_long_keeps_its_beginning():
    lane = Lane(begin=0, fetched=0, end=0, fixed=False)
    lane.hold(fetched([0, 1], [b"x" * 3 * KEPT_BYTES, b"y"]), max_message_bytes=2 * KEPT_BYTES)
    batch = lane.take(2)
    assert [len(message) for message in batch.messages] == [KEPT_BYTES, 1]
    assert batch.broken == {0: "the message has 196,608 bytes, more than max_message_bytes = 131,072"}


def test_times_become_microseconds_or_none():
    lane = Lane(begin=0, fetched=0, end=0, fixed=False)
    times_ms = [0, 1_700_000_000_123, NO_TIME, 1 << 60, -(1 << 62), -2]
    lane.hold(fetched(range(6), [b"x"] * 6, times_ms), max_message_bytes=10)
    assert lane.take(6).times.tolist() == [0, 1_700_000_000_123_000, INVALID, INVALID, INVALID, -2000]
