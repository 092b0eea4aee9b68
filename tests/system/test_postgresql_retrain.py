"""Retraining, snapshots and replays with history: on PostgreSQL as on SQLite."""

import json

import pytest

from riverd.cli import main
from tests.system.streams_on_disk import configure, write_data

pytestmark = pytest.mark.system

ALERT = {"name": "loss", "metric": "logloss", "window": "2h", "above": 0.7, "action": ["log", "retrain"]}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), count=2000)


@pytest.fixture
def url(postgres):
    with postgres.database(template=postgres.with_tables) as made:
        yield made


def printed(capsys, folder, *arguments):
    capsys.readouterr()
    assert main([*arguments, "--json", "-c", str(folder / "riverd.toml")]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def story(capsys, folder):
    """What is decided, made and told, without clocks and numbers that either database may choose."""
    printed(capsys, folder, "run", "--until-idle")
    printed(capsys, folder, "snapshots", "rollback", "1", "--wait", "0")
    printed(capsys, folder, "run", "--until-idle")
    exported = folder / "one.zip"
    printed(capsys, folder, "snapshots", "export", "1", str(exported))
    number = printed(capsys, folder, "snapshots", "import", str(exported))["number"]
    replayed = printed(capsys, folder, "replay", "--exclude", "2013-01-01T02:00/2013-01-01T04:00")
    return {
        "imported": number,
        "snapshots": [
            (each["reason"], each["watermark"], each["sha256"], each["lineage"]["parent"], each["promoted_at"] is None)
            for each in printed(capsys, folder, "snapshots", "list")
        ],
        "verified": printed(capsys, folder, "snapshots", "verify"),
        "decisions": [
            {name: value for name, value in each.items() if name != "stored_at"}
            for each in printed(capsys, folder, "retrain", "list")["decisions"]
        ],
        "replayed": {name: replayed[name] for name in ("counts", "model_sha256", "overall") if name in replayed},
        "backtest": printed(capsys, folder, "check", "--backtest", "replay"),
        "pruned": printed(capsys, folder, "snapshots", "prune", "--keep", "1"),
    }


def test_the_same_story(data, tmp_path, url, capsys):
    ends = []
    for name, database in (("sqlite", "sqlite:///riverd.db"), ("postgresql", str(url))):
        folder = configure(tmp_path / name, data, alerts=[ALERT], retrain={"history": "4h"}, storage={"url": database})
        ends.append(story(capsys, folder))
    assert ends[0] == ends[1]
    assert "rebuilt, the same to the byte" in ends[0]["verified"].values()
    assert ends[0]["pruned"]["deleted"]
