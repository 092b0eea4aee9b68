"""When labels stop altogether, predictions wait instead of becoming false negatives, and that is said."""

import json
import random

import pytest

from riverd.assembly import assemble
from riverd.engine import Engine
from riverd.load_config import parse_config
from stream.memory import MemorySource
from stream.source import Partition

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


def run(clicks, views):
    topics = {EVENTS: [json.dumps(v).encode() for v in views], CLICKS: [json.dumps(c).encode() for c in clicks]}
    config = parse_config(CONFIG, "test")
    engine = Engine(config, assemble(config, now_us=lambda: 2 * 10**15), MemorySource(topics), bounded=True)
    while engine.step():
        pass
    return engine


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
