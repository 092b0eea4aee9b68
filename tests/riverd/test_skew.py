"""A client that serves by itself: an honest one never raises the alert, a skewed one does within 1,000 events."""

import json
import re
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.serial import MAGIC
from monitors.skew import RESULTS, WINDOW
from riverd import service as daemon
from riverd.checkpointing import Checkpointer
from riverd.load_config import load_config, parse_config
from riverd.published_states import model_of_snapshot, publish_stored_states
from riverd.publishing import Publisher
from riverd.removed_rules import close_alerts_of_removed_rules
from riverd.skew import _change
from riverd.status import SkewStatus
from storage.checkpoint import Checkpoint
from storage.errors import DamagedBlob
from storage.store import Store
from stream.memory import MemorySource
from stream.source import Partition
from tests.riverd.streams import (
    UnevenSource,
    engine_on,
    finish,
    labelled,
    labelled_config,
    outcome,
    to_toml,
    write,
)
from tests.riverd.streams import settings as settings_of
from tests.riverd.web import DOCUMENT, STATUS, Web

DAY_US, HOUR_US = 86_400_000_000, 3_600_000_000
LEARNED = 2_000  # events before the client begins to serve
FIELDS = {"score": "served.p", "version": "served.v", "row_hash": "row"}


def configured(poll_records=8192, **skew):
    monitors = {"windows": ["1d"], "slices": []}
    return labelled_config(skew=FIELDS | skew, source={"poll_records": poll_records}, monitors=monitors, alerts=[])


@cache
def stream(count):
    """The events in order of time."""
    halves = labelled(count, seed=4).values()
    return sorted((json.loads(message) for half in halves for message in half), key=lambda event: event["at"])


def topics_of(events):
    """In two partitions."""
    messages = [json.dumps(event).encode() for event in events]
    return {Partition("events", str(i)): messages[i::2] for i in range(2)}


def begun():
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


learned = cache(begun)


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


def restored(store, source, config):
    """A process that goes on where the store stands."""
    engine = engine_on(source, config)
    loaded = store.load()
    checkpointer = Checkpointer(engine)
    checkpointer.restore(loaded)
    publish_stored_states(engine.parts.skew, store, up_to=loaded.number)
    return engine, checkpointer


def run(events, config=None, source=MemorySource):
    engine, _ = restored(learned(), source(topics_of(events)), config or configured())
    finish(engine)
    return engine


def alerts_of(engine):
    return [change for change in engine.recent_alerts if change.rule == "serving-skew"]


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


def place(change, events):
    """How many events the client had served when the alert fired."""
    at = datetime.fromtimestamp(change.at / 1e6).astimezone()
    return sum(datetime.fromisoformat(event["at"]) <= at for event in events[LEARNED:])


def test_an_honest_client_never_raises_the_alert():
    events = after(honest, each=100_000)
    engine = run(events)
    assert results(engine) == {"agreed": 100_000}
    assert not alerts_of(engine)
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
    fired = alerts_of(engine)[0]
    assert (fired.state, fired.metric, fired.value, fired.bound) == ("firing", "skewed_share", 0.005, 0.005)
    assert len(alerts_of(engine)) == 1
    assert 1_500 + 5 <= place(fired, events) <= 1_500 + 1_000
    assert results(engine).keys() == {"agreed", what}
    assert f"serving skew, first in {engine.parts.skew.first}" in caplog.messages


def test_a_client_among_many_is_caught_too():
    events = after(honest, honest)
    for i in range(LEARNED + 1_500, len(events), 100):
        events[i] = serve(stream(len(events))[i], seen=in_cents, hashed=in_cents)
    engine = run(events)
    [fired] = alerts_of(engine)
    assert place(fired, events) == 1_500 + 401


def test_the_log_says_where_and_what_to_compare(caplog):
    caplog.set_level("WARNING", "riverd")
    run(after(lambda event: serve(event, seen=in_cents, hashed=in_cents), each=100))
    first = stream(LEARNED + 100)[LEARNED]
    theirs, ours = (client(2).row_hash(way(encoded(first))) for way in (in_cents, dict))
    run(after(lambda event: serve(event, by=1), each=1_000))
    of_rows, of_scores = (message for message in caplog.messages if message.startswith("serving skew"))
    assert of_rows == (
        f"serving skew, first in events/0 at 1,000: row hash {theirs:016x}, but the event's features give {ours:016x}; "
        "compare what the client encodes with what it sends"
    )
    line = r"serving skew, first in events/\d at 1,\d\d\d: served 0\.\d+ by version 2, which says 0\.\d+; compare .*"
    assert re.fullmatch(line, of_scores)


def test_one_that_was_mended_is_told_so():
    engine = run(after(honest, lambda event: serve(event, seen=in_cents, hashed=in_cents), honest))
    assert [change.state for change in alerts_of(engine)] == ["firing", "resolved"]
    fired, over = alerts_of(engine)
    assert (over.started_at, over.value) == (fired.at, 0.0)
    assert engine.parts.skew.window.recent == 0


def test_one_that_has_gone_is_forgotten_after_a_day():
    events = after(lambda event: serve(event, seen=in_cents, hashed=in_cents), each=50)
    engine = run(events + stream(10_000)[len(events) :])
    assert [change.state for change in alerts_of(engine)] == ["firing", "resolved"]
    fired, over = alerts_of(engine)
    assert DAY_US < over.at - fired.at < DAY_US + 2 * HOUR_US


def test_a_version_that_is_not_kept_is_no_skew():
    events = after(lambda event: serve(event, version=1, by=1), lambda event: serve(event, version=9))
    engine = run(events, configured(keep=1))
    assert engine.parts.skew.versions == [2]
    assert results(engine) == {"unknown_version": 3_000}
    assert not alerts_of(engine)
    events = after(lambda event: serve(event, version=1, by=1), lambda event: serve(event, version=9))
    assert results(run(events, configured(keep=2))) == {"agreed": 1_500, "unknown_version": 1_500}


def test_its_features_are_checked_all_the_same():
    engine = run(after(lambda event: serve(event, version=9, hashed=in_cents)))
    assert results(engine) == {"row_differs": 1_500}
    assert alerts_of(engine)


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
    values = settings_of(skew=FIELDS, events={"label": "y", "dedupe": "1d"}, alerts=[])
    config = parse_config({name: keys for name, keys in values.items() if name != "labels"}, "riverd.toml")
    events = [event | {"served": {"p": 0.5, "v": 1}, "row": 0} for event in stream(50)]
    topics = {Partition("events", "0"): [json.dumps(event).encode() for event in events for _ in range(2)]}
    engine = engine_on(MemorySource(topics), config)
    finish(engine)
    assert engine.parts.joiner.fates()["duplicate_events"] == 50
    assert results(engine) == {"row_differs": 50}


MIXED_EACH = 1_300
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
    return outcome(engine) | {"alerts": alerts_of(engine), "skew": state, "first": skew.first}


@cache
def uninterrupted():
    return all_of(run(after(*MIXED, each=MIXED_EACH)))


def test_it_fires_and_ends_twice_in_the_mixed_stream():
    alerts = uninterrupted()["alerts"]
    assert [change.state for change in alerts] == ["firing", "resolved", "firing", "resolved"]


@pytest.mark.parametrize("poll_records", [1, 7, 1000])
def test_poll_sizes_give_the_same(poll_records):
    assert all_of(run(after(*MIXED, each=MIXED_EACH), configured(poll_records))) == uninterrupted()


@pytest.mark.parametrize("seed", range(3))
def test_any_interleaving_gives_the_same(seed):
    engine = run(after(*MIXED, each=MIXED_EACH), configured(700), lambda topics: UnevenSource(topics, seed=seed))
    assert all_of(engine) == uninterrupted()


@settings(deadline=None, max_examples=6)
@given(st.lists(st.tuples(st.integers(1, 60), st.booleans(), st.booleans()), max_size=6))
@example([(30, True, False), (15, False, True), (20, True, True)])
def test_wherever_it_is_killed(plan):
    topics, config, store = topics_of(after(*MIXED, each=MIXED_EACH)), configured(poll_records=40), begun()
    engine, checkpointer = restored(store, MemorySource(topics), config)
    for steps, kept, killed in plan:
        for _ in range(steps):
            engine.step()
        if kept:
            capture = checkpointer.capture(with_snapshot=False)
            store.commit(capture.encode("test"))
            checkpointer.saved(capture)
        if killed:
            engine, checkpointer = restored(store, MemorySource(topics), config)
    finish(engine)
    store.commit(checkpointer.capture(with_snapshot=False).encode("test"))
    told = [(alert.started_at, alert.resolved_at) for alert in store.alerts() if alert.rule == "serving-skew"]
    whole = uninterrupted()
    fired, over = ([change for change in whole["alerts"] if change.state == state] for state in ("firing", "resolved"))
    assert sorted(told) == [(one.at, other.at) for one, other in zip(fired, over, strict=True)]
    assert all_of(engine) | {"alerts": whole["alerts"]} == whole
    store.close()


def test_only_what_was_committed_is_published():
    engine = engine_on(MemorySource(topics_of(stream(100))), configured(keep=2))
    checkpointer = Checkpointer(engine)
    finish(engine)
    checkpointer.failed(checkpointer.capture(with_snapshot=True))
    assert engine.parts.skew.versions == []
    for with_snapshot in (True, False, True, True):
        checkpointer.saved(checkpointer.capture(with_snapshot=with_snapshot))
    assert engine.parts.skew.versions == [3, 4]


def test_snapshots_of_checkpoints_that_were_passed_over_are_not_published():
    engine = engine_on(MemorySource({}), configured())
    publish_stored_states(engine.parts.skew, learned(), up_to=1)
    assert engine.parts.skew.versions == [1]


def test_a_damaged_snapshot_is_left_out(caplog, monkeypatch):
    store, read = learned(), learned().snapshot
    monkeypatch.setattr(store, "snapshot", lambda number: read(number) if number == 1 else raise_damaged())
    engine = engine_on(MemorySource({}), configured())
    publish_stored_states(engine.parts.skew, store, up_to=2)
    assert engine.parts.skew.versions == [1]
    assert caplog.messages == ["scores served by version 2 can't be checked: snapshot 2 does not match its sha256"]


def raise_damaged():
    raise DamagedBlob("snapshot 2 does not match its sha256")


def test_a_client_has_the_whole_model():
    engine, _ = restored(learned(), MemorySource(topics_of(stream(LEARNED))), configured())
    theirs, ours = client(2), engine.parts.model.whole_state()
    assert theirs._state.mixing.tolist() == ours["mixing"].tolist()
    assert theirs._state.counters.tolist() == ours["counters"].tolist()
    assert theirs.to_bytes().startswith(MAGIC)
    with pytest.raises(DamagedBlob):
        model_of_snapshot(b"no snapshot")


def test_the_status_tells_of_it():
    engine = run(after(lambda event: serve(event, by=1), lambda event: serve(event, version=7)))
    skew = Publisher(engine).status("done").skew
    assert skew.results["score_differs"] > 1_000
    assert sum(skew.results.values()) == 3_000
    assert skew.results["unknown_version"] == 1_500
    assert skew.versions == [1, 2]
    assert skew.first.startswith("events/")
    assert 0 < skew.recent <= WINDOW


def test_prometheus_is_told_of_it():
    skew = SkewStatus({"agreed": 7, "row_differs": 2}, 2, "events/0 at 3: ...", [1])
    found = Web(document=replace(DOCUMENT, status=replace(STATUS, skew=skew))).samples()
    assert found["riverd_served_scores_total", (("result", "row_differs"),)] == 2
    assert found["riverd_skewed_events", ()] == 2
    assert not [name for name, _ in Web().samples() if "skew" in name]


def test_the_daemon_checks_by_the_snapshots_of_its_store(tmp_path):
    path = tmp_path / "riverd.toml"
    values = settings_of(skew=FIELDS, events={"label": "y"}, monitors={"windows": ["1d"], "slices": []}, alerts=[])
    path.write_text(to_toml({name: keys for name, keys in values.items() if name not in ("labels", "alerts")}))
    write(topics_of(stream(400)[:300]), tmp_path / "data")
    daemon.run(load_config(path), path, until_idle=True)
    with closing(Store.open(f"sqlite:///{tmp_path}/riverd.db", "shops")) as store:
        [snapshot] = store.snapshots()
        model = model_of_snapshot(store.snapshot(snapshot.number))
    events = stream(400)[:300]
    for event in stream(400)[300:]:
        x = encoded(event)
        served = {"p": model.predict_proba_one(x)[True], "v": snapshot.checkpoint}
        events.append(event | {"served": served, "row": model.row_hash(x)})
    write(topics_of(events), tmp_path / "data")
    skew = daemon.run(load_config(path), path, until_idle=True).status.skew
    assert skew.results["agreed"] == sum(skew.results.values()) == 100
    assert skew.versions == [snapshot.checkpoint, snapshot.checkpoint + 1]


def test_without_the_section_there_is_nothing_of_it():
    engine = engine_on(MemorySource({}), labelled_config())
    assert engine.parts.skew is None
    assert Publisher(engine).status("done").skew is None


def test_with_the_section_goes_its_alert():
    store = Store.open("sqlite://", "shops", now=lambda: 7)
    store.acquire()
    store.load()
    change = _change("firing", 5, 5, 7)
    store.commit(Checkpoint(b"", alerts=[change]))
    close_alerts_of_removed_rules(store, configured(), firing=[], watermark=9, now_us=9)
    assert [alert.state for alert in store.alerts()] == ["firing"]
    close_alerts_of_removed_rules(store, labelled_config(), firing=[], watermark=9, now_us=9)
    assert [alert.state for alert in store.alerts()] == ["resolved"]
    store.close()
