"""A feature that knows the answer is found while the daemon runs, however late the labels come."""

import json
import random

import pytest

from riverd.checkpointing import Checkpointer
from riverd.leaks import Leaks
from riverd.publishing import Publisher
from storage.store import Store
from stream.memory import MemorySource
from stream.records import MICROSECONDS
from stream.source import Partition
from stream.timestamps import to_text
from tests.riverd.streams import START_US, config, engine_on, finish, labelled_config, run

COUNT = 3_000
FEATURES = {"categories": ["shop", "refund"], "numbers": ["x", "closed_s"], "crosses": [], "time_parts": []}


def shops(leak, *, labelled, delay_s=1_000):
    """An event a second; ``leak(positive, rng)`` gives fields that should not be there."""
    rng, events, labels = random.Random(4), [], []
    for i in range(COUNT):
        at_us, x = START_US + i * MICROSECONDS, rng.gauss(0, 1)
        positive = x + rng.gauss(0, 1) > 1.5
        event = {"id": f"e{i}", "at": to_text(at_us), "shop": rng.choice("abc"), "x": x}
        event |= {"refund": None, "closed_s": None} | leak(positive, rng)
        events.append(event | {"y": positive} if labelled else event)
        labels.append({"id": f"e{i}", "at": to_text(at_us + delay_s * MICROSECONDS), "y": positive})
    topics = {Partition("events", "0"): [json.dumps(event).encode() for event in events]}
    if not labelled:
        topics[Partition("labels", "0")] = [json.dumps(label).encode() for label in labels]
    return topics


def configured(*, labelled, **sections):
    sections = {
        "features": FEATURES,
        "monitors": {"windows": ["30m", "2h"], "guardrails": ["cost"], "slices": []},
    } | sections
    return labelled_config(alerts=[], **sections) if labelled else config(alerts=[], **sections)


LEAKS = {
    "refund": lambda positive, rng: {"refund": rng.choice("ab") if positive else "none"},
    "closed_s": lambda positive, rng: {"closed_s": rng.random() if positive else None},  # that it is there tells
}


def no_leak(*_):
    return {}


def its_cost(positive, _):
    return {"cost": 5.0 if positive else 0.0}


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("name", LEAKS)
def test_a_feature_that_knows_the_answer_is_named(name, labelled, caplog):
    caplog.set_level("WARNING", "riverd")
    engine = run(shops(LEAKS[name], labelled=labelled), configured(labelled=labelled))
    publisher = Publisher(engine)
    status = publisher.status("done")
    assert status.leaks == {name: pytest.approx(1.0, abs=0.001)}
    assert f"feature {name} ranks the labels alone, AUC 1.000: known only with the answer?" in caplog.text
    Leaks(engine.config, engine.parts.labelled).found()


@pytest.mark.parametrize("labelled", [False, True])
def test_a_good_feature_is_none(labelled):
    engine = run(shops(no_leak, labelled=labelled), configured(labelled=labelled))
    assert Publisher(engine).status("done").leaks == {}


def test_a_guardrail_may_know_the_answer():
    topics = shops(its_cost, labelled=False)
    assert Publisher(run(topics, configured(labelled=False))).status("done").leaks == {}


def test_it_is_the_same_after_a_restart_at_any_time():
    topics = shops(LEAKS["refund"], labelled=False)
    settings = configured(labelled=False, source={"poll_records": 200})
    store = Store.open("sqlite://", "shops", now=lambda: 7)
    store.acquire()
    engine = None
    while engine is None or not engine.finished:
        loaded = store.load()
        engine = engine_on(MemorySource(topics), settings)
        checkpointer = Checkpointer(engine)
        if loaded is not None:
            checkpointer.restore(loaded)
        for _ in range(3):
            engine.step()
        capture = checkpointer.capture(with_snapshot=False)
        store.commit(capture.encode("periodic"))
        checkpointer.saved(capture)
    whole = engine_on(MemorySource(topics), settings)
    finish(whole)
    assert {name: array.tobytes() for name, array in engine.parts.labelled.ring.state().items()} == {
        name: array.tobytes() for name, array in whole.parts.labelled.ring.state().items()
    }
    store.close()


def test_it_is_logged_once(caplog):
    caplog.set_level("WARNING", "riverd")
    engine = run(shops(LEAKS["refund"], labelled=True), configured(labelled=True))
    leaks = Leaks(engine.config, engine.parts.labelled)
    assert leaks.found() == leaks.found() != {}
    assert caplog.text.count("ranks the labels alone") == 1
