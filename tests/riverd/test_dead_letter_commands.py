"""Dead letters: listed, shown, sent again, forgotten; named fields are never stored."""

import json
import sqlite3
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverd.cli import main
from riverd.redaction import DROPPED, REDACTED, redact, was_redacted
from storage.store import Store
from tests.riverd.streams import settings, to_toml

START_S = 1_357_000_000
BAD = [
    '{"id": "b1", "at": "soon", "shop": "a", "x": 1, "email": "ann@example.org"}',
    '{"id": "b2", "at": 1357000002, "shop": "a", "x": "1,5"}',
    "{",
    '{"id": "e0", "at": 1357000009, "shop": "z", "x": 9}',  # e0 is taken
]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configure(**sections):
    Path("riverd.toml").write_text(to_toml(settings(alerts=[], **sections)), encoding="utf-8")


@pytest.fixture
def stream(capsys):
    """Return a function that runs a stream with four dead letters among its events."""

    def run(**sections):
        configure(**sections)
        events = [json.dumps({"id": f"e{i}", "at": START_S + i, "shop": "a", "x": i}) for i in range(20)]
        for topic, lines in (("events", [*events, *BAD]), ("labels", ['{"id": "e1", "at": 1357000009, "y": true}'])):
            path = Path(f"data/{topic}/0.jsonl")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        assert main(["run", "--until-idle", "--json"]) == 0
        capsys.readouterr()

    return run


@pytest.fixture
def letters(capsys):
    """Return a function that calls ``riverd deadletters`` and gives its JSON."""

    def call(*arguments, code=0):
        assert main(["deadletters", *arguments, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return call


def test_list(stream, letters):
    stream()
    told = letters("list")
    assert told["total"] == 4
    assert [letter["id"] for letter in told["dead_letters"]] == [4, 3, 2, 1]
    assert {letter["topic"] for letter in told["dead_letters"]} == {"events"}
    assert "came before" in told["dead_letters"][0]["reason"]
    assert [letter["id"] for letter in letters("list", "--reason", "NOT A TIME")["dead_letters"]] == []
    assert [letter["id"] for letter in letters("list", "--limit", "2")["dead_letters"]] == [4, 3]
    [first] = letters("list", "--reason", "RFC3339")["dead_letters"]
    assert first["id"] == 1


def test_list_as_a_table(stream, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    stream()
    assert main(["deadletters", "list", "--limit", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["id", "topic", "partition", "position"]
    assert lines[1].startswith("4   events")
    assert lines[-1] == "2 of 4 dead letters shown."


def test_show(stream, letters, capsys):
    stream()
    assert letters("show", "3")["payload"] == "{"
    assert main(["deadletters", "show", "1"]) == 0
    said = capsys.readouterr().out
    assert "place   events/0 at " in said
    assert '    "email": "ann@example.org"\n' in said
    assert main(["deadletters", "show", "99"]) == 1
    assert "no dead letter 99: kept are some from 1 to 4" in capsys.readouterr().err


def test_a_terminal_obeys_no_message(letters, capsys, home):
    configure()
    Path("data/events").mkdir(parents=True)
    Path("data/labels").mkdir()
    Path("data/labels/0.jsonl").touch()
    Path("data/events/0.jsonl").write_bytes(b'\x1b[2J\x9b{"\n')
    assert main(["run", "--until-idle", "--json"]) == 0
    capsys.readouterr()
    assert main(["deadletters", "show", "1"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_replay_says_why_not(stream, letters):
    stream()
    told = letters("replay", "--all", code=1)
    assert told["replayed"] == []
    assert told["refused"]["3"].startswith("it still can't be decoded: ")
    assert told["refused"]["4"] == "its id is taken by another event, and it would be a conflict again"
    assert letters("list")["total"] == 4
    assert list(Path("data/events").iterdir()) == [Path("data/events/0.jsonl")]


def test_replay_after_the_config_was_corrected(stream, letters, capsys):
    stream()
    configure(model={"name": "again"}, features={"categories": ["shop", "x"], "numbers": []})
    assert main(["run", "--until-idle", "--json"]) == 0  # under the new name b2 is sound
    configure(features={"categories": ["shop", "x"], "numbers": []})
    capsys.readouterr()
    told = letters("replay", "2", "3", code=1)
    [file] = told["replayed"]
    assert file["ids"] == [2]
    assert list(told["refused"]) == ["3"]
    assert Path(file["path"]).read_text(encoding="utf-8") == msgspec.json.format(BAD[1], indent=-1) + "\n"
    assert [letter["id"] for letter in letters("list")["dead_letters"]] == [4, 3, 1]
    configure(model={"name": "third"}, features={"categories": ["shop", "x"], "numbers": []})
    assert main(["run", "--until-idle", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert counts["duplicate_events"] == 1  # what was sent again is read, and known


def test_replay_of_a_time_that_was_ahead(letters, capsys, monkeypatch):
    configure()
    from riverd import dead_letter_commands, service

    for topic, line in (
        ("events", {"id": "e", "at": START_S, "shop": "a"}),
        ("labels", {"id": "e", "at": START_S, "y": 1}),
    ):
        Path(f"data/{topic}").mkdir(parents=True)
        Path(f"data/{topic}/0.jsonl").write_text(f"{json.dumps(line)}\n", encoding="utf-8")
    monkeypatch.setattr(service, "wall_clock_us", lambda: (START_S - 7200) * 1_000_000)
    assert main(["run", "--until-idle", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["dead"] == 2
    monkeypatch.setattr(service, "wall_clock_us", lambda: (START_S + 7200) * 1_000_000)
    assert dead_letter_commands.replay(Path("riverd.toml"), [], all_letters=True, as_json=False) == 0
    assert "2 of 2 replayed; 0 stay dead letters." in capsys.readouterr().out
    assert main(["run", "--until-idle", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert (counts["dead"], counts["events"], counts["labels"]) == (2, 1, 1)
    assert letters("list")["total"] == 0


def test_purge(stream, letters):
    stream()
    assert letters("purge", "--older-than", "1h") == {"purged": 0, "left": 4}
    with sqlite3.connect("riverd.db") as connection:
        connection.execute("UPDATE dead_letters SET at = at - 7200000000 WHERE id < 3")
    connection.close()
    assert letters("purge", "--older-than", "1h") == {"purged": 2, "left": 2}
    assert letters("purge", "--all") == {"purged": 2, "left": 0}


def test_all_of_it_works_while_riverd_runs(stream, letters, home):
    stream()
    store = Store.open(f"sqlite:///{home}/riverd.db", "shops")
    store.acquire()
    assert letters("list")["total"] == 4
    assert letters("purge", "--all")["purged"] == 4
    store.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list"], "riverd.db does not exist yet, so there are no dead letters.\n  Run riverd first"),
        (["replay"], "replay needs the numbers of dead letters, or --all"),
        (["replay", "1", "--all"], "replay needs the numbers of dead letters, or --all"),
    ],
)
def test_refusals(arguments, message, capsys, home):
    configure()
    assert main(["deadletters", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (home / "riverd.db").exists()


def test_a_wrong_duration_is_a_wrong_call(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["deadletters", "purge", "--older-than", "30"])
    assert ended.value.code == 2
    assert "'30' has no unit. Write \"30h\" (hours)" in capsys.readouterr().err


# Redaction


def test_named_fields_are_never_stored(stream, letters):
    stream(dead_letters={"redact": ["email"]})
    assert json.loads(letters("show", "1")["payload"])["email"] == REDACTED
    assert letters("show", "3")["payload"] == DROPPED.decode()  # it could hold anything
    assert all(letter["redacted"] == (letter["id"] in (1, 3)) for letter in letters("list")["dead_letters"])
    assert b"ann@example.org" not in b"".join(path.read_bytes() for path in Path().glob("riverd.db*"))
    told = letters("replay", "1", code=1)
    assert "redacted" in told["refused"]["1"]


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-100, 100), st.just("secret"), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from("abcé"), inner, max_size=4)),
    max_leaves=20,
)


def cut(value, name):
    """The oracle: every value under this name is gone."""
    if isinstance(value, list):
        return [cut(item, name) for item in value]
    if isinstance(value, dict):
        return {key: REDACTED if key == name else cut(item, name) for key, item in value.items()}
    return value


@given(json_values, st.booleans())
def test_a_name_is_redacted_wherever_it_stands(value, escaped):
    payload = json.dumps(value, ensure_ascii=escaped).encode()
    assert json.loads(redact(payload, ["é"])) == cut(value, "é")
    assert redact(payload, []) == payload


@given(st.binary(max_size=30))
def test_bytes_that_are_no_json_are_dropped(payload):
    kept = redact(payload, ["a"])
    try:
        json.loads(payload)
    except ValueError:
        assert kept == DROPPED
        assert was_redacted(kept)


def test_a_path_leads_through_lists():
    payload = b'{"to": [{"mail": 1, "x": {"mail": 2}}], "mail": 3}'
    assert json.loads(redact(payload, ["to.mail"])) == {"to": [{"mail": REDACTED, "x": {"mail": 2}}], "mail": 3}


def test_depth_is_no_way_around():
    assert redact(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, ["email"]) == DROPPED
