"""A client that serves by itself: an honest one never raises the alert, a skewed one does within 1,000 events."""

import json
import re

import pytest

from riverd.load_config import parse_config
from stream.memory import MemorySource
from stream.source import Partition
from tests.riverd.served import (
    FIELDS,
    LEARNED,
    after,
    alerts_of,
    client,
    configured,
    encoded,
    honest,
    in_cents,
    place,
    results,
    run,
    serve,
    stream,
)
from tests.riverd.streams import (
    engine_on,
    finish,
    outcome,
)
from tests.riverd.streams import settings as settings_of

DAY_US, HOUR_US = 86_400_000_000, 3_600_000_000


def test_an_honest_client_never_raises_the_alert():
    events = after(honest, each=50_000)
    engine = run(events)
    assert results(engine) == {"agreed": 50_000}
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
