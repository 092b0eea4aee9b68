"""Large values and many rows: they come back, and a checkpoint never waits for what is being forgotten."""

import hashlib

import pytest
from sqlalchemy import func, select

from storage import checkpoint as checkpointing
from storage import deadletters, history, large, retention
from storage.blocks import Block
from storage.checkpoint import Checkpoint
from storage.errors import TooLarge
from storage.history import Figures
from storage.snapshots import NewSnapshot
from storage.tables import dead_letters, metric_history
from stream.records import DeadLetter

MEGABYTES_64 = hashlib.shake_256(b"weights").digest(64_000_000)


def test_a_snapshot_and_a_block_of_64_megabytes(open_store):
    store = open_store()
    snapshot = NewSnapshot(1, "hourly", {}, MEGABYTES_64)
    store.commit(Checkpoint(b"1", [Block("weights", 0, MEGABYTES_64[::-1])], snapshots=[snapshot]))
    assert store.snapshot(1) == MEGABYTES_64
    assert store.load().blocks == {("weights", 0): MEGABYTES_64[::-1]}


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 2000, 2001])
def test_long_values_are_read_in_slices(size, open_store, monkeypatch):
    monkeypatch.setattr(large, "SLICE", 1000)
    data = MEGABYTES_64[:size]
    store = open_store()
    store.commit(Checkpoint(b"1", [Block("weights", 0, data)], snapshots=[NewSnapshot(1, "hourly", {}, data)]))
    assert store.snapshot(1) == data
    assert store.load().blocks == {("weights", 0): data}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (Checkpoint(bytes(1001)), "the state has 1,001 bytes"),
        (Checkpoint(b"1", [Block("rows", 7, bytes(1001))]), "block rows 7 has 1,001"),
        (Checkpoint(b"1", snapshots=[NewSnapshot(1, "hourly", {}, bytes(1001))]), "snapshot 'hourly' has 1,001"),
    ],
)
def test_what_no_database_takes_is_refused_before_it_is_sent(given, says, open_store, monkeypatch):
    monkeypatch.setattr(checkpointing, "LARGEST", 1000)
    store = open_store()
    with pytest.raises(TooLarge, match=rf"{says}.*at most 1,000 in one piece.\n  Nothing was written. Choose fewer"):
        store.commit(given)
    assert store.commit(Checkpoint(bytes(1000))).number == 1


def letters(first, last):
    return [DeadLetter("t", "0", position, "bad", b"{") for position in range(first, last)]


@pytest.fixture
def small_batches(monkeypatch):
    for module in (retention, deadletters, history):
        monkeypatch.setattr(module, "AT_ONCE", 10)


def test_a_checkpoint_forgets_a_batch_and_the_next_ones_the_rest(open_store, small_batches, monkeypatch):
    store = open_store()
    store.commit(
        Checkpoint(b"", dead_letters=letters(0, 100), history=[Figures(at, "1d", "x", {}) for at in range(100)])
    )
    monkeypatch.setattr(deadletters, "KEEP", 5)
    monkeypatch.setattr(history, "KEEP", 5)
    left = []
    for number in range(100, 113):
        store.commit(
            Checkpoint(b"", dead_letters=letters(number, number + 1), history=[Figures(number, "1d", "x", {})])
        )
        with store.database.reading() as connection:
            left.append(
                [connection.scalar(select(func.count()).select_from(t)) for t in (dead_letters, metric_history)]
            )
    assert left[:3] == [[91, 91], [82, 82], [73, 73]]
    assert left[-1] == [5, 5]
    assert [found.letter.position for found in store.dead_letters(limit=None)] == [112, 111, 110, 109, 108]


def test_as_many_are_forgotten_as_came_in(open_store, small_batches, monkeypatch):
    monkeypatch.setattr(deadletters, "KEEP", 5)
    store = open_store()
    for number in range(4):
        store.commit(Checkpoint(b"", dead_letters=letters(number * 50, number * 50 + 50)))
        assert store.dead_letter_count() == 5


def test_a_purge_lets_checkpoints_in_between(open_store, small_batches):
    store = open_store()
    store.commit(Checkpoint(b"", dead_letters=letters(0, 95)))
    other, sizes = open_store("other", ready=False), []
    other.acquire()
    other.load()
    purged = store.database.writing

    def watched():
        sizes.append(store.dead_letter_count())
        other.commit(Checkpoint(b"1"))  # somebody else's turn
        return purged()

    store.database = Watched(store.database, watched)
    assert store.purge_dead_letters() == 95
    assert sizes == [95, 85, 75, 65, 55, 45, 35, 25, 15, 5, 0]


class Watched:
    def __init__(self, database, writing):
        self._database = database
        self.writing = writing

    def __getattr__(self, name):
        return getattr(self._database, name)
