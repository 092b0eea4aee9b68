"""A challenger is trained, shadows the model that serves, and takes its place, or not; nothing of that is lost."""

import numpy as np
import pytest

from riverd import retraining as retraining_module
from riverd.checkpointing import Checkpointer
from riverd.replacement import promote_challenger, put_snapshot_in_place
from riverd.retrain_replay import snapshot_bytes
from riverd.retrain_worker import Progress
from riverd.retraining import Order, Retraining, is_same_model
from riverd.trainer import Trained
from storage.store import Store
from stream.memory import MemorySource
from tests.riverd.streams import config, engine_on, finish, outcome, pairs, run, split

TOPICS = split(pairs(900, seed=5), partitions=2)
BY_HAND = Order(trigger="command", reason="by hand")
BY_RULE = Order(trigger="rule", reason="alert loss fires")


def config_of(kind="ftrl", **more):
    return config(model={"kind": kind}, source={"poll_records": 10}, **more)


@pytest.fixture(autouse=True)
def copies_are_judged(monkeypatch):
    """A challenger that is the model that serves is rejected at once; most tests here want it in shadow."""
    monkeypatch.setattr(retraining_module, "is_same_model", lambda *_: False)


class CopyTrainer:
    """Trains in no time what the model that serves has learned."""

    progress = Progress()
    running = False

    def __init__(self, engine):
        self.stretch = None
        self.engine = engine
        self.trained = None
        self.fault = None

    def start(self, stretch, _):
        self.stretch = stretch
        data = snapshot_bytes(self.engine.config, self.engine.parts.model)
        self.trained = Trained(None, 0, self.fault) if self.fault else Trained(data, 100)

    def result(self):
        trained, self.trained = self.trained, None
        return trained

    def stop(self):
        self.trained = None


def retraining_of(engine, **ports):
    retraining = Retraining(
        engine.config, engine, CopyTrainer(engine), snapshot=ports.pop("snapshot", lambda _: b""), waits=True, **ports
    )
    engine.control = retraining.at_tick
    return retraining


def begun(config, steps=20):
    engine = engine_on(MemorySource(TOPICS), config)
    retraining = retraining_of(engine)
    for _ in range(steps):
        engine.step()
    assert retraining.ask(BY_HAND, at_us=engine.parts.joiner.watermark) == "retrain 1 has begun"
    assert engine.challenger is not None
    assert 100 < engine.parts.table.next < 600  # there is a stream behind it and one to come
    return engine, retraining


def decisions(engine):
    return [each.decision for each in engine.unsaved.decisions]


@pytest.mark.parametrize("kind", ["ftrl", "mixture"])
def test_a_challenger_leaves_no_trace_in_what_is_served_or_learned(kind):
    engine, _ = begun(config_of(kind))
    finish(engine)
    assert outcome(engine) == outcome(run(TOPICS, config_of(kind)))


def test_a_copy_stays_a_copy():
    engine, _ = begun(config_of("ftrl"))
    finish(engine)
    assert engine.challenger.model.sha256 == engine.parts.model.sha256
    table = engine.parts.table
    asked = ~np.isnan(table.shadow.logit[: table.next - table.base])
    assert asked.sum() > 100
    np.testing.assert_array_equal(table.shadow.logit[: len(asked)][asked], table.rows.logit[: len(asked)][asked])
    assert engine.challenger.gate.figures.gain == 0.0
    assert engine.challenger.gate.verdict is None


def test_a_promoted_copy_serves_and_learns_as_the_model_before_did():
    engine, retraining = begun(config_of("ftrl"))
    for _ in range(5):
        engine.step()
    judged = engine.challenger.gate.figures.events
    promote_challenger(engine, "retrain 1", engine.parts.joiner.watermark)
    retraining.cancel("it serves now")
    finish(engine)
    assert engine.parts.model.sha256 == run(TOPICS, config_of("ftrl")).parts.model.sha256
    before, after = engine.unsaved.snapshots[-2:]
    assert "metrics" not in before.born
    assert after.born["metrics"]["events"] == judged
    assert (before.reason, before.promoted, after.promoted) == ("before the promotion of retrain 1", False, True)


def test_labels_asked_of_another_model_move_no_mixture_and_no_weight_becomes_nan():
    engine, retraining = begun(config_of("mixture"))
    for _ in range(5):
        engine.step()
    promote_challenger(engine, "promotion", engine.parts.joiner.watermark)
    retraining.cancel("it serves now")
    finish(engine)
    state = engine.parts.model.whole_state()
    assert all(np.isfinite(array).all() for name, array in state.items() if name != "sample")
    assert state["counters"][1] > 100


def test_a_rollback_leaves_nothing_of_poisoned_weights():
    engine = engine_on(MemorySource(TOPICS), config_of("mixture"))
    for _ in range(20):
        engine.step()
    sound = engine.parts.model.whole_state()
    for _ in range(5):
        engine.step()
    engine.parts.model._state.weights[:] = np.nan
    put_snapshot_in_place(engine, sound, "rollback to snapshot 1", of=1)
    rolled_back = engine.parts.model.whole_state()
    for name, array in sound.items():
        if name != "ahead":
            np.testing.assert_array_equal(rolled_back[name], array)
    finish(engine)
    assert np.isfinite(engine.parts.model.whole_state()["weights"]).all()


@pytest.mark.parametrize("stops_at", [0, 1, 18])
@pytest.mark.parametrize("kind", ["ftrl", "mixture"])
def test_a_challenger_in_shadow_survives_a_restart(kind, stops_at):
    through, _ = begun(config_of(kind))
    finish(through)

    engine, retraining = begun(config_of(kind))
    store = Store.open("sqlite://", "shops", now=lambda: 7)
    store.acquire()
    assert store.load() is None
    checkpointer = Checkpointer(engine, retraining)
    for _ in range(stops_at):  # some checkpoints with it, so that its blocks are of several
        engine.step()
        capture = checkpointer.capture(with_snapshot=False)
        store.commit(capture.encode("periodic"))
        checkpointer.saved(capture)
    capture = checkpointer.capture(with_snapshot=False)
    store.commit(capture.encode("periodic"))
    assert [each.decision.decision for each in store.decisions()] == ["in shadow", "started"]
    assert [snapshot.reason for snapshot in store.snapshots()] == ["retrain 1"]

    again = engine_on(MemorySource(TOPICS), config_of(kind))
    back = retraining_of(again)
    Checkpointer(again, back).restore(store.load())
    finish(again)
    store.close()
    assert outcome(again) == outcome(through)
    assert again.challenger.model.sha256 == through.challenger.model.sha256
    assert again.challenger.gate.figures == through.challenger.gate.figures
    assert back.going.in_shadow_since is not None


def test_one_at_a_time_and_cool_down():
    engine, retraining = begun(config_of(retrain={"cool_down": "1d"}))
    at_us = engine.parts.joiner.watermark
    assert retraining.ask(BY_HAND, at_us=at_us) == "refused: retrain 1 goes on"
    assert retraining.cancel("by a command") == "retrain 1 is cancelled"
    assert engine.challenger is None
    assert engine.parts.table.shadow is None
    assert "less than 1d ago" in retraining.ask(BY_RULE, at_us=at_us + 86_399_000_000)
    assert retraining.ask(BY_RULE, at_us=at_us + 86_400_000_000) == "retrain 2 has begun"
    assert retraining.cancel("by a command") == "retrain 2 is cancelled"
    assert retraining.ask(BY_HAND, at_us=at_us + 86_400_000_001) == "retrain 3 has begun"  # nobody holds people back
    assert decisions(engine) == [
        "started", "in shadow", "refused", "cancelled", "refused", "started", "in shadow", "cancelled", "started",
        "in shadow",
    ]  # fmt: skip


def test_an_alert_begins_one():
    alerts = [{"name": "loss", "metric": "logloss", "window": "2h", "above": 0.1, "action": ["retrain"]}]
    engine = engine_on(MemorySource(TOPICS), config_of(alerts=alerts))
    retraining_of(engine)
    finish(engine)
    assert decisions(engine)[:2] == ["started", "in shadow"]
    assert engine.unsaved.decisions[0].reason == "alert loss fires"


@pytest.mark.parametrize("kind", ["ftrl", "mixture"])
def test_the_model_that_serves_is_not_judged_against_itself(kind, monkeypatch):
    monkeypatch.setattr(retraining_module, "is_same_model", is_same_model)
    engine = engine_on(MemorySource(TOPICS), config_of(kind))
    retraining = retraining_of(engine)
    for _ in range(20):
        engine.step()
    at_us = engine.parts.joiner.watermark
    retraining.ask(BY_HAND, at_us=at_us)
    assert decisions(engine) == ["started", "rejected"]
    assert engine.unsaved.decisions[1].reason.startswith("it is the model that serves, bit for bit")
    assert engine.challenger is None
    retraining.trainer.start(None, None)
    engine.step()  # the model that serves has learned more since
    retraining.trainer.start = lambda *_: None
    retraining.ask(BY_HAND, at_us=at_us)
    assert decisions(engine)[2:] == ["started", "in shadow"]


def test_how_far_back_it_learns_is_of_the_config_unless_somebody_says():
    engine = engine_on(MemorySource(TOPICS), config_of(retrain={"history": "3h"}))
    retraining = retraining_of(engine, snapshot=lambda _: b"snapshot")
    for _ in range(20):
        engine.step()
    at_us = engine.parts.joiner.watermark
    for order, from_us, to_us in (
        (BY_RULE, at_us - 3 * 3_600_000_000, at_us),
        (Order(trigger="command", reason="", to_us=at_us - 5), at_us - 5 - 3 * 3_600_000_000, at_us - 5),
        (Order(trigger="command", reason="", from_us=7), 7, at_us),
        (Order(trigger="command", reason="", start=2), None, at_us),  # it goes on from there, and all is new to it
    ):
        retraining.ask(order, at_us=at_us)
        assert (retraining.trainer.stretch.from_us, retraining.trainer.stretch.to_us) == (from_us, to_us)
        taken = engine.unsaved.snapshots[-1]
        assert (taken.born["range"], taken.line) == ([from_us, to_us], f"retrain {retraining.number}")
        retraining.cancel("next")


def test_a_worker_that_fails_is_told_of_and_the_model_goes_on():
    engine = engine_on(MemorySource(TOPICS), config_of())
    retraining = retraining_of(engine)
    retraining.trainer.fault = "the worker was killed by SIGKILL"
    for _ in range(20):
        engine.step()
    retraining.ask(BY_HAND, at_us=engine.parts.joiner.watermark)
    assert decisions(engine) == ["started", "failed"]
    assert engine.unsaved.decisions[1].reason == "the worker was killed by SIGKILL"
    finish(engine)
    assert outcome(engine) == outcome(run(TOPICS, config_of()))


def test_a_challenger_is_judged_against_the_model_that_serves_now():
    """Evidence against a champion that was rolled back says nothing of the one in its place."""
    engine, retraining = begun(config_of("ftrl"))
    whole_state = engine.parts.model.whole_state()
    for _ in range(15):
        engine.step()
    assert engine.challenger.gate.figures.events > 20
    put_snapshot_in_place(engine, whole_state, "rollback", of=1)
    retraining.champion_replaced()
    assert engine.challenger.gate.figures.events == 0
    next_row = engine.parts.table.next
    finish(engine)
    assert 0 < engine.challenger.gate.figures.events <= engine.parts.table.next - next_row
