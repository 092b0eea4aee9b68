"""Where the source has no end: which partition may hold the others back, and how time passes without records."""

import json

import pytest

from riverd.assembly import assemble
from riverd.engine import Engine
from stream.memory import MemorySource
from stream.records import MICROSECONDS
from stream.source import Partition
from stream.timestamps import to_text
from tests.riverd.streams import MINUTE_US, NOW_US, START_US, WINDOW_US, config, outcome, pairs, run, split

EVENTS, LABELS = Partition("events", "0"), Partition("labels", "0")


class Glanced(MemorySource):
    """Like a broker: it knows the ends from when it looked last, and delivers of each partition when it likes."""

    def __init__(self, topics):
        super().__init__(topics, bounded=False)
        self.withheld, self.wanted = set(), False
        self.look(0.0)

    def look(self, now_s):
        self.at_s, self.wanted = now_s, False
        self.ends = {partition: self._end(partition) for partition in self._topics}

    def poll(self, wanted, max_records):
        return super().poll(set(wanted) - self.withheld, max_records)

    def at_end(self, partition):
        return self._positions[partition] >= self.ends[partition]

    def looked_s(self):
        return self.at_s

    def look_soon(self):
        self.wanted = True


class Tailed:
    """An engine on topics that grow, and a clock that the test moves."""

    def __init__(self, *, partitions=(EVENTS, LABELS), source=None, **sections):
        self.topics = {partition: [] for partition in partitions}
        self.now_s = 50.0
        self.source = MemorySource(self.topics, bounded=False) if source is None else source(self.topics)
        settings = config(source={"idle_after": "10s", "max_skew": "1h"}, **sections)
        self.engine = Engine(
            settings,
            assemble(settings, now_us=lambda: NOW_US),
            self.source,
            bounded=False,
            monotonic_s=lambda: self.now_s,
        )
        self.engine.step()  # from now on its partitions are known, and silent

    def event(self, number, time_us, partition=EVENTS):
        message = {
            "id": f"e{number}",
            "at": to_text(START_US + time_us),
            "shop": "a",
            "user": 1,
            "x": 1.0,
            "amount": 1.0,
        }
        self.topics[partition].append(json.dumps(message).encode())

    def label(self, number, time_us, partition=LABELS):
        self.topics[partition].append(
            json.dumps({"id": f"e{number}", "at": to_text(START_US + time_us), "y": True}).encode()
        )

    def look(self):
        self.now_s += 0.1
        self.source.look(self.now_s)

    def counts(self, *, after_s=0.0):
        """Take what is there, let so much time pass, and take what comes of that."""
        for passed_s in (0.0, after_s):
            self.now_s += passed_s
            while self.engine.step():
                pass
        return self.engine.parts.joiner.fates()


def test_a_silent_partition_holds_the_others_back_until_it_is_idle():
    tailed = Tailed()
    tailed.event(1, 0)
    tailed.event(2, MINUTE_US)
    assert tailed.counts()["events"] == 0
    assert tailed.counts(after_s=9.9)["events"] == 0
    assert tailed.counts(after_s=0.2)["events"] == 2


def test_one_that_speaks_again_holds_them_back_again():
    tailed = Tailed()
    tailed.event(1, 0)
    assert tailed.counts(after_s=11)["events"] == 1
    tailed.event(2, 2 * MINUTE_US)
    tailed.label(1, MINUTE_US)
    assert tailed.counts()["matched"] == 1
    assert tailed.counts()["events"] == 1  # a label of before may still come
    assert tailed.counts(after_s=11)["events"] == 2


def test_after_a_silence_of_all_what_comes_first_does_not_overtake_the_others():
    tailed = Tailed()
    tailed.event(0, 0)
    tailed.counts(after_s=60)  # say the brokers were away
    tailed.label(1, 10 * MINUTE_US)
    assert tailed.counts(after_s=9)["labels"] == 0
    tailed.event(1, 5 * MINUTE_US)
    tailed.event(2, 15 * MINUTE_US)
    counts = tailed.counts(after_s=11)
    assert (counts["matched"], counts["orphan"], counts["events"]) == (1, 0, 3)


def test_one_far_behind_the_others_does_not_hold_them_back():
    slow = Partition("events", "1")
    tailed = Tailed(partitions=(EVENTS, slow, LABELS))
    tailed.event(1, 0, slow)
    tailed.label(1, 0)
    tailed.event(2, 59 * MINUTE_US)
    tailed.label(2, 59 * MINUTE_US)
    assert tailed.counts()["events"] == 1
    tailed.event(3, 61 * MINUTE_US)
    tailed.label(3, 61 * MINUTE_US)
    assert tailed.counts()["events"] == 2  # the last one waits for a label of the same time


def test_nothing_overtakes_what_was_there_before_it_was_fetched():
    tailed = Tailed(source=Glanced)
    tailed.label(0, 0)
    tailed.counts(after_s=5)
    tailed.look()
    tailed.label(0, MICROSECONDS)
    tailed.counts(after_s=6)  # the labels are not silent, the events are idle
    tailed.source.withheld = {EVENTS}  # as while a fetch of it is under way
    tailed.event(1, MINUTE_US)
    tailed.label(1, 10 * MINUTE_US)
    assert tailed.counts()["labels"] == 1
    assert tailed.source.wanted
    tailed.look()  # sees the event, which was there before the label was fetched
    assert tailed.counts()["labels"] == 1
    tailed.source.withheld = set()
    tailed.event(2, 10 * MINUTE_US)
    counts = tailed.counts()
    assert (counts["matched"], counts["events"], counts["labels"]) == (1, 1, 3)


def test_what_was_fetched_waits_for_no_more_than_the_next_look():
    tailed = Tailed(source=Glanced)
    for number in range(4):
        tailed.label(number, number * MINUTE_US)
        counts = tailed.counts(after_s=11)
        assert counts["labels"] == number
        tailed.look()
        assert tailed.counts()["labels"] == number + 1
    assert not tailed.source.wanted  # nothing waits


def test_while_all_are_idle_time_passes_and_windows_end():
    tailed = Tailed()
    tailed.event(1, 0)
    tailed.counts(after_s=11)
    assert tailed.counts(after_s=11)["pending"] == 1  # by now the partition of the event is idle too
    watermark = tailed.engine.parts.joiner.watermark
    assert tailed.counts(after_s=60)["pending"] == 1
    assert tailed.engine.parts.joiner.watermark == watermark + 60 * MICROSECONDS
    assert tailed.counts(after_s=WINDOW_US / MICROSECONDS)["expired"] == 1
    tailed.event(2, 5 * MINUTE_US)  # older than the time that has passed: it is taken all the same
    assert tailed.counts(after_s=11)["events"] == 2


def test_no_time_passes_before_the_first_record():
    tailed = Tailed()
    assert tailed.counts(after_s=10_000)["messages"] == 0
    assert tailed.engine.judgement.windows() == {}
    tailed.event(1, 0)
    assert tailed.counts(after_s=20_000)["events"] == 1


def test_a_partition_that_appears_later_is_read_from_its_beginning():
    tailed = Tailed()
    tailed.event(1, 0)
    assert tailed.counts(after_s=11)["events"] == 1
    later = tailed.topics[Partition("labels", "9")] = []
    later.append(json.dumps({"id": "e1", "at": to_text(START_US + MINUTE_US), "y": False}).encode())
    tailed.counts()
    assert tailed.counts(after_s=11)["matched"] == 1


@pytest.mark.parametrize("partitions", [1, 3])
def test_what_was_there_at_the_start_gives_the_same_as_with_fixed_ends(partitions):
    topics = split(pairs(600, seed=12), partitions=partitions)
    tailed = Tailed(partitions=topics)
    for partition, messages in topics.items():
        tailed.topics[partition].extend(messages)
    assert tailed.counts()["messages"] == 0  # empty partitions hold the others back until they are idle
    tailed.counts(after_s=10.0)
    expected = run(topics, tailed.engine.config)
    assert outcome(tailed.engine) == outcome(expected)
