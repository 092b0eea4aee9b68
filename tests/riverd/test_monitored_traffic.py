"""Rules on what flows by: faults planted halfway are found, and a flood of dead letters stops learning."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest

from monitors.rules import Rule
from riverd.assembly import assemble
from riverd.checkpointing import Checkpointer
from riverd.engine import Engine
from riverd.liveness import Liveness
from storage.alerts import Alert
from storage.store import Store
from stream.memory import MemorySource
from stream.records import MICROSECONDS
from stream.source import Partition
from tests.riverd.streams import NOW_US, config, engine_on, run

EVENTS, LABELS = Partition("events", "0"), Partition("labels", "0")
COUNT = 1800
START_S = 1_357_000_000


def clean():
    """Three events a minute, without anything odd; each is answered within the hour."""
    rng, events, labels = random.Random(11), [], []
    for i in range(COUNT):
        at = START_S + 20 * i
        x = rng.gauss(0, 1)
        event = {"id": f"e{i}", "at": at, "shop": rng.choice("abc"), "user": rng.choice("uv"), "x": x, "amount": 5 + x}
        events.append(event)
        labels.append((at + rng.expovariate(1 / 600) % 3500, {"id": event["id"], "y": rng.random() < 0.3}))
    labels.sort(key=lambda label: label[0])
    return {
        EVENTS: [json.dumps(event).encode() for event in events],
        LABELS: [json.dumps(label | {"at": at}).encode() for at, label in labels],
    }


CLEAN = clean()
RULES = [
    {"name": "nulls", "metric": "null_rate", "feature": "x", "window": "30m", "above": 0.5, "min_labelled": 30},
    {"name": "unseen", "metric": "unseen_rate", "feature": "shop", "window": "30m", "above": 0.5, "min_labelled": 30},
    {"name": "sum", "metric": "guardrail_sum", "feature": "amount", "window": "30m", "above": 1e9, "min_labelled": 30},
    {"name": "slow", "metric": "label_delay_p50", "window": "30m", "above": 2700.0, "min_labelled": 20},
    {"name": "psi", "metric": "score_psi", "window": "2h", "above": 5.0},
]


def second_half(change, topic=EVENTS):
    messages = CLEAN[topic]
    changed = [json.dumps(change(json.loads(message))).encode() for message in messages[len(messages) // 2 :]]
    return CLEAN | {topic: messages[: len(messages) // 2] + changed}


def fired(engine):
    return {change.rule for change in engine.recent_alerts if change.state == "firing"}


FAULTS = {
    "nulls": lambda event: event | {"x": None},
    "unseen": lambda event: event | {"shop": f"new{event['id']}"},
    "sum": lambda event: event | {"amount": 2e7},
}


def test_a_clean_stream_fires_none():
    assert fired(run(CLEAN, config(alerts=RULES))) == set()


@pytest.mark.parametrize("rule", FAULTS)
def test_a_fault_planted_halfway_is_found_and_named(rule):
    engine = run(second_half(FAULTS[rule]), config(alerts=RULES))
    assert rule in fired(engine)
    change = next(change for change in engine.recent_alerts if change.rule == rule)
    began_s = START_S + 20 * COUNT // 2
    assert change.at / MICROSECONDS - began_s == pytest.approx(15 * 60, abs=3 * 60)  # it did not wait for labels
    assert (
        change.metric == {"nulls": "null_rate[x]", "unseen": "unseen_rate[shop]", "sum": "guardrail_sum[amount]"}[rule]
    )


def flood(times):
    messages = CLEAN[EVENTS]
    half = len(messages) // 2
    return CLEAN | {EVENTS: messages[:half] + [line for line in messages[half:] for line in [b"{"] * times + [line]]}


def test_a_flood_of_dead_letters_stops_learning_and_says_so():
    engine = run(flood(4), config(alerts=[]))
    assert engine.paused_by == "dead letters"
    (change,) = engine.recent_alerts
    assert (change.rule, change.state, change.metric, change.bound) == ("dead-letters", "firing", "dead_share", 0.5)
    assert change.value > 0.5
    assert run(flood(4), config(alerts=[], dead_letters={"pause_above": 0.9})).paused_by is None
    assert run(flood(1), config(alerts=[], dead_letters={"pause_above": 0.6})).paused_by is None


def test_it_is_the_same_after_a_restart_at_any_time():
    topics, configured = flood(3), config(alerts=RULES, source={"poll_records": 90})
    store = Store.open("sqlite://", "shops", now=lambda: 7)
    store.acquire()
    engine = engine_on(MemorySource(topics), configured)
    loaded = None
    while not engine.finished or loaded is None:  # an engine that has not begun knows of no partition
        loaded = store.load()
        engine = engine_on(MemorySource(topics), configured)
        checkpointer = Checkpointer(engine)
        if loaded is not None:
            checkpointer.restore(loaded)
        for _ in range(3):
            engine.step()
        capture = checkpointer.capture(with_snapshot=False)
        store.commit(capture.encode("periodic"))
        checkpointer.saved(capture)
    whole = run(topics, configured)
    at_once = sorted(whole.unsaved.history, key=lambda figures: (figures.at, figures.window, figures.kind, figures.end))
    assert store.history() == at_once
    names = {name for figures in at_once for name in figures.values}
    assert names >= {"logloss", "null_rate[x]", "label_delay_p50", "score_psi", "dead_share", "sum[amount]"}
    assert whole.paused_by == engine.paused_by == "dead letters"
    assert {name: array.tobytes() for name, array in engine.parts.traffic.ring.state().items()} == {
        name: array.tobytes() for name, array in whole.parts.traffic.ring.state().items()
    }
    assert [(alert.rule, alert.started_at) for alert in store.alerts()] == [
        (change.rule, change.started_at) for change in reversed(whole.recent_alerts) if change.state == "firing"
    ]


def test_the_history_is_of_the_windows_as_they_were():
    engine, figures = engine_on(MemorySource(CLEAN), config(alerts=[], source={"poll_records": 40})), {}
    while not engine.finished or not figures:
        engine.step()
        for (window_us, end), judged in engine.judgement.windows().items():
            watermark = engine.parts.joiner.watermark
            if end == "final" and window_us == 1800 * MICROSECONDS:
                figures[engine.parts.panes.final_end(watermark)] = judged.quality.logloss
    history = {
        kept.at: kept.values["logloss"]
        for kept in engine.unsaved.history
        if (kept.window, kept.kind, kept.end) == ("30m", "outcomes", "final") and "logloss" in kept.values
    }
    common = figures.keys() & history.keys()
    assert len(common) > 30
    assert {at: figures[at] for at in common} == {at: history[at] for at in common}


def test_the_history_keeps_apart_what_was_said_before_all_labels_had_come():
    kept = [figures for figures in run(CLEAN, config(alerts=[])).unsaved.history if figures.kind == "outcomes"]
    coverage = {
        end: {
            figures.at: figures.values["coverage"] for figures in kept if (figures.window, figures.end) == ("30m", end)
        }
        for end in ("final", "provisional")
    }
    common = coverage["final"].keys() & coverage["provisional"].keys()
    assert len(common) > 30
    # of the same half hours, labels are never fewer later, and most of the time there are more
    assert all(coverage["provisional"][at] <= coverage["final"][at] for at in common)
    assert sum(coverage["provisional"][at] < coverage["final"][at] for at in common) > len(common) / 2


def test_the_threshold_may_be_changed_and_guardrails_may_not():
    first = config(alerts=[])
    assert first.learned_from == config(alerts=[], monitors={"threshold": 0.1}).learned_from
    assert first.learned_from != config(alerts=[], monitors={"guardrails": []}).learned_from


def test_a_guardrail_is_no_feature():
    keys = {"features": {"numbers": ["x"]}}
    without = run(CLEAN, config(alerts=[], monitors={"guardrails": []}, **keys))
    engine = run(CLEAN, config(alerts=[], monitors={"guardrails": ["amount"]}, **keys))
    assert engine.parts.model.sha256 == without.parts.model.sha256
    amounts = [json.loads(message)["amount"] for message in CLEAN[EVENTS]]
    figures = engine.judgement.windows()[7_200 * MICROSECONDS, "provisional"].traffic.features["amount"]
    assert figures.mean == pytest.approx(np.mean(amounts[-360:]), abs=0.2)
    assert all("amount" not in judged.traffic.features for judged in without.judgement.windows().values())


class Clock:
    def __init__(self):
        self.us, self.silent_s, self.age_s = 1_700_000_000 * MICROSECONDS, 0.0, 0.0

    def liveness(self, before=()):
        return Liveness(
            [
                Rule(name="silent", metric="silent_s", above=60.0, recover=10.0),
                Rule(name="old", metric="checkpoint_age_s", above=300.0, for_us=2 * MICROSECONDS),
            ],
            before=before,
            now_us=lambda: self.us,
            silent_s=lambda: self.silent_s,
            checkpoint_age_s=lambda: self.age_s,
        )


def test_silence_fires_and_is_resolved_on_the_clock():
    clock = Clock()
    liveness = clock.liveness()
    seen = []
    for clock.silent_s in (0.0, 61.0, 62.0, 11.0, 0.5):
        seen += [(change.rule, change.state, change.at == clock.us) for change in liveness.poll()]
        clock.us += MICROSECONDS
    assert seen == [("silent", "firing", True), ("silent", "resolved", True)]


def test_it_looks_once_a_second():
    clock = Clock()
    liveness = clock.liveness()
    clock.silent_s = 100.0
    assert len(liveness.poll()) == 1
    clock.silent_s = 0.0
    clock.us += MICROSECONDS - 1
    assert liveness.poll() == []
    clock.us += 1
    assert len(liveness.poll()) == 1


def test_what_fires_goes_on_over_a_restart():
    clock = Clock()
    clock.silent_s = 100.0
    (change,) = clock.liveness().poll()
    stored = Alert("silent", change.started_at, "firing", None, "silent_s", "", 100.0, 60.0, "warning")
    again = clock.liveness([stored, replace(stored, rule="gone"), replace(stored, rule="old", state="resolved")])
    assert again.poll() == []
    clock.us, clock.silent_s = clock.us + MICROSECONDS, 1.0
    (resolved,) = again.poll()
    assert (resolved.rule, resolved.state, resolved.started_at) == ("silent", "resolved", change.started_at)


def test_the_engine_knows_for_how_long_nothing_came():
    now_s = [100.0]
    settings = config(alerts=[])
    parts = assemble(settings, now_us=lambda: NOW_US)
    engine = Engine(settings, parts, MemorySource(CLEAN), bounded=False, monotonic_s=lambda: now_s[0])
    while engine.step():
        pass
    now_s[0] += 30.0
    assert engine.silent_s == pytest.approx(30.0)


def test_only_what_changed_is_stored():
    engine = run(CLEAN, config(alerts=[]))
    checkpointer = Checkpointer(engine)
    first = checkpointer.capture(with_snapshot=False)
    assert {kind for kind, _ in first.blocks} >= {"traffic", "panes"}
    checkpointer.failed(first)
    again = checkpointer.capture(with_snapshot=False)  # what did not reach the store comes again
    assert [key for key in again.blocks if key[0] == "traffic"] == [key for key in first.blocks if key[0] == "traffic"]
    assert again.unsaved.history == first.unsaved.history
    checkpointer.saved(again)
    assert not [key for key in checkpointer.capture(with_snapshot=False).blocks if key[0] == "traffic"]
