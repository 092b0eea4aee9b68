"""The lease on a server: its clock decides, an old holder is fenced, and a waiting one takes over."""

import os
import signal
import time
from contextlib import closing

import pytest
from sqlalchemy import select, update

from storage.checkpoint import Checkpoint
from storage.database import open_database
from storage.errors import Fenced, LeaseHeld, LeaseLost
from storage.store import Store
from storage.tables import leases
from storage.timed_lease import NOW, _try_to_take, acquire_timed_lease
from tests.storage.databases import only_postgresql

pytestmark = [
    only_postgresql,
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),  # what is forked starts over
]
SHORT_S = 1.0


def expiry(database, model="late-flights"):
    """When it lapses, and the server's clock."""
    with database.reading() as connection:
        return connection.execute(select(leases.c.expires_at, NOW).where(leases.c.model == model)).one()


def test_a_second_holder_is_refused_once_the_first_is_seen_to_live(open_store):
    first = open_store(lease_s=SHORT_S)
    held = rf"late-flights is already run by pid {os.getpid()} on .*\n  Stop that process"
    with pytest.raises(LeaseHeld, match=held):
        open_store()
    first.commit(Checkpoint(b"1"))


def test_it_is_renewed_while_a_commit_takes_long(open_store, database):
    store = open_store(lease_s=SHORT_S)
    with store.writing() as connection:
        seen = {expiry(database)[0]}
        while len(seen) < 5:
            connection.execute(select(1))  # a transaction in which nothing happens would be ended
            expires_at, now = expiry(database)
            assert now < expires_at
            seen.add(expires_at)
        store.check_lease()
    store.commit(Checkpoint(b"1"))


def test_given_back_it_can_be_taken_at_once(open_store, database):
    for epoch in (1, 2, 3):
        store = open_store(ready=False)
        assert store.acquire(sleep=pytest.fail) == epoch
        expires_at, now = expiry(database)
        assert 14_000_000 < expires_at - now <= 15_000_000
        store.close()
        assert expiry(database)[0] is None


def test_kill_9_frees_it_when_its_time_is_over(open_store, url, database):
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        store = Store.open(url, "late-flights", lease_s=SHORT_S)
        store.acquire()
        os.write(theirs, b"!")
        signal.pause()
    os.read(ours, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    lapses_at = expiry(database)[0]
    standby = open_store(ready=False)
    assert standby.acquire() == 2  # it waits, although it is no standby: nobody renews it
    assert lapses_at < expiry(database)[1] < lapses_at + 1_500_000
    assert standby.load() is None


def test_a_standby_waits_until_the_holder_is_gone(open_store):
    holder, naps = open_store(), []

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 3:
            holder.close()

    assert open_store(ready=False).acquire(wait=True, sleep=nap) == 2
    assert naps == [1.0, 1.0, 1.0]


def test_a_standby_outlives_the_server(open_store, postgres):
    open_store("other")
    holder = open_store()
    naps = iter([postgres.kill, postgres.start, holder.close])
    assert open_store(ready=False).acquire(wait=True, sleep=lambda _: next(naps)()) == 2


def test_an_old_epoch_is_fenced(open_store, lapse):
    old = open_store()
    old.commit(Checkpoint(b"1"))
    lapse()
    new = open_store()
    with pytest.raises(Fenced, match=r"holds epoch 1, but pid .* runs it now, with epoch 2.\n  Nothing was written"):
        old.commit(Checkpoint(b"old"))
    assert new.load().state == b"1"
    assert new.commit(Checkpoint(b"2")).number == 2


def test_once_it_has_lapsed_nothing_is_written_even_if_nobody_took_over(open_store, lapse):
    store = open_store()
    lapse()
    with pytest.raises(LeaseLost, match=r"lost: it lapsed by the server's clock.\n  From then on nothing was written"):
        store.commit(Checkpoint(b"1"))
    assert open_store().load() is None


def test_the_thread_that_renews_it_finds_out_too(open_store, lapse):
    store = open_store(lease_s=SHORT_S)
    lapse()
    with pytest.raises(LeaseLost, match="it lapsed, or another process has it"):
        until(time.monotonic() + 10.0, store.check_lease)


def until(end_s, check):
    while time.monotonic() < end_s:
        check()


def test_a_holder_stops_at_two_thirds_of_its_time(database):
    clock = [100.0]
    lease = acquire_timed_lease(
        database, "m", wait=False, lease_s=15.0, now=lambda: 0, sleep=pytest.fail, monotonic_s=lambda: clock[0]
    )
    clock[0] += 9.99
    lease.check()
    clock[0] += 0.01
    for _ in range(2):
        with pytest.raises(LeaseLost, match=r"m: the lease is lost: it could not be renewed for 10 s \(this process"):
            lease.check()
    lease.release()
    assert expiry(database, "m")[0] is not None  # it is not given back: that could be another's by now


def test_nobody_takes_over_in_the_middle_of_a_commit(open_store, database):
    store = open_store()
    with store.writing():
        with database.writing() as connection:  # meanwhile its time is over
            connection.execute(update(leases).values(expires_at=0))
        assert _try_to_take(database, "late-flights", lease_s=15.0, at=0) is None
    assert _try_to_take(database, "late-flights", lease_s=15.0, at=0) == 2


def test_frozen_in_the_middle_of_a_commit_it_does_not_keep_others_out(url, open_store):
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:

        def freeze(place):
            if place == "checkpoint.commit":
                os.write(theirs, b"!")
                os.kill(os.getpid(), signal.SIGSTOP)

        store = Store.open(url, "late-flights", lease_s=SHORT_S, reached=freeze)
        store.acquire()
        store.load()
        try:
            store.commit(Checkpoint(b"frozen"))
        except LeaseLost:
            os._exit(7)
        os._exit(0)
    os.read(ours, 1)
    new = open_store(ready=False)
    assert new.acquire() == 2
    assert new.load() is None
    os.kill(pid, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert new.load() is None


def test_several_that_wait_take_it_one_at_a_time(url, database):
    def take():
        with closing(Store.open(url, "m", lease_s=SHORT_S)) as store:
            os.write(theirs, b"%d " % store.acquire(wait=True, sleep=lambda _: None))

    ours, theirs = os.pipe()
    pids = []
    for _ in range(5):
        pids.append(os.fork())
        if pids[-1] == 0:
            take()
            os._exit(0)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 5
    assert os.read(ours, 100) == b"1 2 3 4 5 "


def test_a_database_of_the_same_clock_is_not_needed(open_store):
    """The wall clock of a holder may say anything: only the server's counts."""
    store = open_store(now=lambda: 10**18)
    store.commit(Checkpoint(b"1"))
    with closing(open_database(store.database.engine.url)) as database:
        expires_at, now = expiry(database)
        assert 0 < expires_at - now <= 15_000_000
