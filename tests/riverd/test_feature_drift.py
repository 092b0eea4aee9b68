"""Drift of features through the whole engine: found and named, ranked by what the model makes of it."""

import io
import json
import random

import numpy as np
import pytest
from rich.console import Console

from models.explanation import linear_weights
from models.hashing import hash_feature
from models.kernels.encoding import CLIP
from models.plan import NUMBER
from riverd.checkpointing import Checkpointer
from riverd.clipping import clip_bounds
from riverd.feature_weights import FeatureWeights
from riverd.publishing import Publisher
from riverd.rarely import Rarely
from riverd.screen.frame import render
from storage.store import Store
from stream.memory import MemorySource
from stream.records import MICROSECONDS
from stream.source import Partition
from stream.timestamps import to_text
from tests.riverd.streams import START_US, config, engine_on, finish, outcome, pairs, run, split

EVENTS, LABELS = Partition("events", "0"), Partition("labels", "0")
HOUR_US = 3_600 * MICROSECONDS
COUNT = 9_000
TOPICS = split(pairs(1800, seed=5), partitions=2)


def shops(change=lambda event: event, *, broken_from=COUNT):
    """Two events a second for more than an hour, independent of one another; x tells the label, amount does not."""
    rng, events, labels = random.Random(3), [], []
    for i in range(COUNT):
        at_us = START_US + i * MICROSECONDS // 2
        x = rng.gauss(0, 1)
        event = {"id": f"e{i}", "at": to_text(at_us), "shop": rng.choice("abcdefgh"), "user": rng.choice("uvw")}
        event |= {"x": x if rng.random() > 0.05 else None, "amount": rng.lognormvariate(3.0, 1.0)}
        events.append(json.dumps(event if i < broken_from else change(event)).encode())
        label = {"id": f"e{i}", "at": to_text(at_us + 60 * MICROSECONDS), "y": x + rng.gauss(0, 0.5) > 0}
        labels.append(json.dumps(label).encode())
    return {EVENTS: events, LABELS: labels}


RULES = [
    {"name": f"{feature}-drifts", "metric": "psi_excess", "feature": feature, "window": "10m", "above": 1.0}
    for feature in ("shop", "user", "x", "amount")
]
FEATURES = {"categories": ["shop", "user"], "numbers": ["x", "amount"], "crosses": [], "time_parts": []}


def drifting(**monitors):
    """A config that compares ten minutes with the first twenty."""
    return config(
        alerts=RULES,
        features=FEATURES,
        labels={"window": "5m"},
        monitors={"windows": ["10m", "20m"], "slices": [], "guardrails": [], **monitors},
    )


def fired(engine):
    return {change.rule for change in engine.recent_alerts if change.state == "firing"}


FAULTS = {
    "shop": lambda event: event | {"shop": "a" if event["shop"] == "h" else event["shop"]},
    "user": lambda event: event | {"user": None if event["id"].endswith("0") else event["user"]},
    "x": lambda event: event | {"x": None if event["x"] is None else event["x"] * 1.4},
    "amount": lambda event: event | {"amount": event["amount"] / 1.4},
}


def test_a_stream_without_drift_fires_none():
    assert fired(run(shops(), drifting())) == set()


@pytest.mark.parametrize("feature", FAULTS)
def test_drift_that_is_planted_is_found_and_named(feature):
    engine = run(shops(FAULTS[feature], broken_from=6_000), drifting())
    assert fired(engine) == {f"{feature}-drifts"}
    change = next(change for change in engine.recent_alerts if change.state == "firing")
    assert (change.metric, change.bound) == (f"psi_excess[{feature}]", 1.0)
    assert 0 < change.at - (START_US + 3_000 * MICROSECONDS) < 600 * MICROSECONDS


REFERENCES = {
    "first 15m": 1_800,
    "first 1500": 1_500,
    f"{to_text(START_US + 1_200 * MICROSECONDS)}/{to_text(START_US + 2_100 * MICROSECONDS)}": 1_800,
    to_text(START_US + 2_400 * MICROSECONDS): 2_400,
    "2001-01-01/2002-01-01": 0,
}


@pytest.mark.parametrize("reference", REFERENCES)
def test_the_reference_is_the_one_that_was_asked_for(reference):
    engine = run(shops(FAULTS["x"], broken_from=6_000), drifting(reference=reference))
    traffic = engine.judgement.windows()[600 * MICROSECONDS, "final"].traffic
    # what begins with the stream begins with the pane of its first event
    first_pane = 60 * MICROSECONDS - START_US % (60 * MICROSECONDS)
    spared = 2 * (60 - first_pane // MICROSECONDS) if "15m" in reference else 0
    assert traffic.reference_events == REFERENCES[reference] - spared
    assert fired(engine) == ({"x-drifts"} if REFERENCES[reference] else set())
    assert (traffic.score_psi is None) == (REFERENCES[reference] == 0)


@pytest.mark.parametrize("poll_records", [7, 100])
def test_poll_sizes_give_the_same(poll_records):
    ours = run(TOPICS, config(source={"poll_records": poll_records})).parts.drift.ring.state()
    theirs = run(TOPICS, config()).parts.drift.ring.state()
    assert {name: array.tobytes() for name, array in ours.items()} == {
        name: array.tobytes() for name, array in theirs.items()
    }


def test_it_is_the_same_after_a_restart_at_any_time():
    configured = config(alerts=[], source={"poll_records": 90})
    store = Store.open("sqlite://", "shops", now=lambda: 7)
    store.acquire()
    engine = None
    while engine is None or not engine.finished:
        loaded = store.load()
        engine = engine_on(MemorySource(TOPICS), configured)
        checkpointer = Checkpointer(engine)
        if loaded is not None:
            checkpointer.restore(loaded)
        for _ in range(3):
            engine.step()
        capture = checkpointer.capture(with_snapshot=False)
        store.commit(capture.encode("periodic"))
        checkpointer.saved(capture)
    whole = run(TOPICS, configured)
    assert engine.judgement.windows() == whole.judgement.windows()
    assert {name: array.tobytes() for name, array in engine.parts.drift.ring.state().items()} == {
        name: array.tobytes() for name, array in whole.parts.drift.ring.state().items()
    }
    assert engine.judgement.windows()[2 * HOUR_US, "final"].traffic.features["x"].psi is not None
    store.close()


def test_another_reference_begins_anew_and_nothing_else_does(caplog):
    caplog.set_level("WARNING", "riverd")
    store = Store.open("sqlite://", "shops", now=lambda: 7)
    store.acquire()
    assert store.load() is None
    former, new = (
        config(alerts=[], monitors={"reference": reference}, source={"poll_records": 50})
        for reference in ("first 2h", "first 1000")
    )
    engine = engine_on(MemorySource(TOPICS), former)
    for _ in range(8):
        engine.step()
    store.commit(Checkpointer(engine).capture(with_snapshot=False).encode("periodic"))
    engine = engine_on(MemorySource(TOPICS), new)
    Checkpointer(engine).restore(store.load())
    assert "[monitors] reference was first 2h, is first 1000: drift begin anew" in caplog.text
    seen = engine.parts.joiner.fates()["events"]
    finish(engine)
    learned, unbroken = outcome(engine), outcome(run(TOPICS, new))
    assert {name: learned[name] for name in ("model_sha256", "counts", "slices")} == {
        name: unbroken[name] for name in ("model_sha256", "counts", "slices")
    }
    assert seen > 0
    assert engine.judgement.windows()[2 * HOUR_US, "final"].traffic.reference_events == 1_000
    store.close()


def values_of_cells(engine, seen):
    """What the model made of x and amount in the rows from ``seen`` on; their labels have not come yet."""
    rows, base, plan = engine.parts.table.rows, engine.parts.table.base, engine.parts.model._plan
    width = np.where(plan.entries[:, 0] == NUMBER, 2, 1)
    place = dict(zip(plan.names, (np.cumsum(width) - width).tolist(), strict=True))
    starts = rows.start[seen - base : engine.parts.table.next - base]
    return {name: rows.cell.view(np.float32)[starts + place[name]] for name in ("x", "amount")}


@pytest.mark.parametrize("kind", ["mixture", "ftrl"])
def test_the_share_that_is_clipped_is_the_share_that_the_model_clips(kind):
    topics = shops(lambda event: event | {"amount": 8.0 * event["amount"]}, broken_from=7_000)
    engine = engine_on(
        MemorySource(topics),
        config(
            alerts=[],
            model={"kind": kind},
            features=FEATURES,
            labels={"window": "5m"},
            monitors={"windows": ["10m", "20m"], "slices": [], "guardrails": []},
            source={"poll_records": 40},
        ),
    )
    values, seen = {"x": [], "amount": []}, 0
    while not engine.finished or not seen:
        engine.step()
        for name, made in values_of_cells(engine, seen).items():
            values[name] += made.tolist()
        seen = engine.parts.table.next
    assert seen == COUNT
    found = engine.judgement.windows()[600 * MICROSECONDS, "provisional"].traffic.features
    last_us = engine.parts.joiner.watermark // (60 * MICROSECONDS) * 60 * MICROSECONDS
    first = (last_us - 540 * MICROSECONDS - START_US) // (MICROSECONDS // 2)
    for name in ("x", "amount"):
        made = np.array(values[name][first:])
        clipped = np.mean(abs(made[~np.isnan(made)]) >= np.float32(CLIP))
        assert found[name].clipped_rate == pytest.approx(clipped, abs=0.005)
    assert found["amount"].clipped_rate > 0.05
    assert np.isnan(
        clip_bounds(engine.parts.model, columns=("other", "x", "amount"), features=("x", "amount"))[0]
    ).all()


def test_features_are_ranked_by_what_the_model_makes_of_them():
    def moved(event):
        return FAULTS["x"](event) | {"amount": event["amount"] / 2}

    engine = run(shops(moved, broken_from=6_000), drifting())
    publisher = Publisher(engine)
    window = next(w for w in publisher.status("done").windows if w.window == "10m" and w.final)
    features = window.traffic.features
    # amount has moved further, but only x counts
    assert features["amount"].psi > features["x"].psi > features["x"].psi_noise
    assert features["x"].impact == features["x"].psi * features["x"].weight
    assert next(iter(features)) == "x"
    assert [one.impact for one in features.values()] == sorted((one.impact for one in features.values()), reverse=True)
    console = Console(width=100, file=io.StringIO())
    console.print(render(publisher.status("done"), width=100))
    screen = console.file.getvalue()
    shown = screen[screen.index("Drift, final") :].splitlines()
    assert [line.split()[0] for line in shown[1:3]] == ["x", "amount"]


def test_weights_are_those_of_the_values_that_came():
    engine = run(shops(), config(alerts=[], features=FEATURES, model={"kind": "ftrl", "alpha": 0.3}))
    weights = FeatureWeights(engine.config, engine.parts).now()
    state, settings = engine.parts.model._state, engine.parts.model._settings
    hashes = np.array([hash_feature("user", user) for user in "uvw"], np.uint64)
    assert len(set((hashes >> np.uint64(58)).tolist())) == 3  # else one value stands for two
    exact = np.abs(linear_weights(state, settings, (hashes % np.uint64(2**12)).astype(np.int64), hats=False)).mean()
    assert weights["user"] == pytest.approx(exact, rel=0.05)
    assert weights.keys() == {"shop", "user", "x", "amount"}
    assert weights["x"] > 5 * weights["amount"]


def test_what_is_costly_is_looked_up_rarely():
    now_s, made = [0.0], []

    def make():
        made.append(now_s[0])
        now_s[0] += 3.0
        return len(made)

    latest = Rarely(make, monotonic_s=lambda: now_s[0])
    seen = []
    for now_s[0] in (0.0, 1.0, 302.0, 304.0, 600.0):
        seen.append(latest())
    assert seen == [1, 1, 1, 2, 2]  # three seconds are a hundredth of three hundred


def test_an_external_model_has_no_weights_and_is_ranked_by_drift_alone():
    topics = shops(FAULTS["amount"], broken_from=6_000)
    topics[EVENTS] = [json.dumps(json.loads(m) | {"p": 0.3}).encode() for m in topics[EVENTS]]
    engine = run(
        topics,
        config(
            alerts=[],
            model={"kind": "external"},
            events={"score": "p"},
            features=FEATURES,
            monitors={"windows": ["10m", "20m"], "slices": [], "guardrails": []},
            labels={"window": "5m"},
        ),
    )
    status = Publisher(engine).status("done")
    features = next(w for w in status.windows if w.window == "10m" and w.final).traffic.features
    assert next(iter(features)) == "amount"
    assert all(one.weight is None and one.clipped_rate is None for one in features.values())
