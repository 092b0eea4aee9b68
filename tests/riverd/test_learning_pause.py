"""The button for 3 a.m.: join, serve and judge, but don't learn."""

import numpy as np

from monitors.quality import quality
from riverd.checkpointing import Checkpointer
from storage.load import Loaded
from stream.memory import MemorySource
from tests.riverd.streams import ALERTS, close_the_books, config, engine_on, finish, outcome, pairs, run, split

TOPICS = split(pairs(1500, seed=3), partitions=2)


def judged_events(engine):
    return quality(engine.parts.panes.total).labelled


def weights(engine):
    return engine.parts.model.whole_state()["weights"].copy()


def stepped(engine, steps):
    for _ in range(steps):
        engine.step()


def test_while_paused_all_goes_on_but_the_weights_stand_still():
    normal = run(TOPICS, config())
    engine = engine_on(MemorySource(TOPICS), config(source={"poll_records": 100}))
    stepped(engine, 3)
    before = weights(engine)
    assert np.any(before)
    engine.pause_learning("a test")
    finish(engine)
    assert np.array_equal(weights(engine), before)
    counts, usual = engine.parts.joiner.fates(), normal.parts.joiner.fates()
    close_the_books(counts)
    assert {name: counts[name] for name in ("matched", "resolved", "expired", "late", "pending")} == {
        name: usual[name] for name in ("matched", "resolved", "expired", "late", "pending")
    }
    assert judged_events(engine) == judged_events(normal)
    # as they are: what had no label is no more without than usual
    assert quality(engine.parts.panes.total).expired == quality(normal.parts.panes.total).expired


def test_resumed_it_learns_again_from_the_next_record_on():
    engine = engine_on(MemorySource(TOPICS), config(source={"poll_records": 100}))
    engine.pause_learning("a test")
    stepped(engine, 3)
    assert not np.any(weights(engine))
    engine.resume_learning()
    finish(engine)
    assert np.any(weights(engine))
    assert engine.parts.model.sha256 != run(TOPICS, config()).parts.model.sha256  # what was dropped stays so


def test_a_pause_outlives_a_restart():
    first = engine_on(MemorySource(TOPICS), config(source={"poll_records": 100}))
    stepped(first, 3)
    first.pause_learning("a command")
    assert first.unsaved.urgent
    stored = Checkpointer(first).capture(with_snapshot=False).encode("test")
    assert not first.unsaved.urgent
    loaded = Loaded(1, stored.state, {(b.kind, b.number): b.data for b in stored.blocks if b.data is not None}, [])
    second = engine_on(MemorySource(TOPICS), config(source={"poll_records": 100}))
    Checkpointer(second).restore(loaded)
    assert (second.paused_by, second.unsaved.urgent) == ("a command", False)
    before = weights(second)
    finish(second)
    finish(first)
    assert np.array_equal(weights(second), before)
    assert outcome(second) == outcome(first)


def test_a_failed_checkpoint_does_not_forget_that_it_is_urgent():
    engine = engine_on(MemorySource(TOPICS), config())
    checkpointer = Checkpointer(engine)
    engine.pause_learning("a command")
    checkpointer.failed(checkpointer.capture(with_snapshot=False))
    assert engine.unsaved.urgent


def test_a_rule_pauses_however_the_stream_is_polled():
    alerts = [alert | {"action": ["log", "pause"]} if alert["name"] == "loss" else alert for alert in ALERTS]
    ends = []
    for poll_records in (1, 37, 8192):
        engine = run(TOPICS, config(alerts=alerts, source={"poll_records": poll_records}))
        assert engine.paused_by == "rule loss"
        ends.append(outcome(engine))
    assert ends[0] == ends[1] == ends[2]
    assert ends[0]["model_sha256"] != outcome(run(TOPICS, config()))["model_sha256"]


def test_pausing_twice_keeps_the_first_reason():
    engine = engine_on(MemorySource(TOPICS), config())
    engine.pause_learning("rule loss")
    engine.pause_learning("a command")
    assert engine.paused_by == "rule loss"
    engine.resume_learning()
    assert engine.paused_by is None
