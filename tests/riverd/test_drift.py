"""The calibration watch in the engine: a fault is found, and said alike however the stream was polled or broken off."""

import json

import numpy as np
import pytest

from monitors import calibration_watch
from riverd.checkpointing import Checkpointer
from storage.store import Store
from stream.memory import MemorySource
from stream.records import MICROSECONDS
from stream.source import Partition
from stream.timestamps import to_text
from tests.riverd.streams import START_US, UnevenSource, config, engine_on, finish, outcome, run

EVENTS, FAULT_AT = 16_000, 10_000
CONFIG = config(
    alerts=[],
    labels={"window": "10m"},
    features={"categories": ["shop"], "numbers": ["x"], "crosses": [], "time_parts": []},
    monitors={"windows": ["1h"], "slices": ["shop"], "guardrails": [], "false_alarm_every": 20_000},
    source={"poll_records": 400},
)


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(calibration_watch, "ENOUGH", 500.0)
    monkeypatch.setattr(calibration_watch, "FIT_INFORMATION", 800.0)


def stream(*, fault, seed=1):
    """Two events a second of four shops; from the fault on shop c has far more positives."""
    rng = np.random.default_rng(seed)
    x, shop = rng.normal(size=EVENTS), rng.integers(0, 4, EVENTS)
    logit = 0.8 * x + 0.3 * (shop - 1.5)
    if fault:
        logit[FAULT_AT:] += np.where(shop[FAULT_AT:] == 2, 2.0, 0.0)
    label = rng.random(EVENTS) < 1 / (1 + np.exp(-logit))
    events, labels = [], []
    for i in range(EVENTS):
        time_us = START_US + i * MICROSECONDS // 2
        events.append({"id": i, "at": to_text(time_us), "shop": "abcd"[shop[i]], "x": x[i]})
        labels.append({"id": i, "at": to_text(time_us + 60 * MICROSECONDS), "y": bool(label[i])})
    return {
        Partition("events", "0"): [json.dumps(event).encode() for event in events],
        Partition("labels", "0"): [json.dumps(label).encode() for label in labels],
    }


BROKEN = stream(fault=True)


def test_a_quiet_stream_is_quiet():
    engine = run(stream(fault=False), CONFIG)
    assert engine.parts.watch.phase == "betting"
    assert not engine.recent_alerts


def test_a_fault_is_found_in_its_slice_and_by_the_reference(caplog):
    engine = run(BROKEN, CONFIG)
    fired = {change.rule: change for change in engine.recent_alerts if change.state == "firing"}
    assert {"concept-drift", "calibration-drift shop=c"} <= fired.keys()
    assert not {"calibration-drift shop=a", "calibration-drift shop=b", "calibration-drift shop=d"} & fired.keys()
    fault_us = START_US + FAULT_AT * MICROSECONDS // 2
    for change in fired.values():
        assert 0 < change.at - fault_us < 1_500 * MICROSECONDS
    assert "calibration-drift shop=c: outcomes depart from what was served, most clearly as log odds 0." in caplog.text
    assert "above" in caplog.text


@pytest.mark.parametrize("seed", range(3))
def test_does_not_depend_on_how_the_stream_is_polled(seed):
    through = run(BROKEN, CONFIG)
    uneven = engine_on(UnevenSource(BROKEN, seed=seed, at_most=3_000), CONFIG)
    finish(uneven)
    assert list(uneven.recent_alerts) == list(through.recent_alerts)
    assert outcome(uneven) == outcome(through)


def test_goes_on_where_a_checkpoint_was():
    through = run(BROKEN, CONFIG)
    store = Store.open("sqlite://", "shops", now=lambda: 7)
    store.acquire()
    engine, changes = engine_on(MemorySource(BROKEN), CONFIG), []
    for number in range(200):
        checkpointer = Checkpointer(engine)
        loaded = store.load()
        if loaded is not None:
            checkpointer.restore(loaded)
        for _ in range(3):
            engine.step()
        lost = number % 3 == 2  # killed before it could write
        if not lost:
            capture = checkpointer.capture(with_snapshot=False)
            store.commit(capture.encode("periodic"))
            checkpointer.saved(capture)
            changes += engine.recent_alerts
            if engine.finished:
                break
        engine = engine_on(MemorySource(BROKEN), CONFIG)
    assert engine.finished
    assert number > 10
    assert changes == list(through.recent_alerts)
    assert outcome(engine) == outcome(through)


def test_everybody_is_told_of_a_slice():
    engine = run(BROKEN, CONFIG)
    notices = Checkpointer(engine).capture(with_snapshot=False).notices
    assert ("calibration-drift shop=c", "log") in [(notice.rule, notice.channel) for notice in notices]
