"""Killed while a challenger is trained or judged, riverd decides as if nothing had happened."""

import os
import random
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.riverd.streams import pairs, split, write
from tests.system.children import facts, finish, run_child, tailing
from tests.system.monitoring import eventually
from tests.system.retraining import ask, decisions, says, store, worker_of
from tests.system.streams_on_disk import configure, write_data

pytestmark = pytest.mark.system

COUNT, LITTLE, SOME = 5_000, 300, 2_000
KILLS = 4
SLOW = 30_000  # events that a worker takes a while for
HALF_US = 1_357_300_000_000_000  # event time in the middle of that
LATER = b'{"id": "%s", "at": %d}\n'


def write_first(folder, count):
    """The first so many messages of one stream."""
    write(split(pairs(COUNT, seed=1)[:count], partitions=2), folder / "data")


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A riverd that went back to what it knew when it had seen little, so that a challenger knows better."""
    folder = tmp_path_factory.mktemp("begun")
    alert = {"name": "loss", "metric": "logloss", "window": "2h", "above": 0.72, "action": ["log", "retrain"]}
    configure(
        folder,
        Path("data"),
        alerts=[alert],
        retrain={"cool_down": "3h", "max_events": 1000, "history": "8h"},
        storage={"checkpoint": "0s"},
    )
    write_first(folder, LITTLE)
    finish(folder)
    write_first(folder, SOME)
    finish(folder)
    ask(folder, "rollback", snapshot=1)
    ask(folder, "pause")  # and learns nothing that would make up for it
    write_first(folder, None)
    return folder


@pytest.fixture
def folder(begun, tmp_path):
    return shutil.copytree(begun, tmp_path / "run")


@pytest.fixture(scope="module")
def expected(begun, tmp_path_factory):
    folder = shutil.copytree(begun, tmp_path_factory.mktemp("undisturbed") / "run")
    ends = everything(folder, finish(folder))
    assert [each[0] for each in ends["retrains"]] == ["rolled back", "started", "in shadow", "promoted"]
    return ends


def everything(folder, result):
    """``facts``, what was decided, and the models that took a place, without when they were stored."""
    with closing(sqlite3.connect(folder / "riverd.db")) as connection:
        decided = connection.execute("SELECT decision, reason, at, retrain, details FROM retrains ORDER BY number")
        taken = connection.execute(
            "SELECT reason, watermark, sha256 FROM snapshots "
            "WHERE line IS NOT NULL OR promoted_at IS NOT NULL ORDER BY number"
        )
        return facts(folder, result) | {"retrains": decided.fetchall(), "models": taken.fetchall()}


def test_killed_at_random_moments(folder, expected):
    rng, killed = random.Random(6), 0
    for _ in range(KILLS):
        child = run_child(folder)
        if not child.ended(within_s=0.3 + 1.5 * rng.random()):
            child.signal(signal.SIGKILL)
        killed += child.wait() == -signal.SIGKILL
    assert killed >= 1
    assert everything(folder, finish(folder)) == expected


def test_killed_before_a_decision_is_stored(folder, expected):
    for _ in range(2):
        assert run_child(folder, fails_at="checkpoint.decisions:2").wait() == -signal.SIGKILL
    assert everything(folder, finish(folder)) == expected


@pytest.fixture
def live(tmp_path):
    """A folder with a history that takes a worker a while."""
    folder = tmp_path / "live"
    write_data(folder / "data", count=SLOW)
    return configure(folder, folder / "data", alerts=[], source={"path": "data", "idle_after": "100ms"})


def read_all(told):
    return told["counts"].get("messages", 0) > SLOW and told["phase"] == "waiting" and told["checkpoint"]


def hour_passes(folder, name):
    """An event an hour after the last brings a control tick."""
    with (folder / "data" / "events" / "0.jsonl").open("ab") as file:
        file.write(LATER % (name.encode(), 1_358_000_000 + hour_passes.calls * 3600))
    hour_passes.calls += 1


hour_passes.calls = 0


def test_killed_in_a_live_daemon(live):
    """The worker, then the daemon while it trains, then the daemon while a challenger is in shadow."""
    with tailing(live) as (child, wait_for):
        wait_for(read_all)
        ask(live, "retrain")
        wait_for(says("retrain 1 begins"))
        eventually(lambda: worker_of(child.pid))
        os.kill(worker_of(child.pid), signal.SIGKILL)
        eventually(lambda: worker_of(child.pid) is None)
        hour_passes(live, "a")
        wait_for(says("retrain 1 failed: the worker was killed by SIGKILL"))

        ask(live, "retrain", from_us=HALF_US)
        eventually(lambda: ("started", 2) in decisions(live))
        eventually(lambda: worker_of(child.pid))
        worker = worker_of(child.pid)
        child.signal(signal.SIGKILL)
        child.wait()
    eventually(lambda: not Path(f"/proc/{worker}").exists())  # it does not outlive the daemon

    with tailing(live) as (child, wait_for):
        wait_for(says("retrain 2 begins again"))
        wait_for(read_all)
        eventually(lambda: worker_of(child.pid))
        eventually(lambda: worker_of(child.pid) is None)
        hour_passes(live, "b")
        wait_for(says("retrain 2: its challenger is in shadow"))
        eventually(lambda: ("in shadow", 2) in decisions(live))
        child.signal(signal.SIGKILL)
        child.wait()

    with tailing(live) as (child, wait_for):
        wait_for(read_all)
        number = ask(live, "rollback", snapshot=1)
        wait_for(says(f"request {number}, rollback: snapshot 1 serves and learns from row"))
        wait_for(says("retrain 2 is judged anew"))
        ask(live, "cancel")
        eventually(lambda: ("cancelled", 2) in decisions(live))
        child.signal(signal.SIGTERM)
        assert child.wait() == 0
    assert decisions(live) == [
        ("started", 1),
        ("failed", 1),
        ("started", 2),
        ("in shadow", 2),
        ("rolled back", None),
        ("cancelled", 2),
    ]
    with store(live) as opened:
        parents = {each.reason: each.lineage["parent"] for each in opened.snapshots()}
        numbers = {each.reason: each.number for each in opened.snapshots()}
    assert parents["rollback to snapshot 1"] == 1
    assert parents["stopped"] == numbers["rollback to snapshot 1"]
    assert parents["retrain 2"] is None
