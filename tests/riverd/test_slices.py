"""Slices through the whole engine: names, rules, history, and what a change of config leaves of them."""

import json
from dataclasses import fields
from itertools import pairwise

import pytest

from monitors.quality import METRICS
from riverd.checkpointing import Checkpointer
from riverd.publishing import Publisher
from storage.store import Store
from stream.memory import MemorySource
from stream.records import MICROSECONDS
from stream.source import Partition
from stream.timestamps import to_text
from tests.riverd.streams import START_US, config, engine_on, finish, outcome, pairs, run, split

HOUR_US = 3_600 * MICROSECONDS
TOPICS = split(pairs(1800, seed=5), partitions=2)


def test_slices_are_named_as_the_events_name_them_and_add_up_to_the_whole():
    engine = run(TOPICS, config(monitors={"slices": ["shop", "user"]}))
    whole = engine.judgement.windows()[2 * HOUR_US, "final"].quality
    slices = engine.judgement.slices("final", 2 * HOUR_US)
    shops = {of.value: judged for of, judged in slices.items() if of.field == "shop"}
    assert shops.keys() == {*"abcdefgh", "null"}
    assert sum(judged.events for judged in shops.values()) == whole.events
    assert sum(judged.labelled * judged.logloss for judged in shops.values()) == pytest.approx(
        whole.labelled * whole.logloss, rel=1e-9
    )
    users = {of.value: judged for of, judged in slices.items() if of.field == "user"}
    assert "other" in users
    assert all(value == "other" or 0 <= int(value) < 200 for value in users)
    assert sum(judged.events for judged in users.values()) == whole.events


def test_history_keeps_what_was_said_of_each_slice():
    engine = run(TOPICS, config(alerts=[], monitors={"slices": ["shop", "user"]}))
    kept = [figures for figures in engine.unsaved.history if figures.kind == "slices"]
    assert {figures.window for figures in kept} == {"30m", "2h"}
    assert {"logloss[shop=a]", "coverage[shop=null]", "roc_auc[user=other]"} <= {
        name for figures in kept for name in figures.values
    }
    # once in the length of a window
    ends = sorted(figures.at for figures in kept if figures.window == "2h")
    assert {later - earlier for earlier, later in pairwise(ends)} == {2 * HOUR_US}


def shops(*, broken_from):
    """Two shops a second, of which one's labels turn around from some event on."""
    events, labels = [], []
    for i in range(6_000):
        shop, time_us = "ab"[i % 2], START_US + i * MICROSECONDS
        likely = i % 4 < 2
        turned = shop == "b" and i >= broken_from
        events.append({"id": f"e{i}", "at": to_text(time_us), "shop": shop, "x": 1.0 if likely else -1.0})
        labels.append({"id": f"e{i}", "at": to_text(time_us + 60 * MICROSECONDS), "y": likely != turned})
    return {
        Partition("events", "0"): [json.dumps(event).encode() for event in events],
        Partition("labels", "0"): [json.dumps(label).encode() for label in labels],
    }


def test_a_rule_on_a_slice_sees_that_slice_alone():
    of_shop = {"metric": "logloss", "window": "10m", "above": 0.8, "min_labelled": 50}
    alerts = [{"name": f"shop-{shop}", "slice": f"shop={shop}", **of_shop} for shop in "abc"]
    configured = config(
        alerts=alerts,
        features={"categories": ["shop"], "numbers": ["x"], "crosses": []},
        labels={"window": "5m"},
        monitors={"windows": ["10m"], "slices": ["shop"], "guardrails": []},
        model={"kind": "ftrl", "alpha": 0.01},  # slow, so that it goes on being wrong
    )
    clean = run(shops(broken_from=10_000), configured)
    assert not [change for change in clean.recent_alerts if change.rule.startswith("shop-")]
    broken = run(shops(broken_from=3_000), configured)
    fired = [(change.rule, change.metric) for change in broken.recent_alerts if change.state == "firing"]
    assert [of for of in fired if of[0].startswith("shop-")] == [("shop-b", "logloss[shop=b]")]
    assert broken.parts.rules.standings["shop-c"].value is None  # no such shop, no verdict


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"slices": ["user"]}, {"slices": ["shop"]}),
        ({"slices": []}, {"slices": ["shop"]}),
        ({"windows": ["1h", "3h"], "slices": ["shop"]}, {"windows": ["30m", "2h"], "slices": ["shop"]}),
        ({"guardrails": []}, {"guardrails": ["amount"], "slices": ["shop"]}),
    ],
)
def test_monitors_that_change_begin_anew_and_learning_goes_on(before, after, caplog):
    caplog.set_level("WARNING", "riverd")
    store = Store.open("sqlite://", "shops", now=lambda: 7)
    store.acquire()
    assert store.load() is None
    old = config(alerts=[], monitors=before, source={"poll_records": 50})
    new = config(alerts=[], monitors=after, source={"poll_records": 50})
    engine = engine_on(MemorySource(TOPICS), old)
    for _ in range(8):
        engine.step()
    store.commit(Checkpointer(engine).capture(with_snapshot=False).encode("periodic"))
    engine = engine_on(MemorySource(TOPICS), new)
    checkpointer = Checkpointer(engine)
    checkpointer.restore(store.load())
    assert "begin anew" in caplog.text
    store.commit(checkpointer.capture(with_snapshot=False).encode("periodic"))
    finish(engine)
    # seven hours later nothing shows of the change: windows and slices are those of an engine that was never stopped
    whole = run(TOPICS, new)
    learned, unbroken = outcome(engine), outcome(whole)
    for same in ("model_sha256", "counts", "watermark"):
        assert learned[same] == unbroken[same]
    final = [(window_us, "final") for window_us in new.monitors.windows]
    assert {key: learned["slices"][key] for key in final} == {key: unbroken["slices"][key] for key in final}
    for key in final:
        assert learned["windows"][key].quality == unbroken["windows"][key].quality
        ours, theirs = learned["windows"][key].traffic, unbroken["windows"][key].traffic
        assert (ours.events, ours.label_delay_p50, ours.decision_rate) == (
            theirs.events, theirs.label_delay_p50, theirs.decision_rate
        )  # fmt: skip
    # and what was stored then fits itself
    again = engine_on(MemorySource(TOPICS), new)
    Checkpointer(again).restore(store.load())
    finish(again)
    assert outcome(again)["slices"] == learned["slices"]


def test_the_status_has_every_figure_of_a_slice():
    engine = run(shops(broken_from=10_000), config(alerts=[], monitors={"windows": ["10m"], "slices": ["shop"]}))
    (window,) = [window for window in Publisher(engine).status("done").windows if window.final]
    shop = next(part for part in window.slices if part.value == "a")
    judged = engine.judgement.slices("final", 600 * MICROSECONDS)
    quality = next(quality for of, quality in judged.items() if str(of) == "shop=a")
    for field in fields(shop):
        if field.name not in ("field", "value"):
            assert getattr(shop, field.name) == getattr(quality, field.name), field.name
    assert {metric for metric in METRICS if not hasattr(shop, metric)} == set()
