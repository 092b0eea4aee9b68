"""riverd retrain: a request in the database, whether riverd runs or not, and what became of it."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from riverd import request_commands
from riverd.cli import main, parser
from storage.checkpoint import Checkpoint
from storage.requests import Done
from storage.retrains import Decision
from storage.snapshots import NewSnapshot
from storage.store import Store
from tests.riverd.streams import pairs, settings, split, to_toml, write
from tests.system.page_commands import commands_of, links_of

DAY_US = 86_400_000_000


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("riverd.toml").write_text(to_toml(settings()), encoding="utf-8")
    return tmp_path


@pytest.fixture
def store(home):
    with closing(Store.open(f"sqlite:///{home}/riverd.db", "shops")) as made:
        yield made


@pytest.fixture
def daemon(store, monkeypatch):
    """Return a function that makes a running riverd say this of the next request."""

    def says(outcome):
        store.acquire()
        store.load()

        def carry_out(_):
            [request] = store.open_requests()
            store.commit(Checkpoint(b"", done=[Done(request.number, outcome)]))

        monkeypatch.setattr(request_commands.time, "sleep", carry_out)

    return says


@pytest.fixture
def told(capsys):
    """Return a function that calls ``riverd retrain`` and gives its JSON."""

    def call(*arguments, code=0):
        assert main(["retrain", *arguments, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return call


def test_a_riverd_that_does_not_run_finds_it_later(store, told, capsys):
    said = told("--wait", "0")
    assert said == {"request": 1, "done": False, "outcome": None}
    assert main(["retrain", "--wait", "0.05"]) == 0
    assert capsys.readouterr().out == (
        "Request 2 is stored, but was not carried out within 0.05 s.\n"
        "  A riverd that runs carries it out when it can; one that does not, before the next record once it runs.\n"
    )
    assert [request.what for request in store.open_requests()] == ["retrain", "retrain"]


def test_what_is_asked_for(store, told):
    told("--wait", "0")
    told(
        "--wait", "0", "--from", "1970-01-02", "--to", "1970-01-05T00:00:00Z", "--exclude", "1970-01-03/1970-01-04",
        "--exclude", "1970-01-04/1970-01-04T12:00:00Z", "--from-nothing", "--reason", "the outage",
    )  # fmt: skip
    plainest, fullest = (request.arguments for request in store.open_requests())
    assert plainest == {
        "trigger": "command", "reason": "by a command", "from_us": None, "to_us": None, "exclude": [], "start": None,
    }  # fmt: skip
    assert fullest == {
        "trigger": "command",
        "reason": "the outage",
        "from_us": DAY_US,
        "to_us": 4 * DAY_US,
        "exclude": [[2 * DAY_US, 3 * DAY_US], [3 * DAY_US, 3 * DAY_US + DAY_US // 2]],
        "start": None,
    }


def test_it_goes_on_from_a_snapshot(store, told):
    store.acquire()
    store.load()
    store.commit(Checkpoint(b"", snapshots=[NewSnapshot(0, "periodic", {}, b"model")]))
    told("--wait", "0", "--start-from", "1")
    [request] = store.open_requests()
    assert request.arguments["start"] == 1


def test_the_outcome_is_waited_for(daemon, capsys):
    daemon("retrain 1 has begun")
    assert main(["retrain"]) == 0
    assert capsys.readouterr().out == "Request 1: retrain 1 has begun.\n"


def test_a_refusal_ends_with_1(daemon, told, capsys):
    daemon("refused: retrain 1 goes on")
    assert main(["retrain"]) == 1
    assert capsys.readouterr().err == "riverd: request 1 is refused: retrain 1 goes on\n"
    assert told(code=1) == {"request": 2, "done": True, "outcome": "refused: retrain 1 goes on"}


def test_one_that_goes_on_is_given_up(daemon, store, told):
    daemon("retrain 1 is cancelled")
    assert told("cancel") == {"request": 1, "done": True, "outcome": "retrain 1 is cancelled"}
    request = store.request(1)
    assert (request.what, request.arguments) == ("cancel", {})


def test_the_decisions_are_listed_the_newest_first(store, told, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["retrain", "list"]) == 0
    assert capsys.readouterr().out == "Nothing was decided about retraining yet.\n"
    store.acquire()
    store.load()
    store.commit(
        Checkpoint(
            b"",
            decisions=[
                Decision("started", "alert loss fires", DAY_US, 1),
                Decision("refused", "retrain 1 goes on\x1b[2J", None, None, {"trigger": "alertmanager"}),
            ],
        )
    )
    newest, oldest = told("list")["decisions"]
    stored_at = newest.pop("stored_at")
    assert stored_at.endswith("Z")
    assert newest == {
        "number": 2, "at": None, "retrain": None, "decision": "refused", "reason": "retrain 1 goes on\x1b[2J",
        "details": {"trigger": "alertmanager"},
    }  # fmt: skip
    assert (oldest["at"], oldest["retrain"]) == ("1970-01-02T00:00:00Z", 1)
    assert main(["retrain", "list", "--limit", "1"]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["stored", "(UTC)", "event", "time", "retrain", "decision", "reason"]
    assert row.rstrip().endswith("refused   retrain 1 goes on?[2J")


def test_what_stands_before_the_action_holds(store, told, home):
    Path("riverd.toml").rename("other.toml")
    assert told("-c", "other.toml", "list") == told("list", "-c", "other.toml") == {"decisions": []}
    assert told("-c", "other.toml", "--wait", "0", "cancel")["done"] is False


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--from", "soon"], "--from 'soon' is not a time.\n"),
        (["--from", "2013-02-01", "--to", "2013-01-01"], "--from 2013-02-01 is not before --to 2013-01-01.\n"),
        (["--from", "2013-02-01", "--to", "2013-02-01"], "--from 2013-02-01 is not before --to 2013-02-01.\n"),
        (["--exclude", "2013-01-01"], "--exclude '2013-01-01' is not a range of time.\n"),
        (["--start-from", "3"], "there is no snapshot 3, or none any more.\n  `riverd snapshots list` names them."),
    ],
)
def test_what_can_not_be_had_is_explained_and_not_asked_for(store, arguments, fault, capsys):
    assert main(["retrain", *arguments]) == 1
    assert capsys.readouterr().err.startswith(f"riverd: {fault}")
    assert store.open_requests() == []


@pytest.mark.parametrize(
    "arguments",
    [["--start-from", "1", "--from-nothing"], ["--wait", "-1"], ["--wait", "nan"], ["list", "--limit", "0"], ["lsit"]],
)
def test_a_wrong_call_ends_with_2(arguments):
    with pytest.raises(SystemExit) as ended:
        main(["retrain", *arguments])
    assert ended.value.code == 2


def test_before_the_first_run_there_is_nothing_to_retrain(home, capsys):
    assert main(["retrain"]) == 1
    assert capsys.readouterr().err == (
        f"riverd: {home}/riverd.db does not exist yet: riverd has learned nothing.\n"
        "  Run it first:  riverd run -c riverd.toml\n"
    )
    assert not Path("riverd.db").exists()


def test_a_model_of_somebody_else_is_not_trained(store, capsys):
    config = settings(model={"name": "shops", "kind": "external"}, alerts=[])
    config["events"]["score"] = "p"
    Path("riverd.toml").write_text(to_toml(config), encoding="utf-8")
    assert main(["retrain"]) == 1
    assert 'riverd: [model] kind = "external": riverd has no model to train.' in capsys.readouterr().err
    assert store.open_requests() == []


def test_the_next_run_carries_it_out_before_its_first_record(told, capsys):
    write(split(pairs(300, seed=1), partitions=1), Path("data"))
    assert main(["run", "--until-idle", "--json"]) == 0
    capsys.readouterr()
    assert told("--wait", "0", "--reason", "a try")["request"] == 1
    assert main(["run", "--until-idle", "--json"]) == 0
    capsys.readouterr()
    first = told("list")["decisions"][-1]
    assert (first["decision"], first["reason"], first["retrain"]) == ("started", "a try", 1)


def test_the_commands_of_the_page_are_calls_that_are_understood():
    commands = commands_of("retraining.md")
    assert [parser().parse_args(command).action for command in commands if command[0] == "retrain"] == [
        None, "list", None, "cancel",
    ]  # fmt: skip
    assert all(path.exists() for path in links_of("retraining.md"))
