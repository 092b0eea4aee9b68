"""Any polling of any partitions gives the one order, against sorting."""

from collections import Counter
from itertools import accumulate, cycle
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.decoding import Chunk
from stream.merge import BEGINNING, END, EVENT, LABEL, Merger
from stream.records import DEAD, SOUND, TOMBSTONE, Events, Labels
from stream.source import Partition


class Stream(NamedTuple):
    """One partition: the own time and the flaw of each record; its position is 10 * index."""

    partition: Partition
    kind: int
    records: list[tuple[int, int]]

    def orders(self):
        return list(accumulate((time if flaw == SOUND else BEGINNING for time, flaw in self.records), max))

    def chunk(self, first, last, number):
        records = self.records[first:last]
        n = len(records)
        position = np.arange(first, last, dtype=np.int64) * 10
        time = np.array([time for time, _ in records], np.int64)
        shared = {
            "key": position.astype(np.uint64),
            "check": np.full(n, number, np.uint32),
            "time": time,
            "order": time,
            "partition": np.full(n, number, np.int32),
            "position": position,
            "flaw": np.array([flaw for _, flaw in records], np.uint8),
        }
        if self.kind == EVENT:
            wide = position[:, np.newaxis].repeat(3, axis=1)
            columns = Events(
                **shared,
                label=np.full(n, -1, np.int8),
                weight=np.ones(n, np.float32),
                score=np.zeros(n),
                categories=wide.astype(np.uint64),
                numbers=wide.astype(float),
                words=wide.astype(np.uint64),
                slices=wide.astype(np.uint64),
            )
        else:
            columns = Labels(**shared, value=np.ones(n, np.int8))
        reasons = {10 * (first + i): f"flaw {flaw}" for i, (_, flaw) in enumerate(records) if flaw != SOUND}
        return Chunk(self.partition, columns, 10 * last, [payload(self.partition, p) for p in position], reasons)


def payload(partition, position):
    return f"{partition} {position}".encode()


def expected(streams):
    """All records in merged order: (order, kind, partition, position)."""
    return sorted(
        (order, stream.kind, stream.partition, 10 * i) for stream in streams for i, order in enumerate(stream.orders())
    )


def merger_of(streams):
    nothing = [Stream(Partition("", ""), kind, []).chunk(0, 0, 0).columns for kind in (EVENT, LABEL)]
    merger = Merger(events_empty=nothing[0], labels_empty=nothing[1])
    for stream in streams:
        merger.add(stream.partition, kind=stream.kind)
    return merger


def push(merger, chunks):
    merger.hold(chunks)
    return merger.release()


class Reader:
    """Polls streams into a merger as the engine does, and remembers what came out."""

    def __init__(self, streams, merger, sizes=(1,)):
        self.streams, self.merger = streams, merger
        # each partition has turns of its own, or one might be polled for nothing for ever
        self.sizes = [cycle([*sizes[i % len(sizes) :], *sizes[: i % len(sizes)]]) for i in range(len(streams))]
        self.next = {s.partition: merger.lanes[s.partition].released_position // 10 for s in streams}
        self.released = []

    def at_end(self, stream):
        return self.next[stream.partition] == len(stream.records)

    def done(self):
        lanes = self.merger.lanes
        return all(not len(lanes[s.partition]) and (lanes[s.partition].closed or self.at_end(s)) for s in self.streams)

    def step(self, at_most=4):
        chunks = []
        for stream, sizes in zip(self.streams, self.sizes, strict=True):
            lane = self.merger.lanes[stream.partition]
            if stream.partition in self.merger.wanted(at_most):
                first = self.next[stream.partition]
                last = min(first + next(sizes), len(stream.records))
                if last > first:
                    chunks.append(stream.chunk(first, last, lane.number))
                    self.next[stream.partition] = last
            lane.live = not self.at_end(stream)
        ordered = push(self.merger, chunks)
        for kind, record in zip(ordered.kind.tolist(), ordered.record.tolist(), strict=True):
            columns = ordered.events if kind == EVENT else ordered.labels
            position = int(columns.position[record])
            partition, message, reason = self.merger.message(int(columns.partition[record]), position)
            assert message == payload(partition, position)
            assert (reason is None) == (columns.flaw[record] == SOUND)
            assert columns.key[record] == position
            if kind == EVENT:
                assert columns.numbers[record].tolist() == columns.categories[record].tolist() == [position] * 3
            self.released.append((int(columns.order[record]), kind, partition, position))
        assert ordered.watermark == self.merger.watermark == max([BEGINNING, *(order for order, *_ in self.released)])


records = st.lists(st.tuples(st.integers(0, 12), st.sampled_from([SOUND] * 6 + [DEAD, TOMBSTONE])), max_size=12).map(
    lambda steps: [(max(0, i + jitter - 6), flaw) for i, (jitter, flaw) in enumerate(steps)]
)


@st.composite
def streams_of_up_to_six(draw):
    names = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True))
    kinds = draw(st.lists(st.sampled_from([EVENT, LABEL]), min_size=len(names), max_size=len(names)))
    # one topic of each kind, the events' the first by name
    return [
        Stream(Partition("arrived" if kind == LABEL else "aired", name), kind, draw(records))
        for name, kind in zip(names, kinds, strict=True)
    ]


polls = st.lists(st.integers(0, 4), min_size=1, max_size=8).map(lambda sizes: [*sizes, 1])


def complete(streams, reader):
    """What must have been released by now: all that no record still to come can precede."""
    rank = {s.partition: i for i, s in enumerate(sorted(streams, key=lambda s: (s.kind, s.partition)))}
    fronts = [(reader.merger.lanes[s.partition].last_order, rank[s.partition]) for s in streams if not reader.at_end(s)]
    front = min(fronts, default=(END, 0))
    fetched = [r for r in expected(streams) if r[3] < 10 * reader.next[r[2]]]
    return [r for r in fetched if (r[0], rank[r[2]]) <= front]


def test_any_polling_gives_the_sorted_order_as_early_as_it_can():
    seen = Counter()

    @settings(max_examples=300, deadline=None)
    @given(streams_of_up_to_six(), polls, st.integers(1, 6))
    def check(streams, sizes, at_most):
        everything = expected(streams)
        reader = Reader(streams, merger_of(streams), sizes)
        while not reader.done():
            reader.step(at_most)
            assert reader.released == everything[: len(reader.released)] == complete(streams, reader)
            waiting = everything[len(reader.released) :]
            for stream in streams:
                ahead = [position for *_, partition, position in waiting if partition == stream.partition]
                lane = reader.merger.lanes[stream.partition]
                assert lane.released_position == min(ahead, default=10 * len(stream.records))
                assert lane.fetched_position == 10 * reader.next[stream.partition]
                behind = [order for order, _, partition, _ in reader.released if partition == stream.partition]
                assert lane.released_order == max(behind, default=BEGINNING)
        assert reader.released == everything
        seen["equal times"] += len({order for order, *_ in everything}) < len(everything)
        seen["empty partition"] += any(not s.records for s in streams) and bool(everything)
        seen["partitions"] = max(seen["partitions"], len(streams))

    check()
    assert seen["equal times"] > 50
    assert seen["empty partition"] > 10
    assert seen["partitions"] == 6


@settings(max_examples=300, deadline=None)
@given(streams_of_up_to_six(), polls, st.integers(0, 12), polls)
def test_a_new_merger_goes_on_where_the_old_one_had_released(streams, sizes, steps, later_sizes):
    before = Reader(streams, merger_of(streams), sizes)
    for _ in range(steps):
        before.step()
    merger = merger_of([])
    for partition, lane in before.merger.lanes.items():
        merger.add(partition, kind=lane.kind, position=lane.released_position, order=lane.released_order)
    merger.watermark = before.merger.watermark
    after = Reader(streams, merger, later_sizes)
    after.released = before.released
    while not after.done():
        after.step()
    assert after.released == expected(streams)


@settings(max_examples=300, deadline=None)
@given(streams_of_up_to_six(), polls, st.none() | st.integers(0, 20), st.none() | st.integers(0, 20))
def test_a_limit_releases_a_stretch_of_the_merged_order(streams, sizes, from_us, to_us):
    merger = merger_of(streams)
    merger.limit(from_us=from_us, to_us=to_us)
    reader = Reader(streams, merger, sizes)
    while not reader.done():
        reader.step()
    first, last = BEGINNING if from_us is None else from_us, END if to_us is None else to_us
    assert reader.released == [record for record in expected(streams) if first <= record[0] < last]
    for stream in streams:
        beyond = [10 * i for i, order in enumerate(stream.orders()) if order >= last]
        assert merger.lanes[stream.partition].released_position == min(beyond, default=10 * len(stream.records))


ranges = st.lists(st.tuples(st.integers(0, 18), st.integers(1, 6)), max_size=3).map(
    lambda drawn: [(begin, begin + length) for begin, length in drawn]
)
doubts = st.tuples(st.integers(0, 3), st.integers(0, 3))


def test_excluded_ranges_leave_gaps_in_the_merged_order():
    seen = Counter()

    @settings(max_examples=300, deadline=None)
    @given(streams_of_up_to_six(), polls, st.none() | st.integers(0, 12), ranges, doubts)
    def check(streams, sizes, to_us, excluded, doubtful_us):
        merger = merger_of(streams)
        merger.limit(from_us=None, to_us=to_us, excluded=excluded, doubtful_us=doubtful_us)
        reader = Reader(streams, merger, sizes)
        while not reader.done():
            reader.step()
        records = {s.partition: s.records for s in streams}

        def wanted(order, kind, partition, position):
            time, flaw = records[partition][position // 10]
            own = time if flaw == SOUND else order
            # an event is doubtful when a label of its own could have come within the range
            spoken_at = [own] if kind == LABEL else range(own - doubtful_us[1], own + doubtful_us[0] + 1)
            return not any(begin <= at < end for at in spoken_at for begin, end in excluded)

        last = END if to_us is None else to_us
        expected_now = [record for record in expected(streams) if record[0] < last and wanted(*record)]
        assert reader.released == expected_now
        seen["left out"] += len(expected_now) < len([r for r in expected(streams) if r[0] < last])
        seen["kept"] += bool(expected_now) and bool(excluded)
        for stream in streams:
            beyond = [10 * i for i, order in enumerate(stream.orders()) if order >= last]
            assert merger.lanes[stream.partition].released_position == min(beyond, default=10 * len(stream.records))

    check()
    assert seen["left out"] > 50
    assert seen["kept"] > 50


def test_equal_times_are_labels_first_then_topic_and_partition():
    partitions = [("z", "1", EVENT), ("a", "2", EVENT), ("y", "2", LABEL), ("y", "10", LABEL)]
    streams = [Stream(Partition(topic, name), kind, [(5, SOUND)]) for topic, name, kind in partitions]
    reader = Reader(streams, merger_of(streams))
    reader.step()
    assert [".".join(partition) for *_, partition, _ in reader.released] == ["y.10", "y.2", "a.2", "z.1"]


def test_a_partition_that_was_left_out_does_not_go_behind_the_watermark():
    lively, silent = (Stream(Partition("t", name), EVENT, [(time, SOUND)]) for name, time in (("0", 9), ("1", 3)))
    merger = merger_of([lively, silent])
    assert len(push(merger, [lively.chunk(0, 1, 0)]).kind) == 0  # the other might bring something older
    merger.lanes[silent.partition].live = False
    assert merger.release().events.order.tolist() == [9]
    merger.lanes[silent.partition].live = True
    ordered = push(merger, [silent.chunk(0, 1, 1)])
    assert (ordered.events.time.tolist(), ordered.events.order.tolist(), len(ordered.kind)) == ([3], [9], 0)
    merger.lanes[lively.partition].live = False
    assert len(merger.release().kind) == 1


def test_a_message_that_was_not_released_last_is_not_found():
    stream = Stream(Partition("t", "0"), EVENT, [(1, SOUND)])
    merger = merger_of([stream])
    push(merger, [stream.chunk(0, 1, 0)])
    merger.release()
    with pytest.raises(LookupError, match="lane 0 has not released a message at 0"):
        merger.message(0, 0)
