"""Inside river's own machinery: pipelines, unions, its validation with and without delay, weights, frames."""

import datetime as dt

import pandas as pd
import polars as pl
import pytest
from river import compose, datasets, evaluate, metrics, preprocessing

from models.logistic_regression import LogisticRegression

ROWS = list(datasets.Phishing().take(300))
NAMES = sorted(ROWS[0][0])


def validated(model, rows=ROWS, **options):
    return evaluate.progressive_val_score(rows, model, metrics.LogLoss(), **options).get()


def test_a_pipeline_hands_its_features_on():
    chosen = compose.Select(*NAMES[:4]) | LogisticRegression(bits=12)
    alone = LogisticRegression(bits=12)
    assert validated(chosen) == validated(alone, [({name: x[name] for name in NAMES[:4]}, y) for x, y in ROWS])
    assert chosen["LogisticRegression"].sha256 == alone.sha256


def test_a_union_of_transformers():
    """Numbers scaled, and two of them as one-hot features too."""
    scaled = compose.Select(*NAMES[:5]) | preprocessing.StandardScaler()
    one_hot = compose.Select(*NAMES[5:7]) | preprocessing.OneHotEncoder()
    union = compose.TransformerUnion(scaled, one_hot) | LogisticRegression(bits=14)
    assert validated(union) < 0.6
    assert union.predict_proba_one(ROWS[0][0])[True] == pytest.approx(1 - union.predict_proba_one(ROWS[0][0])[False])


def test_rivers_delay_asks_again_at_the_answer():
    """Which is not how a model with late labels is judged: docs/learner.md."""
    with_times = [({**x, "at": dt.datetime(2024, 1, 1) + dt.timedelta(minutes=i)}, y) for i, (x, y) in enumerate(ROWS)]
    pipeline = compose.Discard("at") | LogisticRegression(bits=12)
    late = validated(pipeline, with_times, moment="at", delay=dt.timedelta(minutes=50))
    counted = validated(LogisticRegression(bits=12), delay=50)
    assert late == pytest.approx(counted, abs=1e-9)
    assert validated(LogisticRegression(bits=12)) < counted < 0.6931


def test_weights_reach_the_model_through_a_pipeline():
    weighted = compose.Select(*NAMES) | LogisticRegression(bits=12)
    alone = LogisticRegression(bits=12)
    for i, (x, y) in enumerate(ROWS):
        weighted.learn_one(x, y, w=1.0 + i % 3)
        alone.learn_one(x, y, 1.0 + i % 3)
    assert weighted["LogisticRegression"].sha256 == alone.sha256


@pytest.mark.parametrize("frame_of", [pd.DataFrame, pl.DataFrame])
def test_frames_are_rows_in_order(frame_of):
    one, many = LogisticRegression(bits=12), LogisticRegression(bits=12)
    for first in range(0, len(ROWS), 70):
        part = ROWS[first : first + 70]
        many.learn_many(frame_of([x for x, _ in part]), [y for _, y in part])
    for x, y in ROWS:
        one.learn_one(x, y)
    assert many.sha256 == one.sha256


def test_a_pipeline_learns_frames():
    frame = pd.DataFrame([x for x, _ in ROWS])
    labels = pd.Series([y for _, y in ROWS])
    pipeline = compose.Select(*NAMES[:4]) | LogisticRegression(bits=12)
    pipeline.learn_many(frame, labels)
    alone = LogisticRegression(bits=12)
    alone.learn_many(frame[NAMES[:4]], labels)
    assert pipeline["LogisticRegression"].sha256 == alone.sha256
    assert len(pipeline.predict_proba_many(frame)) == len(frame)
