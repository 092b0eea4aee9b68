"""What is known of skew does not depend on polls, and outlives kills; so do the states that are checked by."""

from contextlib import closing
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.serial import MAGIC
from monitors.skew import WINDOW
from riverd import service as daemon
from riverd.checkpointing import Checkpointer
from riverd.load_config import load_config
from riverd.published_states import model_of_snapshot, publish_stored_states
from riverd.publishing import Publisher
from riverd.removed_rules import close_alerts_of_removed_rules
from riverd.skew import _change
from riverd.status import SkewStatus
from storage.checkpoint import Checkpoint
from storage.errors import DamagedBlob
from storage.store import Store
from stream.memory import MemorySource
from tests.riverd.served import (
    FIELDS,
    LEARNED,
    after,
    alerts_of,
    begun,
    client,
    configured,
    encoded,
    honest,
    in_cents,
    learned,
    restored,
    run,
    serve,
    stream,
    topics_of,
)
from tests.riverd.streams import (
    UnevenSource,
    engine_on,
    finish,
    labelled_config,
    outcome,
    to_toml,
    write,
)
from tests.riverd.streams import settings as settings_of
from tests.riverd.web import DOCUMENT, STATUS, Web

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
