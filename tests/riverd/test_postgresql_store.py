"""Every command that opens the database takes a PostgreSQL URL, and none of them tells the password."""

import json
import logging
from pathlib import Path

import pytest

from riverd.cli import main
from storage.database import connect
from storage.store import Store
from storage.tables import REVISIONS
from tests.riverd.streams import pairs, settings, split, to_toml, write

SECRET = "s3cret"
EITHER = (0, 1)  # the stream has faults of its own


@pytest.fixture(scope="module")
def ann(postgres):
    """A user with a password."""
    postgres.run(f"CREATE ROLE ann LOGIN PASSWORD '{SECRET}'")
    yield "ann"
    postgres.run("DROP ROLE ann")


@pytest.fixture
def url(ann, postgres, tmp_path, monkeypatch):
    """A database of ann's, named in a config; what she writes is in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("RIVERD_DATABASE_PASSWORD", SECRET)
    write(split(pairs(300, seed=1), partitions=1), Path("data"))
    with postgres.database(owner=ann) as made:
        configure(made)
        yield made


def configure(url):
    Path("riverd.toml").write_text(to_toml(settings(storage={"url": url})), encoding="utf-8")


@pytest.fixture
def told(capsys, url):
    """Return a function that runs a command and gives its JSON."""

    def run(*arguments, codes=(0,)):
        assert main([*arguments, "--json"]) in codes
        said = capsys.readouterr()
        assert SECRET not in said.out + said.err
        return json.loads(said.out)

    return run


def test_before_the_first_run(told, url, postgres):
    database = told("doctor")["database"]
    assert database["server"] == f"postgresql://ann@127.0.0.1:{postgres.port}/{url.rpartition('/')[2]}"
    assert database["version"].startswith("PostgreSQL 1")
    assert (database["exists"], database["schema"]) == (True, None)
    assert told("check", codes=EITHER)["state"] is None
    assert postgres.run(
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", url=url.replace("ann", "river")
    ) == [(0,)]


def test_after_a_run(told, capsys, postgres):
    result = told("run", "--until-idle")
    assert result["counts"]["dead"] > 0
    database = told("doctor")["database"]
    assert database["schema"] == REVISIONS[-1]
    assert database["checkpoints"][0]["bytes"] > 1000
    assert database["lease"]["running"] is False
    assert told("check", codes=EITHER)["state"]["changes"] == []
    listed = told("deadletters", "list")
    assert listed["total"] == result["counts"]["dead"] + result["counts"]["conflict"]
    number = listed["dead_letters"][0]["id"]
    assert told("deadletters", "show", str(number))["id"] == number
    assert told("deadletters", "purge", "--all") == {"purged": listed["total"], "left": 0}
    again = told("run", "--until-idle")
    assert (again["model_sha256"], again["counts"]) == (result["model_sha256"], result["counts"])
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("database")).startswith(
        f"database     postgresql://ann@127.0.0.1:{postgres.port}/"
    )


def test_who_runs_it(told, url):
    store = Store.open(connect(url).engine.url.set(password=SECRET), "shops")
    store.acquire()
    lease = told("doctor")["database"]["lease"]
    assert lease["running"] is True
    assert lease["holder"].startswith("pid ")
    store.close()
    assert told("doctor")["database"]["lease"]["running"] is False


@pytest.mark.parametrize("command", [("check",), ("doctor",), ("run", "--until-idle"), ("deadletters", "list")])
def test_without_a_password(command, url, capsys, monkeypatch):
    monkeypatch.delenv("RIVERD_DATABASE_PASSWORD")
    assert main([*command]) == 1
    said = capsys.readouterr()
    assert "user ann needs a password" in said.out + said.err
    assert "Give it in RIVERD_DATABASE_PASSWORD or PGPASSWORD" in said.out + said.err


def test_a_password_in_the_config_is_taken_with_a_warning(told, url, monkeypatch, caplog, capsys):
    monkeypatch.delenv("RIVERD_DATABASE_PASSWORD")
    configure(url.replace("ann@", f"ann:{SECRET}@"))
    caplog.set_level(logging.WARNING)
    assert main(["run", "--until-idle"]) == 0
    assert SECRET not in str(capsys.readouterr())
    assert "[storage] url in riverd.toml holds a password: better give it in RIVERD_DATABASE_PASSWORD" in caplog.text
    assert SECRET not in caplog.text
    assert any("[storage] url holds a password" in note for note in told("check", codes=EITHER)["notes"])
    assert told("doctor")["database"]["schema"] == REVISIONS[-1]


@pytest.mark.parametrize("url_now", [f"postgresql:/ann:{SECRET}@h/d", f"mysql://ann:{SECRET}@h/d"])
def test_a_url_that_is_none(url_now, told, capsys):
    configure(url_now)
    assert "[storage] url" in str(told("check", codes=(1,))["faults"])
    assert "[storage] url" in str(told("doctor", codes=(1,))["remedies"])
    for command in ("run", "deadletters list"):
        assert main(command.split()) == 1
        assert SECRET not in capsys.readouterr().err


def test_the_environment_goes_before_the_config(told, url):
    configure(url.replace("ann@", "ann:wrong@"))
    assert told("doctor")["database"]["exists"]
