"""The frozen reference says what the model said when it was frozen, and is stored block by block."""

import math

import numpy as np
import pytest

from models.frozen import Frozen
from models.learner import make_settings
from models.state import BLOCK_SLOTS
from models.stream_model import StreamModel
from stream.records import LEARN, RESOLVE, SCORE
from tests.models.test_stream_model import BASE, CATEGORIES, CROSSES, NUMBERS, events_of, ops_of, rows_for


def learned(kind, *, bits, events=400):
    """A model that learned these, the events, and the rows of the last hundred, which it has only scored."""
    rng = np.random.default_rng(3)
    model = StreamModel(make_settings(kind), bits=bits, categories=CATEGORIES, numbers=NUMBERS, crosses=CROSSES)
    drawn = [
        (
            *rng.choice(["", "x", "y"], 2).tolist(),
            str(rng.integers(24)),
            *rng.normal(size=2).tolist(),
            math.nan if rng.random() < 0.1 else float(rng.normal()),
        )
        for _ in range(events)
    ]
    rows = rows_for(events, model)
    # noisy, so that no answer reaches the bound up to which the model is believed
    label = [int(event[3] + (event[0] == "x") + rng.logistic() > 0.3) for event in drawn]
    steps = [(SCORE | RESOLVE | LEARN, i, i, label[i]) for i in range(events - 100)]
    model.run(ops_of(steps), rows, BASE, events_of(drawn))
    assert np.isnan(rows.reference).all()
    return model, drawn, rows


@pytest.mark.parametrize("bits", [10, 18])
@pytest.mark.parametrize("kind", ["mixture", "ftrl"])
def test_says_what_the_model_said_then(kind, bits):
    model, drawn, rows = learned(kind, bits=bits)
    model.freeze()
    model.run(ops_of([(SCORE, i, i, -1) for i in range(300, 400)]), rows, BASE, events_of(drawn))
    assert rows.reference[300:] == pytest.approx(rows.logit[300:], abs=1e-4)
    assert np.ptp(rows.logit[300:]) > 1.0


def test_stays_when_the_model_learns():
    model, drawn, rows = learned("mixture", bits=12)
    model.freeze()
    frozen = model.frozen.weights.copy()
    steps = [(SCORE | RESOLVE | LEARN, i, i, 1) for i in range(300, 400)]
    model.run(ops_of(steps), rows, BASE, events_of(drawn))
    assert np.array_equal(model.frozen.weights, frozen)
    assert (rows.logit[390:] - rows.reference[390:]).mean() > 0.5  # the model has moved


def test_is_restored_from_its_blocks():
    model, *_ = learned("mixture", bits=18)
    model.freeze()
    blocks = model.frozen.take_dirty()
    assert blocks == list(range(-(-((1 << 18) + 1) // BLOCK_SLOTS)))
    assert model.frozen.take_dirty() == []
    model.frozen.mark_dirty([1])
    assert model.frozen.take_dirty() == [1]
    other = Frozen((1 << 18) + 1)
    other.restore({number: model.frozen.block(number) for number in blocks})
    assert np.array_equal(other.weights, model.frozen.weights)
    other.restore({})
    assert not len(other.weights)
