"""Words, buckets, weights, scores of other models and labelled duplicates, through the whole engine."""

import json
import math
import random

import numpy as np
import pytest

from models.logistic_regression import LogisticRegression
from monitors.quality import quality
from riverd.assembly import assemble
from riverd.engine import Engine
from riverd.load_config import parse_config
from stream.memory import MemorySource
from stream.source import Partition

START = 1_700_000_000
TABLES = {"model": {"name": "m", "bits": 12}, "events": {"topic": "e", "time": "t", "label": "y"}}


def run(messages, **sections):
    """The engine after all messages; sections of the config are merged into the smallest one."""
    values = {name: TABLES.get(name, {}) | sections.get(name, {}) for name in {*TABLES, *sections}}
    return engine_after(values, e=messages)


def engine_after(values, **topics):
    config = parse_config(values, "test")
    source = MemorySource({Partition(topic, "0"): [json.dumps(m).encode() for m in ms] for topic, ms in topics.items()})
    engine = Engine(config, assemble(config, now_us=lambda: 2 * 10**15), source, bounded=True)
    while engine.step():
        pass
    return engine


def rows(count=400, seed=5):
    rng = random.Random(seed)
    return [
        {
            "t": START + 60 * i,
            "tags": rng.sample(["a", "b", "c", "d"], rng.randrange(4)),
            "x": rng.gauss(0, 9),
            "y": rng.random() < 0.4,
        }
        for i in range(count)
    ]


def bucket_of(x):
    return "below -5" if x < -5 else "from -5" if x < 0 else "from 0"


def test_words_and_buckets_equal_the_model_by_itself():
    made = rows()
    engine = run(made, features={"words": ["tags"], "numbers": ["x"], "buckets": {"x": [-5, 0]}})
    model, losses = LogisticRegression(bits=12), []
    for row in made:
        prediction = model.ask({"tags": row["tags"], "x": row["x"], "x#bucket": bucket_of(row["x"])})
        losses.append(-math.log(prediction.probability if row["y"] else 1 - prediction.probability))
        model.learn(prediction, row["y"])
    assert engine.parts.model.sha256 == model.sha256
    assert quality(engine.parts.panes.total).logloss == pytest.approx(np.mean(losses), rel=1e-9)


def test_weights_equal_the_model_by_itself():
    made = [row | {"w": (i % 3) / 2} for i, row in enumerate(rows())]
    engine = run(made, events={"weight": "w"}, features={"numbers": ["x"]})
    model = LogisticRegression(bits=12)
    for row in made:
        model.learn_one({"x": row["x"]}, row["y"], row["w"])
    assert engine.parts.model.sha256 == model.sha256


def test_the_scores_of_another_model_are_judged():
    made = [row | {"id": i, "p": 0.9 if row["y"] else 0.2} for i, row in enumerate(rows())]
    outcomes = [{"id": row["id"], "t": row["t"] + 30, "y": row["y"]} for row in made]
    engine = external(made, outcomes)
    judged = quality(engine.parts.panes.total)
    share = sum(row["y"] for row in made) / len(made)
    assert judged.labelled == len(made)
    assert judged.roc_auc == 1.0
    assert judged.logloss == pytest.approx(-share * math.log(0.9) - (1 - share) * math.log(0.8), rel=1e-9)


def external(made, outcomes):
    values = {
        "model": {"name": "m", "kind": "external"},
        "events": {"topic": "e", "time": "t", "id": "id", "score": "p"},
        "labels": {"topic": "l", "id": "id", "time": "t", "value": "y", "window": "1h"},
    }
    return engine_after(values, e=made, l=outcomes)


def test_labelled_events_with_a_known_id_are_ignored():
    made = [row | {"id": i} for i, row in enumerate(rows())]
    again = [row | {"t": row["t"]} for row in made[:50]]
    other = [made[60] | {"x": 1.0}]
    engine = run(
        sorted([*made, *again, *other], key=lambda row: row["t"]),
        events={"id": "id", "dedupe": "30d"},
        features={"numbers": ["x"]},
    )
    fates = engine.parts.joiner.fates()
    assert (fates["resolved"], fates["duplicate_events"], fates["conflict"]) == (len(made), 50, 1)
    assert engine.parts.model.sha256 == run(made, features={"numbers": ["x"]}).parts.model.sha256
    assert [letter.reason for letter in engine.unsaved.dead_letters] == [
        "another event with this id came before and says something else; that one stands"
    ]


def test_an_id_may_be_used_again_after_dedupe():
    row = rows(1)[0] | {"id": "same"}
    engine = run([row, row | {"t": row["t"] + 7300}], events={"id": "id", "dedupe": "2h"}, features={"numbers": ["x"]})
    assert engine.parts.joiner.fates()["resolved"] == 2


def test_a_corrected_label_is_judged_as_if_it_had_come_first():
    made = [row | {"id": i, "p": 0.9 if row["x"] > 0 else 0.2} for i, row in enumerate(rows())]
    right = [{"id": row["id"], "t": row["t"] + 30, "y": row["y"]} for row in made]
    wrong = [label | {"y": not label["y"]} if label["id"] % 3 == 0 else label for label in right]
    corrections = [label | {"t": label["t"] + 100} for label in right if label["id"] % 3 == 0]
    corrected = external(made, sorted([*wrong, *corrections], key=lambda label: label["t"]))
    assert corrected.parts.joiner.fates()["correction"] == len(corrections)
    ours, theirs = quality(corrected.parts.panes.total), quality(external(made, right).parts.panes.total)
    assert (ours.positives, ours.labelled, ours.roc_auc) == (theirs.positives, theirs.labelled, theirs.roc_auc)
    assert ours.logloss == pytest.approx(theirs.logloss, rel=1e-12)


@pytest.mark.parametrize("learn", ["arrival", "maturity"])
def test_a_correction_is_learned_only_where_nothing_was_learned_yet(learn):
    made = [row | {"id": i} for i, row in enumerate(rows(60))]
    right = [{"id": row["id"], "t": row["t"] + 30, "y": row["y"]} for row in made]
    wrong = [label | {"y": not label["y"]} for label in right]
    late = [label | {"t": label["t"] + 1} for label in right]
    end = {"id": "end", "t": made[-1]["t"] + 3 * 3600, "x": 0.0}

    def learned(labels):
        values = TABLES | {
            "events": {"topic": "e", "time": "t", "id": "id"},
            "labels": {"topic": "l", "id": "id", "time": "t", "value": "y", "window": "1h", "learn": learn},
            "features": {"numbers": ["x"]},
        }
        labels = sorted(labels, key=lambda label: label["t"])
        return engine_after(values, e=[*made, end], l=labels).parts.model.sha256

    corrected = learned([*wrong, *late])
    assert corrected == learned(wrong if learn == "arrival" else right)
    assert learned(wrong) != learned(right)
