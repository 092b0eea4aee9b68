"""When labels stop altogether, predictions wait instead of becoming false negatives, and that is said."""

import json
import random

import pytest

from riverd.assembly import assemble
from riverd.checkpointing import Checkpointer
from riverd.commands import obey
from riverd.engine import Engine
from riverd.load_config import parse_config
from riverd.web.document import Command
from storage.load import Loaded
from stream.memory import MemorySource
from stream.source import Partition
from stream.timestamps import to_text

START, MINUTE = 1_700_000_000, 60
WINDOW = 30 * MINUTE
EVENTS, CLICKS = Partition("views", "0"), Partition("clicks", "0")
CONFIG = {
    "model": {"name": "m", "bits": 10},
    "events": {"topic": "views", "id": "id", "time": "t"},
    "labels": {"topic": "clicks", "id": "id", "time": "t", "window": "30m", "missing": "negative"},
    "features": {"categories": ["page"]},
    "monitors": {"windows": ["1h"]},
}


def engine_on(clicks, views, poll_records=8192):
    topics = {EVENTS: [json.dumps(v).encode() for v in views], CLICKS: [json.dumps(c).encode() for c in clicks]}
    config = parse_config(CONFIG | {"source": {"poll_records": poll_records}}, "test")
    return Engine(config, assemble(config, now_us=lambda: 2 * 10**15), MemorySource(topics), bounded=True)


def finish(engine):
    while engine.step():
        pass
    return engine


def run(clicks, views):
    return finish(engine_on(clicks, views))


@pytest.fixture(scope="module")
def views():
    """Five hours, a view every two seconds, of which a third are clicked within 20 minutes."""
    rng = random.Random(3)
    return [
        {
            "id": i,
            "t": START + 2 * i,
            "page": rng.choice("ab"),
            "clicked": rng.random() < 1 / 3,
            "after": rng.randrange(1200),
        }
        for i in range(9000)
    ]


@pytest.fixture(scope="module")
def clicks(views):
    made = [{"id": view["id"], "t": view["t"] + view["after"]} for view in views if view["clicked"]]
    return sorted(made, key=lambda click: click["t"])


def stalled(engine):
    return [(alert.state, alert.severity) for alert in engine.unsaved.alerts if alert.rule == "labels-stalled"]


def test_quiet_labels_raise_no_alarm(views, clicks):
    engine = run(clicks, views)
    assert stalled(engine) == []
    assert engine.parts.joiner.fates()["matched"] == len(clicks)


def test_clicks_that_come_late_as_one_are_not_taken_for_negatives(views, clicks):
    broken, mended = START + 2 * 3600, START + 2 * 3600 + 50 * MINUTE
    # written late, with the times at which they happened
    queued = [click for click in clicks if broken <= click["t"] < mended]
    before = [click for click in clicks if click["t"] < broken]
    after = [click for click in clicks if click["t"] >= mended]
    # a click after the outage shows how far event time has come before the queued ones are released
    engine = run([*before, after[0], *queued, *after[1:]], views)
    assert stalled(engine) == [("firing", "critical"), ("resolved", "critical")]
    fates = engine.parts.joiner.fates()
    # the first 20 that are missing show that something is wrong; ids of that time may be forgotten by then
    lost = fates["late"] + fates["orphan"]
    assert lost < 50
    assert fates["matched"] == len(clicks) - lost


def test_without_the_freeze_they_would_have_been(views, clicks, monkeypatch):
    monkeypatch.setattr("stream.stall.ENOUGH_POSITIVES", 1e9)
    broken, mended = START + 2 * 3600, START + 2 * 3600 + 50 * MINUTE
    queued = [click for click in clicks if broken <= click["t"] < mended]
    others = [click for click in clicks if not broken <= click["t"] < mended]
    first = next(i for i, click in enumerate(others) if click["t"] >= mended)
    engine = run([*others[: first + 1], *queued, *others[first + 1 :]], views)
    fates = engine.parts.joiner.fates()
    assert fates["late"] + fates["orphan"] > 200


def test_labels_that_never_come_back_are_waited_for_once_more(views, clicks):
    engine = run([click for click in clicks if click["t"] < START + 2 * 3600], views)
    assert stalled(engine)[0] == ("firing", "critical")
    fates = engine.parts.joiner.fates()
    assert 2 * fates["pending"] <= 2 * WINDOW + 10 * MINUTE  # one every two seconds: memory stays bounded
    assert fates["events"] == fates["pending"] + fates["resolved"] + fates["expired"]


def test_a_thaw_by_command_is_stored_at_once_and_outlives_a_restart(views, clicks, caplog):
    caplog.set_level("INFO", "riverd")
    stop = [click for click in clicks if click["t"] < START + 2 * 3600]
    first, waiting = engine_on(stop, views, 100), run(stop, views)
    obey(first, None, Command(1, "thaw"))
    assert not first.unsaved.urgent
    assert "nothing was frozen" in caplog.text
    while not stalled(first):
        first.step()
    frozen_at, pending = first.parts.joiner.stalled_since, first.parts.joiner.fates()["pending"]
    first.unsaved.alerts.clear()
    obey(first, None, Command(2, "thaw"))
    assert first.unsaved.urgent
    assert f"labels thawed by a command: predictions that have waited since {to_text(frozen_at)}" in caplog.text

    stored = Checkpointer(first).capture(with_snapshot=False).encode("test")
    loaded = Loaded(1, stored.state, {(b.kind, b.number): b.data for b in stored.blocks if b.data is not None}, [])
    second = engine_on(stop, views, 100)
    Checkpointer(second).restore(loaded)
    assert not second.parts.joiner.stalled
    first.step()
    second.step()
    assert first.parts.joiner.fates() == second.parts.joiner.fates()
    assert second.parts.joiner.fates()["pending"] < pending  # what had waited has expired
    finish(first)
    finish(second)
    assert first.parts.joiner.fates() == second.parts.joiner.fates()
    assert stalled(first) == stalled(second)
    assert stalled(second)[0] == ("resolved", "critical")
    assert stalled(waiting)[0] == ("firing", "critical")
