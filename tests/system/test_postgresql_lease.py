"""One riverd runs a model and another waits, each a process of its own: killed, frozen, told to stop, cut off."""

import itertools
import signal
import time
from contextlib import ExitStack, closing

import pytest
from sqlalchemy import select

from storage.database import connect
from storage.tables import checkpoints, leases
from storage.timed_lease import NOW
from tests.riverd.streams import close_the_books
from tests.system.children import tailing
from tests.system.streams_on_disk import configure, write_data

pytestmark = pytest.mark.system

LEASE_S = 2.0


@pytest.fixture
def url(postgres):
    with postgres.database(template=postgres.with_tables) as made:
        yield made


@pytest.fixture
def folder(tmp_path, url):
    write_data(tmp_path / "run" / "data", count=600)
    storage = {"url": url, "checkpoint": "0s", "lease": f"{LEASE_S:g}s"}
    source = {"path": "data", "poll_records": 100, "idle_after": "100ms"}
    return configure(tmp_path / "run", tmp_path / "run" / "data", storage=storage, source=source)


@pytest.fixture
def pair(folder):
    """The one that runs and has stored all there is, and the one that waits."""
    with ExitStack() as both:
        first, wait_for_first = both.enter_context(tailing(folder))
        wait_for_first(has_stored_all)
        standby, wait_for = both.enter_context(tailing(folder))
        wait_for(lambda told: any("waiting to take over" in line for line in told["log"]))
        yield first, standby, wait_for


def has_stored_all(told):
    stored = told["checkpoint"]
    return told["phase"] == "waiting" and stored and stored["events"] == told["counts"]["events"] > 0


def has_taken_over(told):
    return any("going on from checkpoint" in line for line in told["log"])


def epochs(url):
    """Of the newest checkpoint and of the lease."""
    with closing(connect(url)) as database, database.reading() as connection:
        newest = select(checkpoints.c.epoch).order_by(checkpoints.c.number.desc()).limit(1)
        return connection.scalar(newest), connection.scalar(select(leases.c.epoch))


def ends_well(standby, wait_for):
    counts = wait_for(has_stored_all)["counts"]
    standby.signal(signal.SIGTERM)
    assert standby.wait() == 0
    close_the_books(standby.result["counts"])
    return counts


def test_killed(pair, url):
    first, standby, wait_for = pair
    killed_s = time.monotonic()
    first.signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    wait_for(has_taken_over)
    assert time.monotonic() - killed_s < LEASE_S + 3.0
    ends_well(standby, wait_for)
    assert epochs(url) == (2, 2)


def test_told_to_stop(pair, url):
    first, standby, wait_for = pair
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    stopped_s = time.monotonic()
    wait_for(has_taken_over)
    assert time.monotonic() - stopped_s < 1.5  # it does not wait for the end of the lease
    ends_well(standby, wait_for)
    assert epochs(url) == (2, 2)


def test_frozen(pair, folder, url):
    first, standby, wait_for = pair
    first.signal(signal.SIGSTOP)
    wait_for(has_taken_over)
    wait_for(has_stored_all)
    before = epochs(url)
    events = folder / "data" / "events" / "0.jsonl"
    events.write_bytes(events.read_bytes() + b'{"id": "new", "at": 1357999999}\n')  # both have something to do
    first.signal(signal.SIGCONT)
    assert first.wait(within_s=10) == 1
    assert "shops: the lease is lost: " in first.result
    assert "From then on nothing was written. Start riverd again" in first.result
    assert before == epochs(url) == (2, 2)
    ends_well(standby, wait_for)


def test_frozen_alone_it_stops_too(folder, url):
    """Nobody waits, but somebody might have: past its lease a process does not go on as if nothing had been."""
    with tailing(folder) as (child, wait_for):
        wait_for(has_stored_all)
        child.signal(signal.SIGSTOP)
        while_held(url)
        child.signal(signal.SIGCONT)
        assert child.wait(within_s=10) == 1
        assert "the lease is lost" in child.result
    with tailing(folder) as (child, wait_for):
        ends_well(child, wait_for)


def while_held(url):
    with closing(connect(url)) as database:
        for _ in itertools.count():
            with database.reading() as connection:
                if connection.scalar(select(leases.c.expires_at < NOW)):
                    return
            time.sleep(0.02)


def test_the_server_hangs(folder, postgres):
    with tailing(folder) as (child, wait_for):
        wait_for(has_stored_all)
        with postgres.frozen():
            assert child.wait(within_s=LEASE_S + 12) == 1
        assert "the lease is lost: it could not be renewed for 1.33 s" in child.result


def test_the_server_is_started_again(folder, postgres, url):
    """Quicker than the lease lapses: nobody notices but the log."""
    with tailing(folder) as (child, wait_for):
        messages = wait_for(has_stored_all)["counts"]["messages"]
        postgres.kill()
        postgres.start()
        with (folder / "data" / "events" / "0.jsonl").open("ab") as file:
            file.write(b'{"id": "new", "at": 1357999999}\n')
        wait_for(lambda told: told["counts"]["messages"] == messages + 1)
        ends_well(child, wait_for)
    assert epochs(url) == (1, 1)
