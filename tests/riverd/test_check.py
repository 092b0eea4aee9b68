"""``riverd check`` finds what a run would meet, says what to do, and writes nothing."""

import json
from pathlib import Path

import numpy as np
import pytest

from riverd import state_format
from riverd.cli import main
from riverd.inspection import check as checking
from tests.riverd.streams import pairs, settings, split, to_toml, write

START_S = 1_700_000_000


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(topic, messages, name="0"):
    path = Path(f"data/{topic}/{name}.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{m if isinstance(m, str) else json.dumps(m)}\n" for m in messages), encoding="utf-8")


def shop(count=2000, delay_s=lambda _: 60, **fields):
    """Sound topics and a config that fits them."""
    lines("events", [{"id": i, "at": START_S + i, "shop": "ab"[i % 2], "x": i * 7 % 31} | fields for i in range(count)])
    labels = [{"id": i, "at": START_S + i + delay_s(i), "y": i % 3 == 0} for i in range(count)]
    lines("labels", sorted(labels, key=lambda label: label["at"]))
    return {
        "model": {"name": "shop"},
        "events": {"topic": "events", "id": "id", "time": "at"},
        "labels": {"topic": "labels", "id": "id", "time": "at", "value": "y", "window": "10m"},
        "features": {"categories": ["shop"], "numbers": ["x"]},
        "monitors": {"windows": ["10m"]},
    }


def check(values, *, code):
    Path("riverd.toml").write_text(to_toml(values), encoding="utf-8")
    assert main(["check", "--json"]) == code


@pytest.fixture
def told(capsys):
    """Return a function that checks a config and gives what was said as JSON."""

    def tell(values, *, faults=0):
        check(values, code=1 if faults else 0)
        said = json.loads(capsys.readouterr().out)
        assert len(said["faults"]) == faults, said["faults"]
        for fault in said["faults"]:
            assert "\n  " in fault  # a remedy
        return said

    return tell


def test_a_sound_stream_has_no_faults_and_nothing_is_written(told, home):
    values = shop()
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.name != "riverd.toml"}
    said = told(values)
    assert said["events"] == {"messages": 2000, "undecodable": 0}
    assert said["labels_without_event"] == 0
    assert said["delay_s"] == {"0.5": 60.0, "0.9": 60.0, "0.99": 60.0, "0.999": 60.0}
    assert said["size"]["events_per_second"] == pytest.approx(1.0)
    assert (said["size"]["pending_rows"], said["size"]["known_rows"]) == (600, 1200)
    assert said["slots"]["features_seen"] == 3
    assert said["panes"]["tick"] == "1m"
    assert said["state"] is None
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.name != "riverd.toml"} == before


def test_whole_numbers_that_are_ids_are_noted(told):
    values = shop()
    events = [
        {
            "id": i, "at": START_S + i, "shop": "a", "x": i * 7 % 31, "user_id": i % 97, "zip": 10_000 + i % 50,
            "order": 5000 + i, "cents": i * 7919 % 90_000, "kelvin": i / 8, "few_id": i % 5,
        }
        for i in range(2000)
    ]  # fmt: skip
    lines("events", events)
    values["features"]["numbers"] = ["x", "user_id", "zip", "order", "cents", "kelvin", "few_id"]
    notes = [note for note in told(values)["notes"] if note.startswith("[features] numbers: ")]
    assert [note.split("'")[1] for note in notes] == ["user_id", "zip", "order"]
    assert notes[0] == (
        "[features] numbers: 'user_id' holds whole numbers and is named like an id or a code, 97 in 2,000 events. "
        "As a number only its size would count.\n  Move it to categories, or leave it out if each occurs once."
    )


def test_it_reads_well(capsys):
    values = shop()
    check(values, code=0)
    capsys.readouterr()
    assert main(["check"]) == 0
    assert capsys.readouterr().out.splitlines()[:4] == [
        "events       2,000 messages read, 0 can't be decoded",
        "labels       2,000 messages read, 0 can't be decoded",
        "join         100 % of the labels find their event",
        "label delay  50.0 % within 1m, 90.0 % within 1m, 99.0 % within 1m, 99.9 % within 1m",
    ]


def test_every_fault_of_a_broken_config_is_told(told):
    values = shop()
    values["labels"]["window"] = "24"
    values["model"]["bits"] = 99
    said = told(values, faults=2)
    assert any(fault.startswith("riverd.toml: [model] bits = 99 is too large.") for fault in said["faults"])
    assert any('[labels] window = "24" has no unit' in fault for fault in said["faults"])


def test_a_topic_without_folder_or_messages(told):
    values = shop()
    lines("labels", [])
    assert "topic 'labels' has no messages" in told(values, faults=1)["faults"][0]
    Path("data/labels/0.jsonl").unlink()
    Path("data/labels").rmdir()
    assert "is not a folder" in told(values, faults=1)["faults"][0]


def test_undecodable_messages_are_counted_by_kind_with_a_place(told):
    values = shop()
    sound = Path("data/events/0.jsonl").read_text(encoding="utf-8").splitlines()
    lines("events", [*sound, *["{"] * 30, *[{"id": i, "at": f"day {i}", "shop": "a"} for i in range(20)]])
    [fault] = told(values, faults=1)["faults"]
    first, *kinds, remedy = fault.splitlines()
    assert first == "topic 'events': 50 of 2,050 messages (2.4 %) can't be decoded."
    assert kinds[0].startswith("       30 x  events/0 at ")
    assert kinds[1].startswith("       20 x  events/0 at ")
    assert "Correct the config" in remedy
    lines("events", [*sound, "{"])
    assert "They become dead letters" in told(values)["notes"][0]


def test_times_ahead_of_the_clock_are_told(told):
    values = shop()
    lines("labels", [{"id": i, "at": 4_000_000_000 + i, "y": 1} for i in range(100)])
    [fault] = told(values, faults=1)["faults"]
    assert "years ahead of this machine's clock" in fault


def test_a_field_that_no_message_has(told):
    values = shop(after={"price": 3.5})
    values["features"] = {"categories": ["shpo", "shop"], "numbers": ["x", "price"]}
    faults = told(values, faults=2)["faults"]
    assert "'price' is missing or null in all 2,000 events.\n  Did you mean after.price?" in faults[0]
    assert "'shpo' is missing or null in all 2,000 events.\n  Did you mean shop?" in faults[1]


def test_labels_that_find_no_event(told):
    values = shop()
    lines("labels", [{"id": f"order-{i}", "at": START_S + i, "y": True} for i in range(2000)])
    [fault] = told(values, faults=1)["faults"]
    assert fault.startswith("2,000 of 2,000 labels (100 %) find no event.")


def test_labels_of_a_time_before_the_events_are_no_orphans(told):
    values = shop()
    early = [{"id": f"old-{i}", "at": START_S - 5000 + i, "y": True} for i in range(4000)]
    sound = [json.loads(line) for line in Path("data/labels/0.jsonl").read_bytes().splitlines()]
    lines("labels", [label for label in [*early, *sound] if label["at"] < START_S or label in sound])
    assert told(values)["labels_without_event"] == 0


def test_a_window_too_short_and_one_too_late(told):
    values = shop(delay_s=lambda i: 60 + i % 20 * 60)
    [fault] = told(values, faults=1)["faults"]
    assert fault.startswith('[labels] window = "10m": 50.0 % of the labels come later, in vain.')
    assert 'write window = "30m"' in fault
    values = shop(delay_s=lambda _: -120)
    [fault] = told(values, faults=1)["faults"]
    assert fault.startswith('[labels] early_window = "1m": 100 % of the labels come longer before their event.')
    assert 'early_window = "2m"' in fault


def test_memory_that_is_not_there(told, monkeypatch):
    values = shop()
    needed = told(values)["size"]["memory_bytes"]
    monkeypatch.setattr(checking, "available_bytes", lambda: needed - 1)
    assert "keep 1,200 events in memory" in told(values, faults=1)["faults"][0]
    monkeypatch.setattr(checking, "available_bytes", lambda: None)
    told(values)


def test_a_rule_that_never_has_a_verdict(told):
    values = shop()
    values["alerts"] = [{"name": "loss", "metric": "logloss", "window": "10m", "above": 1.0, "min_labelled": 700}]
    [fault] = told(values, faults=1)["faults"]
    assert "'loss' never has a verdict: 10m holds about 600 events, and min_labelled = 700" in fault
    values["alerts"][0]["min_labelled"] = 500
    told(values)


def test_too_few_slots(told):
    values = shop()
    lines("events", [{"id": i, "at": START_S + i, "shop": f"s{i}", "x": 1} for i in range(2000)])
    values["model"]["bits"] = 8
    [fault] = told(values, faults=1)["faults"]
    assert fault.startswith("[model] bits = 8: of 2,001 features seen, 100.0 % share a weight")
    assert "Write bits = 16" in fault


def test_crosses_count_their_pairs(told):
    values = shop()
    values["features"]["time_parts"] = ["hour"]
    values["features"]["crosses"] = [["shop", "hour"]]
    assert told(values)["slots"]["features_seen"] == 1 + 2 + 1 + 2  # x, shops, an hour, pairs


def test_the_share_that_collides_is_what_hashing_gives():
    slots, distinct = 1 << 12, 700
    rng = np.random.default_rng(1)
    shared = [
        np.mean(np.bincount(place, minlength=slots)[place] > 1) for place in rng.integers(0, slots, (200, distinct))
    ]
    assert 1 - np.exp(-(distinct - 1) / slots) == pytest.approx(np.mean(shared), abs=0.005)


# The stored state


@pytest.fixture
def stored(capsys):
    """A state that was learned from ``pairs``."""
    write(split(pairs(300, seed=1), partitions=1), Path("data"))
    Path("riverd.toml").write_text(to_toml(settings()), encoding="utf-8")
    assert main(["run", "--until-idle", "--json"]) == 0
    capsys.readouterr()


@pytest.mark.usefixtures("stored")
def test_the_fate_of_changes(capsys):
    changed = settings(alerts=[], model={"l2": 0.5, "bits": 13}, events={"id": "key"}, monitors={"slices": ["user"]})
    Path("riverd.toml").write_text(to_toml(changed), encoding="utf-8")
    main(["check", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["state"]["changes"] == [
        {"key": "[events] id", "then": "id", "now": "key", "fate": "refused"},
        {"key": "[model] bits", "then": 12, "now": 13, "fate": "needs a replay"},
        {"key": "[model] l2", "then": 0.0, "now": 0.5, "fate": "needs a replay"},
        {"key": "[monitors] slices", "then": ["shop"], "now": ["user"], "fate": "applied"},
    ]
    [replay] = [fault for fault in said["faults"] if "these need a replay" in fault]
    assert "[model] bits: 12 then, 13 now" in replay
    [refused] = [fault for fault in said["faults"] if "belongs to another stream" in fault]
    assert "[events] id: id then, key now" in refused
    [applied] = [note for note in said["notes"] if note.startswith("[monitors] slices")]
    assert applied.endswith("the stored slices can't be carried over and begin anew.")
    assert main(["run", "--until-idle", "--json"]) == 1  # it is so
    Path("riverd.toml").write_text(to_toml(settings(alerts=[])), encoding="utf-8")
    capsys.readouterr()
    main(["check", "--json"])
    assert json.loads(capsys.readouterr().out)["state"]["changes"] == []
    assert main(["run", "--until-idle", "--json"]) == 0


@pytest.mark.usefixtures("stored")
def test_a_state_in_another_form(capsys, monkeypatch):
    monkeypatch.setattr(state_format, "FORMAT", state_format.FORMAT + 1)
    main(["check", "--json"])
    faults = json.loads(capsys.readouterr().out)["faults"]
    [fault] = [fault for fault in faults if "stored by another version of riverd" in fault]
    assert "give the model another [model] name" in fault
    assert main(["run", "--until-idle", "--json"]) == 1  # it is so


@pytest.mark.usefixtures("stored")
def test_a_database_that_is_none(capsys):
    for name in ("riverd.db", "riverd.db-wal", "riverd.db-shm"):
        Path(name).unlink(missing_ok=True)
    Path("riverd.db").write_bytes(b"something else " * 100)
    main(["check", "--json"])
    assert any("is not a SQLite database" in fault for fault in json.loads(capsys.readouterr().out)["faults"])
