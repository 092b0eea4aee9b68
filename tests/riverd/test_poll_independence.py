"""What is learned and said does not depend on how the stream was polled, nor on how it was partitioned."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.memory import MemorySource
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
@pytest.mark.parametrize("messages", [in_order, in_disorder], ids=["in-order", "in-disorder"])
def test_poll_sizes_give_the_same(messages, learn, missing):
    for partitions in (1, 3):
        topics = split(messages, partitions=partitions)
        expected = result(run(topics, configured(learn, missing, 65_536)))
        for poll_records in (1, 7, 1000) if partitions == 3 else (7, 1000):
            assert result(run(topics, configured(learn, missing, poll_records))) == expected


@pytest.mark.parametrize(("learn", "missing"), MODES)
def test_partitionings_give_the_same(learn, missing):
    one, three = (
        without_places(result(run(split(in_order, partitions=partitions), configured(learn, missing))))
        for partitions in (1, 3)
    )
    assert one == three


@settings(deadline=None, max_examples=30)
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
    assert (
        len({(alert.rule, alert.state) for alert in engine.recent_alerts}) == 8
    )  # all four rules fire and are resolved
