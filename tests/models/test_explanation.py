"""What explains a logit adds up to it: the mixture too is one linear model in the encoded features."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.explanation import expert_shares
from models.kernels.layout import BOUND
from models.logistic_regression import LogisticRegression

compiled = settings(deadline=None)
values = st.one_of(st.sampled_from(["x", "y", None, True, ["a", "b"], []]), st.floats(-5, 5), st.integers(-2, 2))
events = st.dictionaries(st.sampled_from("abcde"), values, max_size=5)
stories = st.lists(st.tuples(events, st.sampled_from(["learn", "drop", "wait"]), st.booleans()), max_size=60)


def lived(stories, **parameters):
    """A model to which all that has happened, labels some events late."""
    model, waiting = LogisticRegression(crosses=[("a", "b")], **parameters), []
    for x, fate, label in stories:
        waiting.append((model.ask(x), fate, label))
        if len(waiting) > 3:
            prediction, fate, label = waiting.pop(0)
            if fate == "learn":
                model.learn(prediction, label, 1.0 + len(x))
            elif fate == "drop":
                model.drop(prediction)
    return model


@compiled
@given(
    stories=stories,
    x=events,
    bits=st.sampled_from([1, 3, 12]),  # with few, hats and other features share slots
    parameters=st.sampled_from([{}, {"l2": 0.5}, {"expert": "ftrl"}, {"expert": "ftrl", "l1": 0.2, "l2": 0.1}]),
)
def test_contributions_add_up_to_the_logit_before_its_bound(stories, x, bits, parameters):
    model = lived(stories, bits=bits, **parameters)
    before = model.sha256
    parts = model.explain(x)
    assert model.sha256 == before
    assert set(parts) - {"bias", "a*b"} == set(x) - {name for name, value in x.items() if value == []}
    assert [abs(part) for part in parts.values()] == sorted(map(abs, parts.values()), reverse=True)
    prediction = model.ask(x)
    bound = float(prediction.said[0, BOUND]) if model.expert == "mixture" else math.inf
    assert min(max(sum(parts.values()), -bound), bound) == pytest.approx(prediction.logit, rel=1e-6, abs=1e-9)


def test_a_feature_that_decides_explains_most():
    rng = np.random.default_rng(4)
    model = LogisticRegression()
    for _ in range(3000):
        x = {"noise": rng.normal(), "hour": float(rng.integers(24)), "shop": str(rng.integers(5))}
        model.learn_one(x, abs(x["hour"] - 12) < 4)  # a curve, not a line
    assert next(iter(model.explain({"noise": 0.3, "hour": 12.0, "shop": "1"}))) == "hour"
    assert model.explain({"hour": 12.0})["hour"] > 2 > -2 > model.explain({"hour": 1.0})["hour"]


def test_a_mixture_that_knows_nothing_trusts_its_prior():
    shares = expert_shares(LogisticRegression()._state)
    prior = np.array([1, 1, 0.3, 1, 2, 1, 1]) / 7.3
    np.testing.assert_allclose(shares, 0.75 * prior + 0.25 / 7, rtol=1e-12)
