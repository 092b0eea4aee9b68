"""The daemon learns and says what the model does by itself, in river's loops."""

import json
import random

import pytest
from river import evaluate, metrics, stream

from models.logistic_regression import LogisticRegression
from monitors.quality import quality
from riverd.assembly import WEEKDAYS
from stream.memory import MemorySource
from stream.records import MICROSECONDS
from stream.source import Partition
from stream.timestamps import to_text
from tests.riverd.streams import (
    SPACING_US,
    START_US,
    WINDOW_US,
    config,
    engine_on,
    labelled_config,
    run,
)

COUNT = 2000
HOUR_US = 3600 * MICROSECONDS
EVENTS, LABELS = Partition("events", "0"), Partition("labels", "0")


def rows(*, delays):
    """Raw rows of ``COUNT`` events; ``delays(rng)`` is after how many microseconds the label comes, if it does."""
    rng = random.Random(11)
    made = []
    for i in range(COUNT):
        x = rng.gauss(0.0, 1.0)
        made.append(
            {
                "id": f"e{i}",
                "time_us": START_US + i * SPACING_US,
                "features": {
                    "shop": rng.choice(["a", "b", "", "ü", None]),
                    "user": str(rng.randrange(50)),
                    # numbers get their statistics when they are first seen: both are there from the first event
                    "x": x if i == 0 or rng.random() > 0.1 else None,
                    "amount": rng.lognormvariate(3.0, 1.0) if rng.random() > 0.001 else 1e30,
                },
                "y": rng.random() < (0.8 if x > 0 else 0.3),
                "delay_us": delays(rng),
            }
        )
    return made


def event_of(row, **more):
    return json.dumps({"id": row["id"], "at": to_text(row["time_us"]), **row["features"], **more}).encode()


def label_of(row):
    at = to_text(row["time_us"] + row["delay_us"])
    return json.dumps({"id": row["id"], "at": at, "y": row["y"]}).encode()


def joined_topics(made):
    labels = sorted((row for row in made if row["delay_us"] is not None), key=lambda r: r["time_us"] + r["delay_us"])
    return {EVENTS: [event_of(row) for row in made], LABELS: [label_of(row) for row in labels]}


def x_of(row):
    """What river's loops hand to the model: the features, and the parts of the time as the daemon makes them."""
    time_us = row["time_us"]
    parts = {"hour": str(time_us // HOUR_US % 24), "weekday": WEEKDAYS[time_us // (24 * HOUR_US) % 7]}
    return row["features"] | parts


def our_model():
    return LogisticRegression(bits=12, crosses=[("shop", "hour")])


def logloss_of(engine):
    return quality(engine.parts.panes.total).logloss


def labelled_engine(made):
    return run({EVENTS: [event_of(row, y=row["y"]) for row in made]}, labelled_config())


def joined_engine(made, **sections):
    return run(joined_topics(made), config(**sections))


@pytest.mark.parametrize("engine_of", [labelled_engine, joined_engine])
def test_without_delay_equals_progressive_val_score(engine_of):
    made = rows(delays=lambda _: 0)
    engine = engine_of(made)
    model, score = our_model(), metrics.LogLoss()
    evaluate.progressive_val_score([(x_of(row), row["y"]) for row in made], model, score)
    assert engine.parts.model.sha256 == model.sha256
    assert logloss_of(engine) == pytest.approx(score.get(), rel=1e-12)
    assert score.get() < 0.65  # something was learned


def some_delay(rng):
    chance = rng.random()
    if chance < 0.1:
        return None
    return rng.randrange(3 * WINDOW_US) if chance < 0.2 else round(rng.expovariate(1 / (WINDOW_US / 4)))


def test_with_delay_equals_a_loop_over_simulate_qa():
    made = rows(delays=some_delay)
    engine = joined_engine(made)

    # in this loop an event whose label is too late is answered when it expires: a microsecond past its window
    def wait_us(row, _):
        late = row["delay_us"] is None or row["delay_us"] > WINDOW_US
        return WINDOW_US + 1 if late else row["delay_us"]

    until_us = max(row["time_us"] + (row["delay_us"] or 0) for row in made)
    model, score, asked, matched = our_model(), metrics.LogLoss(), {}, 0
    questions = ((row, row["y"]) for row in made)
    for i, row, y in stream.simulate_qa(questions, moment=lambda row: row["time_us"], delay=wait_us, copy=False):
        if y is None:
            asked[i] = model.ask(x_of(row))
        elif wait_us(row, y) <= WINDOW_US:
            prediction = asked.pop(i)
            score.update(y, prediction.probability)
            model.learn(prediction, y)
            matched += 1
        elif row["time_us"] + WINDOW_US < until_us:
            model.drop(asked.pop(i))
    counts = engine.parts.joiner.fates()
    assert counts["expired"] > 100
    assert counts["matched"] == matched > 1000
    assert counts["pending"] == len(asked)
    assert engine.parts.model.sha256 == model.sha256
    assert logloss_of(engine) == pytest.approx(score.get(), rel=1e-12)


def test_a_label_changes_the_next_prediction():
    first, second = rows(delays=lambda _: MICROSECONDS)[:2]
    second["features"] = first["features"]
    events, labels = [event_of(first)], []
    engine = engine_on(MemorySource({EVENTS: events, LABELS: labels}, bounded=False), config(), bounded=False)
    logit = engine.parts.table.rows.logit

    def say(topic, message):
        topic.append(message)
        engine.step()

    say(labels, label_of(first))  # releases the event, which comes before it
    assert engine.parts.joiner.fates()["pending"] == 1
    assert logit[0] == 0.0
    say(events, event_of(second))  # releases the label, and is released by the next one
    say(labels, label_of(second))
    assert engine.parts.joiner.fates()["matched"] == 1
    assert (logit[1] > 0.1) == first["y"]
    assert abs(logit[1]) > 0.1
    assert logit[0] == 0.0  # what was said stands


def test_a_constant_delay_changes_what_is_said_not_what_is_learned():
    ftrl = {"kind": "ftrl"}  # the mixture also learns from what was said
    prompt = joined_engine(rows(delays=lambda _: 0), model=ftrl)
    late = joined_engine(rows(delays=lambda _: WINDOW_US // 2), model=ftrl)
    assert late.parts.joiner.fates()["matched"] == COUNT
    # with the features of their questions, in the same order; asking again at the answer would differ
    assert late.parts.model.sha256 == prompt.parts.model.sha256
    assert logloss_of(late) != logloss_of(prompt)
