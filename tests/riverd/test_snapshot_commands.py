"""``riverd snapshots``, on what a run of its own left behind."""

import json
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from riverd.cli import main
from riverd.snapshot_commands import rollback_targets
from storage.alerts import Alert
from storage.arrays import decode, encode
from storage.snapshots import NewSnapshot, Snapshot
from storage.store import Store
from tests.riverd.streams import pairs, settings, split, to_toml, write


@pytest.fixture(scope="module")
def retrained(tmp_path_factory):
    """A folder that has a live snapshot, 1, and one of a retrain, 2."""
    made = tmp_path_factory.mktemp("retrained")
    write(split(pairs(600, seed=3), partitions=1), made / "data")
    values = settings(alerts=[], source={"kind": "files", "path": "data"})
    (made / "riverd.toml").write_text(to_toml(values))
    run(made, "run", "--until-idle")
    assert run(made, "retrain", "--wait", "0", "--exclude", "2013-01-01T01:00/2013-01-01T02:00") == 0
    run(made, "run", "--until-idle")
    return made


@pytest.fixture
def folder(retrained, tmp_path):
    return shutil.copytree(retrained, tmp_path / "run")


def run(folder, *arguments):
    return main([*arguments, "-c", str(folder / "riverd.toml"), "--json"])


def test_list_and_show(folder, capsys):
    capsys.readouterr()
    assert run(folder, "snapshots", "list") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [snapshot["reason"] for snapshot in listed] == ["stopped", "retrain 1", "stopped"]
    retrained = listed[1]["lineage"]
    assert (retrained["born"], len(retrained["excluded"]), retrained["start"]) == ("replay", 1, None)
    assert listed[2]["lineage"]["metrics"]["window"] == "2h"
    assert run(folder, "snapshots", "show", "2") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["number"], shown["not_finite"]) == (2, 0)
    assert shown["learned"] > 300


def test_a_replay_is_rebuilt_and_a_flipped_byte_is_found(folder, capsys):
    capsys.readouterr()
    assert run(folder, "snapshots", "verify") == 0
    verdicts = json.loads(capsys.readouterr().out)
    live = "bytes intact; not verifiable: it was learned live"
    assert verdicts == {"3": live, "2": "rebuilt, the same to the byte", "1": live}
    with sqlite3.connect(folder / "riverd.db") as database:
        data = bytearray(database.execute("SELECT data FROM snapshots WHERE number = 2").fetchone()[0])
        data[len(data) // 2] ^= 1
        database.execute("UPDATE snapshots SET data = ? WHERE number = 2", (bytes(data),))
    assert run(folder, "snapshots", "verify", "2") == 1
    assert "does not match its sha256" in capsys.readouterr().out
    assert run(folder, "snapshots", "promote", "2", "--wait", "0") == 1
    assert "does not match its sha256" in capsys.readouterr().err


def test_a_rollback_of_a_daemon_that_stands_still_is_done_when_it_starts(folder, capsys):
    assert run(folder, "snapshots", "rollback", "1", "--wait", "0") == 0
    run(folder, "run", "--until-idle")
    store = Store.open(f"sqlite:///{folder}/riverd.db", "shops")
    assert store.open_requests() == []
    assert store.decisions()[0].decision.decision == "rolled back"
    reasons = [snapshot.reason for snapshot in store.snapshots() if snapshot.promoted_at is not None]
    store.close()
    assert reasons == ["rollback to snapshot 1"]


def test_prune_keeps_what_was_promoted_and_what_that_goes_on_from(folder, capsys):
    run(folder, "snapshots", "rollback", "1", "--wait", "0")
    run(folder, "run", "--until-idle")
    capsys.readouterr()
    assert run(folder, "snapshots", "prune", "--keep", "1") == 0
    # 5 is the rollback to 1, 6 the newest
    assert json.loads(capsys.readouterr().out) == {"deleted": [2, 3, 4]}


def test_weights_that_are_not_finite_are_never_put_in_place(folder, capsys):
    """They may have been stored before anybody knew; a daemon that failed on them would fail again when it starts."""
    with closing(Store.open(f"sqlite:///{folder}/riverd.db", "shops")) as store:
        header, whole_state = decode(store.snapshot(1))
        whole_state["weights"][0, 0] = np.inf
        poisoned = store.add_snapshot(NewSnapshot(0, "poisoned", {}, encode(header, whole_state)))
    assert run(folder, "snapshots", "rollback", str(poisoned), "--wait", "0") == 0
    run(folder, "retrain", "cancel", "--wait", "0")
    run(folder, "retrain", "--wait", "0", "--start-from", str(poisoned))
    assert run(folder, "run", "--until-idle") == 0
    with closing(Store.open(f"sqlite:///{folder}/riverd.db", "shops")) as store:
        assert store.open_requests() == []
        outcome = store.request(2).outcome
        failed = store.decisions()[0].decision
        assert all(snapshot.promoted_at is None for snapshot in store.snapshots())
    assert outcome == f"refused: snapshot {poisoned} can't serve: weights has values that are not finite"
    assert failed.decision == "failed"
    assert "the snapshot to go on from does not fit: weights has values that are not finite" in failed.reason


def snapshot(number, watermark, promoted_at=None, born="live"):
    return Snapshot(number, 0, number, watermark, "", {"born": born}, "", promoted_at)


def firing(started_at):
    return Alert("loss", started_at, "firing", None, "logloss", "1h", 1.0, 0.5, "warning")


@pytest.mark.parametrize(
    ("alerts", "before_us", "targets"),
    [
        ([], 25, [2, 1]),
        ([firing(35), firing(31)], None, [3, 2, 1]),
        ([firing(31)], 15, [1]),
        ([], None, [2, 1]),
    ],
)
def test_where_a_rollback_goes(alerts, before_us, targets):
    found = [snapshot(4, 40), snapshot(3, 30, promoted_at=7), snapshot(2, 20), snapshot(1, 10)]
    assert [each.number for each in rollback_targets(found, alerts, before_us=before_us)] == targets
    assert rollback_targets([snapshot(1, 10)], [], before_us=None) == []


@pytest.mark.parametrize("born", ["replay", "import"])
def test_a_rollback_goes_to_what_has_served(born):
    found = [snapshot(3, 30, born=born), snapshot(2, 20), snapshot(1, 10)]
    assert [each.number for each in rollback_targets(found, [firing(35)], before_us=None)] == [2, 1]
