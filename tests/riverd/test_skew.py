"""A client that serves by itself: an honest one never raises the alert, a skewed one does within 1,000 events."""

import json
from datetime import datetime
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.skew import RESULTS
from riverd.checkpointing import Checkpointer
from riverd.published_states import model_of_snapshot, publish_stored_states
from storage.store import Store
from stream.memory import MemorySource
from stream.source import Partition
from tests.riverd.streams import UnevenSource, engine_on, finish, labelled, labelled_config, outcome

LEARNED = 2_000  # events before the client begins to serve
FIELDS = {"score": "served.p", "version": "served.v", "row_hash": "row"}


def configured(poll_records=8192, **skew):
    return labelled_config(skew=FIELDS | skew, source={"poll_records": poll_records}, alerts=[])


@cache
def stream(count):
    """The events in order of time."""
    halves = labelled(count, seed=4).values()
    return sorted((json.loads(message) for half in halves for message in half), key=lambda event: event["at"])


def topics_of(events):
    """In two partitions."""
    messages = [json.dumps(event).encode() for event in events]
    return {Partition("events", str(i)): messages[i::2] for i in range(2)}


@cache
def learned():
    """A store with two snapshots: versions 1 and 2, and the second is of other weights."""
    store = Store.open("sqlite://", "shops", now=lambda: 7)
    store.acquire()
    assert store.load() is None
    engine = engine_on(MemorySource(topics_of(stream(LEARNED))), configured(poll_records=500))
    checkpointer = Checkpointer(engine)
    for steps in (1, 1_000):
        for _ in range(steps):
            engine.step()
        capture = checkpointer.capture(with_snapshot=True)
        store.commit(capture.encode("periodic"))
        checkpointer.saved(capture)
    assert engine.finished
    assert engine.parts.skew.versions == [1, 2]
    assert [snapshot.checkpoint for snapshot in store.snapshots()] == [2, 1]
    return store


@cache
def client(version):
    return model_of_snapshot(learned().snapshot(version))


def encoded(event):
    """What a client gives to the model."""
    at = datetime.fromisoformat(event["at"])
    x = {name: event[name] for name in ("shop", "x", "amount")}
    return x | {"user": str(event["user"]), "hour": str(at.hour), "weekday": at.strftime("%A").lower()}


def in_cents(x):
    return x | {"amount": 100 * x["amount"]}


def serve(event, *, version=2, by=2, seen=lambda x: x, hashed=lambda x: x, rounded=np.float32):
    """The event with what the client logs; ``seen`` by the model, ``hashed`` are its features as it takes them."""
    x = encoded(event)
    p = client(by).predict_proba_one(seen(x))[True]
    row = client(by).row_hash(hashed(x))
    return event | {"served": {"p": float(rounded(p)), "v": version}, "row": f"{row:016x}"}


def honest(event):
    return serve(event)


def restored(events, config, source=MemorySource):
    """A process that goes on where the store stands."""
    engine = engine_on(source(topics_of(events)), config)
    loaded = learned().load()
    checkpointer = Checkpointer(engine)
    checkpointer.restore(loaded)
    publish_stored_states(engine.parts.skew, learned(), up_to=loaded.number)
    return engine


def run(events, config=None, source=MemorySource):
    engine = restored(events, config or configured(), source)
    finish(engine)
    return engine


def after(*clients, each=1_500):
    """The stream that was learned, and then what each client in turn served."""
    events = stream(LEARNED + each * len(clients))
    return events[:LEARNED] + [
        serves(event)
        for turn, serves in enumerate(clients)
        for event in events[LEARNED + turn * each : LEARNED + (turn + 1) * each]
    ]


def results(engine):
    counts = dict(zip(RESULTS, engine.parts.skew.window.counts.tolist(), strict=True))
    return {name: count for name, count in counts.items() if count}


def place(engine, change, events):
    """How many events the client had served when the alert fired."""
    at = datetime.fromtimestamp(change.at / 1e6).astimezone()
    return sum(datetime.fromisoformat(event["at"]) <= at for event in events[LEARNED:])


def test_an_honest_client_never_raises_the_alert():
    events = after(honest, each=100_000)
    engine = run(events)
    assert results(engine) == {"agreed": 100_000}
    assert not engine.recent_alerts
    assert engine.parts.skew.first == ""


SKEWED = {
    "cents": ({"seen": in_cents, "hashed": in_cents}, "row_differs"),
    "cents, but the row as it should be": ({"seen": in_cents}, "score_differs"),
    "zero for null": (
        {"seen": lambda x: x | {"x": x["x"] or 0.0}, "hashed": lambda x: x | {"x": x["x"] or 0.0}},
        "row_differs",
    ),
    "local time": (
        {"hashed": lambda x: x | {"hour": str((int(x["hour"]) + 2) % 24)}},
        "row_differs",
    ),
    "weights of yesterday": ({"by": 1}, "score_differs"),
}


@pytest.mark.parametrize(("how", "what"), SKEWED.values(), ids=SKEWED)
def test_a_skewed_client_is_caught_within_a_thousand_events(how, what, caplog):
    caplog.set_level("WARNING", "riverd")
    events = after(honest, lambda event: serve(event, **how))
    engine = run(events)
    fired = engine.recent_alerts[0]
    assert (fired.rule, fired.state, fired.metric, fired.value) == ("serving-skew", "firing", "skewed_share", 0.005)
    assert len(engine.recent_alerts) == 1
    assert 1_500 + 5 <= place(engine, fired, events) <= 1_500 + 1_000
    assert results(engine).keys() == {"agreed", what}
    assert f"serving skew, first in {engine.parts.skew.first}" in caplog.messages


def test_a_client_among_many_is_caught_too():
    events = after(honest, honest)
    for i in range(LEARNED + 1_500, len(events), 100):
        events[i] = serve(stream(len(events))[i], seen=in_cents, hashed=in_cents)
    engine = run(events)
    assert [(change.rule, change.state) for change in engine.recent_alerts] == [("serving-skew", "firing")]
    assert place(engine, engine.recent_alerts[0], events) == 1_500 + 401


def test_the_log_says_where_and_what_to_compare(caplog):
    caplog.set_level("WARNING", "riverd")
    run(after(lambda event: serve(event, seen=in_cents, hashed=in_cents), each=100))
    first = stream(LEARNED + 100)[LEARNED]
    theirs, ours = (client(2).row_hash(way(encoded(first))) for way in (in_cents, dict))
    assert caplog.messages[-1] == (
        f"serving skew, first in events/0 at 1,000: row hash {theirs:016x}, but the event's features give {ours:016x}; "
        "compare what the client encodes with what it sends"
    )
    run(after(lambda event: serve(event, by=1), each=1_000))
    line = r"serving skew, first in events/\d at 1,\d\d\d: served 0\.\d+ by version 2, which says 0\.\d+; compare .*"
    assert pytest.approx(1) == len(
        [message for message in caplog.messages if __import__("re").fullmatch(line, message)]
    )


def test_one_that_was_mended_is_told_so():
    engine = run(after(honest, lambda event: serve(event, seen=in_cents, hashed=in_cents), honest))
    assert [change.state for change in engine.recent_alerts] == ["firing", "resolved"]
    fired, over = engine.recent_alerts
    assert (over.started_at, over.value) == (fired.at, 0.0)
    assert engine.parts.skew.window.recent == 0


def test_one_that_has_gone_is_forgotten_after_a_day():
    gone = len(stream(LEARNED)) + 50
    events = after(lambda event: serve(event, seen=in_cents, hashed=in_cents), dict, each=5_000)
    events[gone:] = stream(len(events))[gone:]
    engine = run(events)
    assert [change.state for change in engine.recent_alerts] == ["firing", "resolved"]
    fired, over = engine.recent_alerts
    assert 0 < over.at - fired.at - 86_400_000_000 < 3_600_000_000


def test_a_version_that_is_not_kept_is_no_skew():
    events = after(lambda event: serve(event, version=1, by=1), lambda event: serve(event, version=9))
    engine = run(events, configured(keep=1))
    assert engine.parts.skew.versions == [2]
    assert results(engine) == {"unknown_version": 3_000}
    assert not engine.recent_alerts
    events = after(lambda event: serve(event, version=1, by=1), lambda event: serve(event, version=9))
    assert results(run(events, configured(keep=2))) == {"agreed": 1_500, "unknown_version": 1_500}


def test_its_features_are_checked_all_the_same():
    engine = run(after(lambda event: serve(event, version=9, hashed=in_cents)))
    assert results(engine) == {"row_differs": 1_500}
    assert engine.recent_alerts


@pytest.mark.parametrize(
    "broken",
    [
        {"row": None}, {"row": "no hash"}, {"row": -1}, {"row": 1 << 64}, {"row": 1.5}, {"served": {"p": 0.5}},
        {"served": {"p": 1.5, "v": 2}}, {"served": {"p": "0.5", "v": 2}}, {"served": {"p": 0.5, "v": "2"}},
        {"served": {"p": 0.5, "v": -1}}, {"served": {"p": 0.5, "v": 1 << 70}}, {"served": [0.5, 2]}, {"served": None},
    ],
    ids=str,
)  # fmt: skip
def test_what_can_not_be_read_is_counted_and_the_event_is_used(broken):
    engine = run(after(lambda event: serve(event) | broken, each=20))
    assert results(engine) == {"unreadable": 20}
    counts = engine.parts.joiner.fates()
    assert (counts["events"], counts["dead"]) == (LEARNED + 20, 0)


def test_integers_do_as_well_and_events_without_are_left_alone():
    served = lambda event: (one := serve(event)) | {"row": int(one["row"], 16)}  # noqa: E731
    engine = run(after(served, dict, each=200))
    assert results(engine) == {"agreed": 200}
    assert outcome(engine) == outcome(run(after(dict, dict, each=200)))


def test_a_second_copy_of_an_event_is_not_checked_again():
    config = labelled_config(
        skew=FIELDS, events={"label": "y", "dedupe": "1d"}, source={"poll_records": 100}, alerts=[]
    )
    events = [event | {"served": {"p": 0.5, "v": 1}, "row": 0} for event in stream(50)]
    topics = {Partition("events", "0"): [json.dumps(event).encode() for event in events for _ in range(2)]}
    engine = engine_on(MemorySource(topics), config)
    finish(engine)
    assert engine.parts.joiner.fates()["duplicate_events"] == 50
    assert results(engine) == {"row_differs": 50}


MIXED = (
    honest,
    lambda event: serve(event, seen=in_cents, hashed=in_cents),
    honest,
    lambda event: serve(event, by=1),
    lambda event: serve(event, version=7),
    honest,
)


def all_of(engine):
    skew = engine.parts.skew
    state = {name: array.tolist() for name, array in skew.state().items()}
    return outcome(engine) | {"alerts": list(engine.recent_alerts), "skew": state, "first": skew.first}


@cache
def uninterrupted():
    return all_of(run(after(*MIXED, each=1_100)))


def test_it_fires_and_ends_twice_in_the_mixed_stream():
    alerts = uninterrupted()["alerts"]
    assert [change.state for change in alerts] == ["firing", "resolved", "firing", "resolved"]


@pytest.mark.parametrize("poll_records", [1, 7, 1000])
def test_poll_sizes_give_the_same(poll_records):
    assert all_of(run(after(*MIXED, each=1_100), configured(poll_records))) == uninterrupted()


@pytest.mark.parametrize("seed", range(3))
def test_any_interleaving_gives_the_same(seed):
    engine = run(after(*MIXED, each=1_100), configured(700), lambda topics: UnevenSource(topics, seed=seed))
    assert all_of(engine) == uninterrupted()


@settings(deadline=None, max_examples=8)
@given(st.lists(st.tuples(st.integers(1, 60), st.booleans(), st.booleans()), max_size=6))
def test_wherever_it_is_killed(plan):
    events, alerts = after(*MIXED, each=1_100), []
    engine = restored(events, configured(poll_records=40))
    stored = Checkpointer(engine).capture(with_snapshot=False)
    for steps, kept, killed in plan:
        for _ in range(steps):
            engine.step()
        if kept:
            alerts += engine.unsaved.alerts
            stored = Checkpointer(engine).capture(with_snapshot=False)
        if killed:
            engine = reborn(events, stored)
    finish(engine)
    alerts += engine.unsaved.alerts
    assert all_of(engine) | {"alerts": alerts} == uninterrupted()


def reborn(events, capture):
    from storage.load import Loaded

    checkpoint = capture.encode("test")
    blocks = {(block.kind, block.number): block.data for block in checkpoint.blocks if block.data is not None}
    engine = engine_on(MemorySource(topics_of(events)), configured(poll_records=40))
    Checkpointer(engine).restore(Loaded(2, checkpoint.state, blocks, []))
    publish_stored_states(engine.parts.skew, learned(), up_to=2)
    return engine
