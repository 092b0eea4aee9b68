"""``riverd doctor`` tells what a maintainer would ask, and what to mend."""

import json
import os
import platform
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from riverd.cli import main
from riverd.inspection import doctor as doctoring
from storage.store import Store
from storage.tables import REVISIONS
from tests.riverd.streams import pairs, settings, split, to_toml, write

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("riverd.toml").write_text(to_toml(settings()), encoding="utf-8")
    return tmp_path


@pytest.fixture
def stored(capsys):
    write(split(pairs(300, seed=1), partitions=1), Path("data"))
    assert main(["run", "--until-idle", "--json"]) == 0
    capsys.readouterr()


def told(capsys, *, code=0):
    assert main(["doctor", "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_before_the_first_run(capsys, home):
    report = told(capsys)
    assert report["python"].startswith(platform.python_version())
    assert all(report["packages"][name] for name in ("numpy", "numba", "msgspec", "sqlalchemy"))
    assert report["cpu"]["usable"] == len(os.sched_getaffinity(0))
    assert report["kernels"]["writable"]
    assert report["database"] == {"path": str(home / "riverd.db"), "exists": False}
    assert report["remedies"] == []
    assert not (home / "riverd.db").exists()


@pytest.mark.usefixtures("stored")
def test_after_a_run(capsys):
    database = told(capsys)["database"]
    assert database["schema"] == database["newest_schema"] == REVISIONS[-1]
    numbers = [checkpoint["number"] for checkpoint in database["checkpoints"]]
    assert numbers in ([1], [2, 1])  # an alert may have asked for one before the end
    assert database["checkpoints"][0]["bytes"] > 1000
    assert 0 <= database["checkpoints"][0]["age_s"] < 600
    assert database["bytes_per_day"] is None
    assert database["lease"]["running"] is False
    assert database["snapshots"]["number"] == 1
    assert database["dead_letters"] > 0


@pytest.mark.usefixtures("stored")
def test_it_reads_well(capsys):
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:13].strip() for line in lines[:-1]] == [
        "riverd", "packages", "system", "processor", "memory", "clock", "kernels", "config", "database", "checkpoint",
        "lease", "kept", "disk",
    ]  # fmt: skip
    assert lines[-1] == "Nothing needs mending."


@pytest.mark.usefixtures("stored")
def test_a_daemon_that_no_longer_writes(capsys, home, monkeypatch):
    store = Store.open(f"sqlite:///{home}/riverd.db", "shops")
    store.acquire()
    assert told(capsys)["database"]["lease"]["running"] is True
    now_ns = doctoring.time.time_ns()
    monkeypatch.setattr(doctoring.time, "time_ns", lambda: now_ns + 3_600_000_000_000)
    [remedy] = told(capsys, code=1)["remedies"]
    assert "runs this model, but its last checkpoint is 1h old.\n  Look at its log" in remedy
    store.close()
    assert told(capsys)["remedies"] == []


def test_little_space(capsys, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 7_000_000))
    [remedy] = told(capsys, code=1)["remedies"]
    assert "7.0 MB are free.\n  Free some space" in remedy


def test_a_clock_that_was_never_set(capsys, monkeypatch):
    monkeypatch.setattr(doctoring.time, "time_ns", lambda: 10**15)
    [remedy] = told(capsys, code=1)["remedies"]
    assert "the clock says 1970-01-12 13:46" in remedy


def test_kernels_that_can_not_be_kept(capsys, monkeypatch, home):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(home / "none" / "kernels"))
    assert told(capsys)["kernels"] == {"folders": [str(home / "none" / "kernels")], "compiled": 0, "writable": True}
    monkeypatch.setattr(doctoring.os, "access", lambda path, _: Path(path) != home)
    remedies = told(capsys, code=1)["remedies"]
    assert any("kernels are compiled at every start" in remedy for remedy in remedies)
    assert any("riverd.db can't be written" in remedy for remedy in remedies)


def test_a_broken_config_is_part_of_the_report(capsys):
    Path("riverd.toml").write_text("[model]\n", encoding="utf-8")
    report = told(capsys, code=1)
    assert any("[model] name is missing" in remedy for remedy in report["remedies"])
    assert "database" not in report


def test_a_database_of_a_newer_riverd(capsys, home):
    Store.open(f"sqlite:///{home}/riverd.db", "shops").close()
    import sqlite3

    with sqlite3.connect("riverd.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    [remedy] = told(capsys, code=1)["remedies"]
    assert "has tables of version 9999, newer than this riverd's" in remedy
