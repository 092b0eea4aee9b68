"""Connections to the server go at the worst moment: nothing is written twice, and nothing is lost."""

import random
import threading
from contextlib import closing

import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from storage import settle
from storage.blocks import Block
from storage.checkpoint import Checkpoint
from storage.errors import ConnectionLost, LeaseLost, StorageError, Unreachable
from storage.outbox import Notice
from storage.snapshots import NewSnapshot
from storage.store import Store
from storage.tables import checkpoints, dead_letters, outbox, snapshots
from stream.records import AlertChange, DeadLetter
from tests.storage.cutting import CUTS, LATE, LOSE_ANSWER, LOSE_REQUEST, Cutter
from tests.storage.databases import only_postgresql

pytestmark = only_postgresql


def checkpoint(number, *, from_=None):
    """Checkpoint ``number``, with all that came since ``from_``, as the writer makes it after a failure."""
    each = range(number if from_ is None else from_, number + 1)
    return Checkpoint(
        b"state %d" % number,
        [Block("rows", n, b"rows %d" % n) for n in each],
        alerts=[AlertChange("loss", "firing", n, n, "logloss", "1d", 0.7, 0.6, "page") for n in each],
        dead_letters=[DeadLetter("flights", "0", n, "bad", b"{") for n in each],
        snapshots=[NewSnapshot(number, "hourly", {}, b"model %d" % number)],
        notices=[Notice("loss", n, "firing", "webhook", b"{}") for n in each],
    )


def is_whole(store, number):
    """What ``number`` acknowledged checkpoints must have left behind, however they came about."""
    loaded = store.load()
    each = range(1, number + 1)
    assert loaded.state == b"state %d" % number
    assert loaded.blocks == {("rows", n): b"rows %d" % n for n in each}
    assert [alert.started_at for alert in store.alerts()] == [*reversed(each)]
    with store.database.reading() as connection:
        for column in (dead_letters.c.position, outbox.c.started_at):
            assert connection.scalars(select(column).order_by(column)).all() == [*each]
        assert connection.scalar(select(func.count()).select_from(checkpoints)) == min(2, loaded.number)
        taken = connection.scalars(select(snapshots.c.watermark).order_by(snapshots.c.number)).all()
        assert taken == sorted(set(taken))


@pytest.fixture
def cutter(postgres):
    with closing(Cutter(postgres.port)) as made:
        yield made


@pytest.fixture
def store(url, cutter):
    with closing(Store.open(make_url(url).set(port=cutter.port), "m")) as made:
        made.acquire()
        made.load()
        yield made


@pytest.mark.parametrize("how", CUTS)
def test_cut_in_the_middle_of_a_commit(how, store, cutter):
    store.commit(checkpoint(1))
    seen = []
    store._reached = seen.append
    cutter.plan(how)
    committed = store.commit(checkpoint(2))
    assert (committed.number, committed.snapshot, committed.bytes) == (2, 2, checkpoint(2).size_bytes)
    # only what was not written is written again
    assert seen.count("checkpoint.commit") == (2 if how == LOSE_REQUEST else 1)
    is_whole(store, 2)
    assert store.commit(checkpoint(3)).number == 3
    is_whole(store, 3)


def test_a_connection_that_is_cut_again_and_again(store, cutter):
    store.commit(checkpoint(1))
    cutter.plan(LOSE_REQUEST, LOSE_REQUEST)
    with pytest.raises(ConnectionLost, match=r"the connection was lost .*\n  It is tried again"):
        store.commit(checkpoint(2))
    is_whole(store, 1)
    cutter.plan(LOSE_REQUEST, LOSE_ANSWER)
    assert store.commit(checkpoint(3, from_=2)).number == 2
    is_whole(store, 3)


def test_a_commit_that_the_server_has_not_ended_is_asked_for_before_the_next(store, cutter, monkeypatch):
    monkeypatch.setattr(settle, "TRIES", 1)
    store.commit(checkpoint(1))
    cutter.plan(LATE)
    cutter.late_s = 1.0
    with pytest.raises(ConnectionLost, match="checkpoint 2 was written, and the server has not ended that yet"):
        store.commit(checkpoint(2))
    monkeypatch.undo()
    assert store.commit(checkpoint(3, from_=2)).number == 3  # the second was written after all
    is_whole(store, 3)


def test_the_answer_is_lost_and_the_server_gone(store, cutter, postgres):
    """It can't be asked at once: the writer tries again with more, and only then learns that it was written."""
    store.commit(checkpoint(1))
    cutter.plan(LOSE_ANSWER)
    port, cutter.server_port = cutter.server_port, 1  # from now on nobody is let in
    with pytest.raises(Unreachable):
        store.commit(checkpoint(2))
    cutter.server_port = port
    assert store.commit(checkpoint(3, from_=2)).number == 3
    is_whole(store, 3)


def test_cut_at_random(store, cutter):
    rng = random.Random(5)
    cutter.plan(*(rng.choice([None, LOSE_REQUEST, *CUTS]) for _ in range(30)))
    cutter.late_s = 0.1
    first = 1
    for number in range(1, 16):
        try:
            store.commit(checkpoint(number, from_=first))
        except ConnectionLost:
            continue
        first = number + 1
    assert cutter.cuts > 8
    cutter.plan()
    store.commit(checkpoint(16, from_=first))
    is_whole(store, 16)


@pytest.mark.parametrize(
    "place", ["checkpoint.begin", "checkpoint.blocks", "checkpoint.commit", "checkpoint.committed"]
)
def test_the_server_is_killed(place, url, postgres):
    def reached(name):
        if name == place and armed:
            armed.clear()
            postgres.kill()
            postgres.start()

    armed = []
    with closing(Store.open(url, "m", reached=reached)) as store:
        store.acquire()
        store.load()
        store.commit(checkpoint(1))
        armed = [True]
        assert store.commit(checkpoint(2)).number == 2
        is_whole(store, 2)
        assert store.commit(checkpoint(3)).number == 3
        is_whole(store, 3)


def while_alive(thread, check):
    while thread.is_alive():
        check()
        thread.join(0.01)


def test_a_server_that_hangs_does_not_hold_up_the_end(url, postgres):
    errors = []

    def commit():
        try:
            store.commit(checkpoint(2))
        except StorageError as error:
            errors.append(error)

    with closing(Store.open(url, "m", lease_s=1.0)) as store:
        store.acquire()
        store.load()
        store.commit(checkpoint(1))
        with postgres.frozen():
            committing = threading.Thread(target=commit)
            committing.start()
            with pytest.raises(LeaseLost, match=r"could not be renewed for 0\.667 s"):
                while_alive(committing, store.check_lease)
            committing.join(5.0)
            assert not committing.is_alive()
        assert len(errors) == 1
    with closing(Store.open(url, "m")) as store:
        store.acquire()
        is_whole(store, 1)
