"""A replay depends on the log alone, keeps the history it would have had, and leaves out what it is told to."""

import json
import logging
import sqlite3
from collections import Counter
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riverd import replay as replay_module
from riverd.cli import main
from riverd.load_config import load_config
from riverd.replay import replay
from riverd.replay_history import ReplayHistory, stored_name
from riverd.time_ranges import Stretch, limit
from storage.errors import LeaseHeld
from storage.store import Store
from stream.memory import MemorySource
from stream.records import CORRECT, DROP, LEARN, RESOLVE
from stream.source import Partition, SourceError
from tests.riverd.streams import (
    EARLY_US,
    MINUTE_US,
    SPACING_US,
    START_US,
    WINDOW_US,
    close_the_books,
    config,
    engine_on,
    finish,
    outcome,
    pairs,
    run,
    split,
    to_toml,
    write,
)
from tests.riverd.streams import settings as settings_of

COUNT = 1200
END_US = START_US + COUNT * SPACING_US
messages = pairs(COUNT, seed=11)


@pytest.fixture
def project(tmp_path):
    write(split(messages, partitions=2), tmp_path / "data")

    def make(name="riverd.toml", **sections):
        source = {"kind": "files", "path": "data", **sections.pop("source", {})}
        (tmp_path / name).write_text(to_toml(settings_of(source=source, **sections)))
        return tmp_path / name

    return make


def stored(path, of="replay"):
    store = Store.open(f"sqlite:///{path.parent / 'riverd.db'}", stored_name("shops", of))
    try:
        return store.history(), store.alerts()
    finally:
        store.close()


def without_pace(result):
    return {name: value for name, value in result.items() if name not in ("seconds", "events_per_second")}


def test_poll_sizes_give_the_same_model_metrics_history_and_alerts(project):
    stretch = Stretch(
        from_us=START_US + 20 * MINUTE_US, excluded=((START_US + 100 * MINUTE_US, START_US + 130 * MINUTE_US),)
    )
    found = []
    for poll_records in (1000, 7, 1):
        path = project(source={"poll_records": poll_records})
        ended = replay(load_config(path), path, stretch=stretch, keep_history=True)
        found.append((without_pace(ended.result), stored(path)))
    assert found[0][0]["history"]["documents"] == len(found[0][1][0]) > 50
    assert found[0][1][1]
    assert found[0] == found[1] == found[2]


def test_the_history_is_that_of_a_run(project, tmp_path):
    path = project()
    result = replay(load_config(path), path, keep_history=True).result
    assert result["history"]["model"] == "shops@replay"
    assert result["history"]["database"].endswith("riverd.db")
    assert result["complete"] is True
    assert main(["run", "--until-idle", "--json", "-c", str(path)]) == 0
    store = Store.open(f"sqlite:///{tmp_path / 'riverd.db'}", "shops")
    history, alerts = store.history(), store.alerts()
    store.close()
    replayed, would_have_fired = stored(path)
    assert replayed == history
    assert would_have_fired == alerts


def test_a_replay_takes_the_place_of_the_last_one_and_nobody_elses(project, tmp_path):
    path = project()
    assert main(["run", "--until-idle", "--json", "-c", str(path)]) == 0
    with sqlite3.connect(tmp_path / "riverd.db") as database:
        before = facts(database, "shops")
    replay(load_config(path), path, keep_history=True)
    whole = stored(path)
    half = Stretch(to_us=(START_US + END_US) // 2)
    replay(load_config(path), path, stretch=half, keep_history=True)
    part = stored(path)
    assert 0 < len(part[0]) < len(whole[0])
    assert all(figures in whole[0] for figures in part[0])
    with sqlite3.connect(tmp_path / "riverd.db") as database:
        assert facts(database, "shops") == before
        tables = {table for table, rows in facts(database, "shops@replay").items() if rows}
    assert tables <= {"metric_history", "alerts", "leases"}
    assert "metric_history" in tables


def facts(database, model):
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    keyed = [
        table for table in tables if any(row[1] == "model" for row in database.execute(f"PRAGMA table_info({table})"))
    ]
    return {table: database.execute(f"SELECT * FROM {table} WHERE model = ?", (model,)).fetchall() for table in keyed}


def test_runs_beside_a_daemon_but_not_beside_itself(project, tmp_path):
    path = project()
    running = Store.open(f"sqlite:///{tmp_path / 'riverd.db'}", "shops")
    running.acquire()
    replay(load_config(path), path, keep_history=True)
    running.check_lease()
    running.close()
    with (
        ReplayHistory(load_config(path), path),
        pytest.raises(LeaseHeld, match="shops@replay is already run by"),
    ):
        replay(load_config(path), path, keep_history=True)


def test_the_rules_of_another_config_are_tried_on_the_history(project, capsys):
    path = project(alerts=[])
    assert main(["check", "--backtest", "replay", "-c", str(path)]) == 0
    assert "none is stored yet: riverd replay first" in capsys.readouterr().out
    assert main(["replay", "--json", "-c", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["history"]["model"] == "shops@replay"
    project()
    assert main(["check", "--backtest", "replay", "--json", "-c", str(path)]) == 0
    rules = {rule["rule"]: rule for rule in json.loads(capsys.readouterr().out)["rules"]}
    assert rules["rate"]["firings"]


def test_says_how_far_it_is_where_there_is_no_terminal(project, monkeypatch, caplog):
    monkeypatch.setattr(replay_module, "LOG_S", 0.0)
    path = project(source={"poll_records": 10})
    with caplog.at_level(logging.INFO, "riverd"):
        replay(load_config(path), path, stretch=Stretch(to_us=(START_US + END_US) // 2))
    lines = [record.message for record in caplog.records if record.message.startswith("replay: ")]
    shares = [float(line.split(" % done")[0].rpartition(" ")[2]) for line in lines if " % done" in line]
    assert len(shares) > 10
    assert shares == sorted(shares)
    assert shares[len(shares) // 2] == pytest.approx(50, abs=20)
    assert shares[-1] >= 95  # of the stretch, which is half of the bytes


@pytest.mark.parametrize("text", ["2013-01-01", "2013-01-02/2013-01-01"])
def test_a_range_that_is_none_ends_with_1(project, text, capsys):
    assert main(["replay", "--json", "--exclude", text, "-c", str(project())]) == 1
    assert capsys.readouterr().err.startswith(f"riverd: --exclude '{text}' ")


def test_a_stretch_that_ends_before_it_begins_ends_with_1(project, capsys):
    path = str(project())
    assert main(["replay", "--json", "--from", "2013-01-02", "--to", "2013-01-01", "-c", path]) == 1
    assert capsys.readouterr().err.startswith("riverd: --to 2013-01-01 is not after --from 2013-01-02.\n")


# Against plain filtering of the messages: what is left out must act as if it had never been sent.

MODES = [(learn, missing) for learn in ("arrival", "maturity") for missing in ("drop", "negative")]
minutes = st.integers(-60, COUNT // 6 + 120)
ranges = st.lists(st.tuples(minutes, st.integers(1, 90)), min_size=1, max_size=3).map(
    lambda drawn: tuple((START_US + m * MINUTE_US, START_US + (m + n) * MINUTE_US) for m, n in drawn)
)


def time_of(payload):
    try:
        return round(datetime.fromisoformat(json.loads(payload)["at"]).timestamp() * 1e6)
    except (ValueError, TypeError, KeyError, OSError):
        return None


def is_left_out(message_us, topic, excluded, missing):
    doubtful = topic == "events" and missing == "negative"
    before, after = (WINDOW_US, EARLY_US) if doubtful else (0, 0)
    return any(begin - before <= message_us < end + after for begin, end in excluded)


def readable(messages):
    """Without what is dead: that has no time of its own to go by."""
    return [message for message in messages if time_of(message.payload) is not None]


def filtered(messages, excluded, missing):
    return [m for m in messages if not is_left_out(time_of(m.payload), m.topic, excluded, missing)]


def excluding(topics, configured, excluded):
    engine = engine_on(MemorySource(topics), configured)
    limit(engine.parts.merger, configured, Stretch(excluded=excluded))
    finish(engine)
    return engine


@settings(deadline=None, max_examples=6)
@given(ranges, st.sampled_from(MODES), st.sampled_from([1, 3]), st.sampled_from([1000, 50]))
def test_what_is_excluded_acts_as_if_it_had_never_been_sent(excluded, mode, partitions, poll_records):
    learn, missing = mode
    configured = config(labels={"learn": learn, "missing": missing}, source={"poll_records": poll_records})
    stream = readable(messages[: len(messages) // 2])
    engine = excluding(split(stream, partitions=partitions), configured, excluded)
    expected = run(split(filtered(stream, excluded, missing), partitions=partitions), configured)
    assert outcome(engine) == outcome(expected)
    assert list(engine.recent_alerts) == list(expected.recent_alerts)
    assert engine.unsaved.history == expected.unsaved.history
    close_the_books(engine.parts.joiner.fates())


@pytest.mark.parametrize(("learn", "missing"), MODES)
def test_no_label_of_an_excluded_range_teaches_or_judges_and_none_is_taken_for_negative(learn, missing):
    incident = (START_US + 150 * MINUTE_US, START_US + 200 * MINUTE_US)
    configured = config(labels={"learn": learn, "missing": missing})
    engine = engine_on(MemorySource(split(messages, partitions=2)), configured)
    limit(engine.parts.merger, configured, Stretch(excluded=(incident,)))
    scored, seen = {}, Counter()

    def observe(step, ordered):
        ops = step.ops
        for code, row, record, at in zip(*(a.tolist() for a in (ops.code, ops.row, ops.record, ops.at)), strict=True):
            if record >= 0:
                scored[row] = int(ordered.events.time[record])
                assert not incident[0] <= scored[row] < incident[1]
            if code & (RESOLVE | CORRECT):
                assert not incident[0] <= at < incident[1]
            before = incident[0] - WINDOW_US <= scored[row] < incident[0]
            seen["dropped before"] += bool(before and code & DROP)
            seen["learned before"] += bool(before and code & LEARN)
            seen["learned"] += bool(code & LEARN)

    engine.observers.append(observe)
    finish(engine)
    assert seen["learned"] > 500
    if missing == "drop":
        assert seen["dropped before"] > 20
        assert seen["learned before"] > 20  # those answered in time
    else:
        assert seen["dropped before"] == seen["learned before"] == 0  # they were not even asked


def test_leaving_out_an_incident_does_not_move_the_rate_of_positives():
    """Labels fail for a while, and missing ones would be negatives: those of the hour before it too."""
    topics = split(messages, partitions=1)
    failed = (START_US + 150 * MINUTE_US, START_US + 240 * MINUTE_US)
    labels = Partition("labels", "0")
    topics[labels] = [payload for payload in topics[labels] if not failed[0] <= (time_of(payload) or 0) < failed[1]]
    configured = config(labels={"missing": "negative", "positive_when": True})
    spoilt = run(topics, configured)
    saved = excluding(topics, configured, (failed,))
    whole = run(split(messages, partitions=1), configured)
    gone = {
        name: engine.parts.joiner.fates()["expired"] / engine.parts.joiner.fates()["events"]
        for name, engine in (("spoilt", spoilt), ("saved", saved), ("whole", whole))
    }
    assert gone["spoilt"] > gone["whole"] + 0.1
    assert gone["saved"] == pytest.approx(gone["whole"], abs=0.03)


def test_an_error_of_the_source_leaves_the_last_history(project, tmp_path):
    path = project()
    replay(load_config(path), path, keep_history=True)
    before = stored(path)
    (tmp_path / "data" / "labels").rename(tmp_path / "data" / "elsewhere")
    with pytest.raises(SourceError, match="is not a folder"):
        replay(load_config(path), path, keep_history=True)
    assert stored(path) == before
