"""One process runs a model; when it dies, however, another may."""

import os
import signal

import pytest

from storage.checkpoint import Checkpoint
from storage.database import open_database
from storage.errors import CannotOpen, Fenced, LeaseHeld
from storage.store import Store
from tests.storage.databases import only_sqlite

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # what is forked starts no threads


@only_sqlite
def test_a_second_holder_is_refused_and_told_by_whom(open_store):
    open_store()
    with pytest.raises(
        LeaseHeld, match=rf"late-flights is already run by pid {os.getpid()} on .*\n  Stop that process"
    ):
        open_store()


def test_closing_gives_it_back_and_the_epoch_rises(open_store):
    for epoch in (1, 2, 3):
        store = open_store(ready=False)
        assert store.acquire() == epoch
        store.close()


@only_sqlite
def test_models_do_not_lock_one_another_whatever_their_names(open_store, tmp_path):
    names = ["a", "a/b", "../a", "a%2Fb", "ä b", "."]
    for name in names:
        assert open_store(name, ready=False).acquire() == 1
    assert len(list(tmp_path.glob("riverd.db.*.lock"))) == len(names)


@only_sqlite
def test_another_name_of_the_file_is_the_same_database(open_store, tmp_path):
    open_store()
    (tmp_path / "alias.db").symlink_to(tmp_path / "riverd.db")
    other = Store.open(f"sqlite:///{tmp_path}/alias.db", "late-flights")
    with pytest.raises(LeaseHeld):
        other.acquire()
    other.close()


@only_sqlite
def test_kill_9_frees_it(open_store, url):
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        store = Store.open(url, "late-flights")
        store.acquire()
        os.write(theirs, b"!")
        signal.pause()
    os.read(ours, 1)
    with pytest.raises(LeaseHeld, match=f"pid {pid} on"):
        open_store()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert open_store(ready=False).acquire() == 2


@only_sqlite
def test_a_child_that_outlives_a_killed_holder_does_not_keep_it(open_store, url):
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        store = Store.open(url, "late-flights")
        store.acquire()
        orphan = os.fork()
        if orphan == 0:
            os.write(theirs, os.getpid().to_bytes(8, "little"))
            signal.pause()
        signal.pause()
    orphan = int.from_bytes(os.read(ours, 8), "little")
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert open_store(ready=False).acquire() == 2
    finally:
        os.kill(orphan, signal.SIGKILL)


@only_sqlite
def test_a_standby_waits_until_the_holder_is_gone(open_store):
    holder, naps = open_store(), []

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 3:
            holder.close()

    assert open_store(ready=False).acquire(wait=True, sleep=nap) == 2
    assert naps == [1.0, 1.0, 1.0]


@only_sqlite
def test_a_standby_may_give_up(open_store):
    open_store()

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_store(ready=False).acquire(wait=True, sleep=stop)


@only_sqlite
def test_an_old_epoch_is_fenced(open_store, tmp_path):
    old = open_store()
    old.commit(Checkpoint(b"1"))
    (tmp_path / "riverd.db.late-flights.lock").unlink()  # somebody tidied up: the lock no longer protects
    new = open_store()
    with pytest.raises(Fenced, match=r"holds epoch 1, but pid .* runs it now, with epoch 2.\n  Nothing was written"):
        old.commit(Checkpoint(b"old"))
    assert new.load().state == b"1"
    assert new.commit(Checkpoint(b"2")).number == 2


def test_in_memory_the_epoch_alone_decides():
    database = open_database("sqlite://")
    first, second = (Store(database, "m", now=lambda: 0, reached=lambda _: None) for _ in range(2))
    assert (first.acquire(), second.acquire()) == (1, 2)
    first.load()
    with pytest.raises(Fenced):
        first.commit(Checkpoint(b"1"))
    database.close()


def test_without_the_lease_nothing_is_written(open_store):
    store = open_store(ready=False)
    with pytest.raises(Fenced, match="holds no lease"):
        store.commit(Checkpoint(b"1"))
    store.load()
    store.acquire()  # from here on another holder's checkpoints may be newer than what was loaded
    with pytest.raises(RuntimeError, match="commit before load"):
        store.commit(Checkpoint(b"1"))


@only_sqlite
def test_a_lock_that_cannot_be_made_is_told(open_store, tmp_path):
    (tmp_path / "riverd.db.late-flights.lock").mkdir()
    with pytest.raises(CannotOpen, match=r"lock is a folder"):
        open_store()
