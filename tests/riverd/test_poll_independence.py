"""What is learned and said does not depend on how the stream was polled, nor on how it was partitioned."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.memory import MemorySource
from stream.source import Partition
from tests.riverd.streams import (
    UnevenSource,
    close_the_books,
    config,
    engine_on,
    finish,
    labelled,
    labelled_config,
    outcome,
    pairs,
    run,
    split,
)

COUNT = 1800
MODES = [(learn, missing) for learn in ("arrival", "maturity") for missing in ("drop", "negative")]
in_order, in_disorder = pairs(COUNT, seed=1), pairs(COUNT, seed=2, disorder=True)


def configured(learn, missing, poll_records=512):
    return config(labels={"learn": learn, "missing": missing}, source={"poll_records": poll_records})


def result(engine):
    alerts = list(engine.recent_alerts)
    return outcome(engine) | {"alerts": alerts, "dead_letters": engine.unsaved.dead_letters}


def without_places(result):
    letters = sorted((letter.topic, letter.reason, letter.payload) for letter in result["dead_letters"])
    return result | {"dead_letters": letters}


@pytest.mark.parametrize(("learn", "missing"), MODES)
def test_poll_sizes_give_the_same(learn, missing):
    messages = in_order if learn == "arrival" else in_disorder
    topics = split(messages, partitions=3)
    expected = result(run(topics, configured(learn, missing, 65_536)))
    for poll_records in (1 if missing == "drop" else 3, 1000):
        assert result(run(topics, configured(learn, missing, poll_records))) == expected


@pytest.mark.parametrize(("learn", "missing"), MODES)
def test_partitionings_give_the_same(learn, missing):
    one, three = (
        without_places(result(run(split(in_order, partitions=partitions), configured(learn, missing))))
        for partitions in (1, 3)
    )
    assert one == three


@settings(deadline=None, max_examples=6)
@given(st.integers(0, 2**32), st.sampled_from(MODES), st.sampled_from([1, 3]), st.sampled_from([1, 50, 5000]))
def test_any_interleaving_gives_the_same(seed, mode, partitions, poll_records):
    topics = split(pairs(600, seed=seed % 5, disorder=True), partitions=partitions)
    engine = engine_on(UnevenSource(topics, seed=seed), configured(*mode, poll_records))
    finish(engine)
    assert result(engine) == result(run(topics, configured(*mode)))


def test_labelled_events_give_the_same():
    topics = labelled(COUNT, seed=3)
    expected = result(run(topics, labelled_config()))
    for poll_records in (1, 7, 1000):
        assert result(run(topics, labelled_config(source={"poll_records": poll_records}))) == expected


@pytest.mark.parametrize("messages", [in_order, in_disorder], ids=["in-order", "in-disorder"])
def test_every_fate_occurs_and_the_books_close(messages):
    engine = engine_on(MemorySource(split(messages, partitions=3)), configured("arrival", "drop", 100))
    most = Counter()
    while engine.step() or not engine.finished:
        counts = engine.parts.joiner.fates()
        close_the_books(counts)
        most |= Counter(counts)
    assert counts["messages"] == len(messages)
    assert most.keys() == counts.keys()
    assert len(engine.unsaved.dead_letters) == counts["dead"] + counts["conflict"]
    # all five rules fire and are resolved
    assert len({(alert.rule, alert.state) for alert in engine.recent_alerts}) == 10


EVENTS, LABELS = Partition("events", "0"), Partition("labels", "0")
UNREADABLE = {
    "all-dead": {EVENTS: [b"{"] * 130, Partition("events", "1"): [b"["] * 130, LABELS: [b"?"] * 130},
    "no-labels": {EVENTS: [b"{"] * 130, LABELS: []},
    "tombstones-first": {EVENTS: [b""] * 110 + [b"{"] * 190, LABELS: []},
    "then-sound": {partition: [b"{"] * 70 + messages for partition, messages in split(in_order, partitions=2).items()},
}


@pytest.mark.parametrize("topics", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_dead_from_the_first_message_on_is_said_alike(topics):
    engine = run(topics, configured("arrival", "drop", 65_536))
    for poll_records in (1, 1000):
        assert result(run(topics, configured("arrival", "drop", poll_records))) == result(engine)
    first = engine.recent_alerts[0]
    assert (first.rule, first.state, first.started_at, first.at) == ("dead-letters", "firing", 0, 0)
    # a hundred messages suffice; of tombstones and dead letters it takes three hundred
    assert first.value == (1.0 if topics[EVENTS][0] else 190 / 300)
    # learning stopped before the first sound message, although one poll may have brought all of them
    assert engine.paused_by == "dead letters"
    assert not np.any(engine.parts.model.whole_state()["weights"])


def test_a_dead_beginning_that_is_short_or_allowed_is_no_alert():
    short = {EVENTS: [b"{"] * 99, LABELS: []}
    assert not run(short, configured("arrival", "drop", 10)).recent_alerts
    assert not run(UNREADABLE["all-dead"], config(dead_letters={"pause_above": 1.0})).recent_alerts
