"""When checkpoints are taken, and what happens when they can't be."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riverd import writer as writing
from riverd.writer import Writer
from storage.checkpoint import Committed
from storage.errors import DiskFull, Fenced, LeaseLost


class Clock:
    def __init__(self):
        self.now_s = 1000.0
        self.slept = []

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now_s += seconds


class Captured:
    """A stand-in for a capture; its bytes do not matter here."""

    blocks = ()

    def __init__(self, with_snapshot):
        self.with_snapshot = with_snapshot

    def encode(self, reason):
        return reason, self.with_snapshot


class Checkpointer:
    def __init__(self):
        self.new_bytes = 0
        self.kept, self.lost = [], []

    def capture(self, *, with_snapshot):
        return Captured(with_snapshot)

    def saved(self, capture):
        self.kept.append(capture)

    def failed(self, capture):
        self.lost.append(capture)


class Store:
    """Takes ``write_s`` of the clock for a commit, or raises ``fault``."""

    def __init__(self, clock):
        self.clock, self.write_s, self.fault = clock, 0.0, None
        self.commits = []
        self.lost = None  # the lease
        self.free = threading.Event()  # a commit hangs until it is set
        self.free.set()

    def check_lease(self):
        if self.lost:
            self.free.set()  # as connections are cut then
            raise self.lost

    def commit(self, checkpoint):
        self.free.wait()
        self.clock.now_s += self.write_s
        if self.fault:
            raise self.fault
        self.commits.append((round(self.clock.now_s - 1000.0), *checkpoint))
        return Committed(len(self.commits), 1, None)


class Run:
    """A writer on a clock of its own, polled once a second as an engine would."""

    def __init__(self, *, interval_s=60.0, snapshot_interval_s=3600.0):
        self.clock = Clock()
        self.store, self.checkpointer = Store(self.clock), Checkpointer()
        self.writer = Writer(
            self.store,
            self.checkpointer,
            interval_s=interval_s,
            snapshot_interval_s=snapshot_interval_s,
            monotonic_s=self.clock,
            sleep=self.clock.sleep,
        )

    def seconds(self, count, *, dead_letters=0, urgent=False):
        for _ in range(count):
            self.clock.now_s += 1.0
            self.writer.poll(dead_letters=dead_letters, events=7, urgent=urgent)
            self.settle()

    def settle(self):
        """Let the commit end that is under way, so that the clock alone decides."""
        if self.writer._running is not None:
            self.writer._running[0].exception()

    def times(self):
        return [time for time, *_ in self.store.commits]


def test_one_every_interval_and_a_snapshot_now_and_then():
    run = Run(interval_s=10.0, snapshot_interval_s=30.0)
    run.seconds(61)
    assert run.store.commits == [(t, "periodic", t in (30, 60)) for t in (10, 20, 30, 40, 50, 60)]


def test_a_snapshot_that_could_not_be_written_goes_into_the_next_checkpoint():
    run = Run(interval_s=10.0, snapshot_interval_s=30.0)
    run.seconds(29)
    run.store.fault = DiskFull("full")
    run.seconds(2)  # twice in vain
    run.store.fault = None
    run.seconds(32)
    assert [(t, snapshot) for t, _, snapshot in run.store.commits[2:]] == [
        (33, True), (43, False), (53, False), (63, True)
    ]  # fmt: skip


@settings(deadline=None)
@given(st.floats(0.0, 30.0))
def test_writing_takes_at_most_a_tenth_of_the_time(write_s):
    run = Run(interval_s=10.0)
    run.store.write_s = write_s
    run.seconds(2000)
    assert len(run.store.commits) * write_s <= (run.clock.now_s - 1000.0) / 10 + write_s
    assert len(run.store.commits) >= 2


def test_many_new_bytes_or_dead_letters_do_not_wait():
    run = Run()
    run.checkpointer.new_bytes = writing.MAX_NEW_BYTES
    run.seconds(1)
    assert run.times() == [1]
    run.checkpointer.new_bytes = writing.MAX_NEW_BYTES - 1
    run.seconds(1)
    assert run.times() == [1]
    run.seconds(1, dead_letters=writing.MAX_DEAD_LETTERS)
    assert run.times() == [1, 3]


def test_what_is_urgent_does_not_wait_unless_writing_would_take_all_the_time():
    run = Run()
    run.seconds(3, urgent=True)
    assert run.times() == [1, 2, 3]
    run.seconds(56)
    assert run.times() == [1, 2, 3]
    run = Run()
    run.store.write_s = 0.5
    run.seconds(20, urgent=True)
    assert len(run.times()) <= 5  # a tenth of the time


def test_after_a_fault_it_tries_again_ever_more_rarely_and_loses_nothing(caplog):
    run = Run(interval_s=10.0)
    run.store.fault = DiskFull("riverd.db: the disk is full.")
    run.seconds(200)
    assert run.times() == []
    assert len(caplog.records) == len(run.checkpointer.lost)
    assert "checkpoint failed, again in 1 s; nothing is lost and riverd goes on: riverd.db: the" in caplog.text
    waits = [float(record.args[0]) for record in caplog.records]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert run.clock.slept == []  # the engine went on
    run.store.fault = None
    run.seconds(61)
    assert len(run.times()) == 1
    run.seconds(40)
    assert len(run.times()) in (4, 5)  # every ten seconds again


def test_when_too_much_is_unsaved_the_engine_waits_for_the_store():
    run = Run(interval_s=10.0)
    run.store.fault = DiskFull("full")
    run.checkpointer.new_bytes = 2 * writing.MAX_NEW_BYTES
    run.seconds(4)
    assert run.clock.slept == [1.0, 2.0, 4.0]
    assert run.times() == []
    run.store.fault = None
    run.seconds(1)
    assert len(run.times()) == 1


def test_one_who_was_taken_over_stops_at_once():
    run = Run(interval_s=1.0)
    run.store.fault = Fenced("late-flights was taken over")
    with pytest.raises(Fenced):
        run.seconds(3)


def test_the_last_one_brings_a_snapshot_and_its_fault_is_raised():
    run = Run()
    run.seconds(5)
    run.writer.finish(events=7)
    assert run.store.commits == [(5, "stopped", True)]
    assert run.writer.last.committed.number == 1
    run.store.fault = DiskFull("full")
    with pytest.raises(DiskFull):
        run.writer.finish(events=7)
    assert len(run.checkpointer.lost) == 1
    run.writer.close()


def test_the_last_one_makes_up_for_one_that_failed_before_it():
    run = Run(interval_s=1.0)
    run.store.fault = DiskFull("full")
    run.seconds(1)
    run.store.fault = None
    run.writer.finish(events=7)
    assert len(run.checkpointer.lost) == 1
    assert [reason for _, reason, _ in run.store.commits] == ["stopped"]


def test_a_lost_lease_is_noticed_with_nothing_to_write():
    run = Run(interval_s=60.0)
    run.seconds(1)
    run.store.lost = LeaseLost("lost")
    with pytest.raises(LeaseLost):
        run.seconds(1)


def test_a_lost_lease_is_noticed_while_a_commit_hangs(monkeypatch):
    monkeypatch.setattr(writing, "LOOK_S", 0.01)
    run = Run()
    run.store.free.clear()
    lost = threading.Timer(0.02, lambda: setattr(run.store, "lost", LeaseLost("lost")))
    lost.start()
    with pytest.raises(LeaseLost):
        run.writer.finish(events=7)
    lost.join()
    run.writer.close()  # does not hang
