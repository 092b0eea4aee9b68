"""The compiled mixture against a slow one in plain Python, and what its description promises."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import datasets

from models.kernels import mixture as places
from models.kernels.layout import BOUND, EXPERTS
from models.logistic_regression import LogisticRegression
from tests.models.reference_mixture import Mixture, sigma

compiled = settings(deadline=None)
values = st.one_of(
    st.sampled_from([None, True, False, "x", "y", math.nan, 1e15, 1e16, 0.0, 1]),
    st.floats(-3, 3).map(lambda x: round(x, 2)),
    st.integers(-3, 3),
)
events = st.dictionaries(st.sampled_from("abcdef"), values, max_size=6)
steps = st.tuples(
    events,
    st.booleans(),
    st.integers(0, 12),
    st.sampled_from(["learn"] * 5 + ["drop"]),
    st.sampled_from([1.0, 0.5, 8.0]),
)


def both(stream, *, within, **parameters):
    """Step by step through both; what they say must agree each time.

    A prediction keeps values and logits in float32; on long streams the rate of 3.2 makes more of that.
    """
    fast, slow = LogisticRegression(**parameters), Mixture(**parameters)
    waiting = []
    for x, label, delay, fate, weight in stream:
        one, other = fast.ask(x), slow.ask(x)
        assert_said(one, other, within=within)
        waiting.append((one, other, label, fate, weight))
        while len(waiting) > delay:
            one, other, label, fate, weight = waiting.pop(delay // 2)
            if fate == "drop":
                fast.drop(one), slow.drop(other)
            else:
                fast.learn(one, label, weight), slow.learn(other, label, weight)
    return fast, slow


def assert_said(one, other, *, within):
    np.testing.assert_array_equal(one.slots, [slot for slot, _ in other.base + other.hats])
    np.testing.assert_allclose(one.values, [v for _, v in other.base + other.hats], rtol=0, atol=1e-6)
    np.testing.assert_allclose(one.said[0], [*other.s, *other.t, other.c], rtol=within, atol=within)
    assert one.logit == pytest.approx(other.f, rel=within, abs=within)
    assert one.number == other.number


def assert_alike(fast, slow, *, within):
    """The states agree: weights, squares, shares, free weights and counts."""
    state, mixing = fast._state, fast._state.mixing
    columns = {0: 0, 1: 1, 2: 2, 3: places.SGD, 4: 3, 5: places.PLAIN_SGD}
    for k, learned in enumerate(slow.weights):
        np.testing.assert_allclose(
            state.weights[list(learned), columns[k]], list(learned.values()), rtol=within, atol=within
        )
        assert {*np.flatnonzero(state.weights[:, columns[k]]).tolist()} <= {*learned}
    for (regret, squared), poly in zip(
        (
            (places.REGRET_A, places.SQUARED_A),
            (places.REGRET_B, places.SQUARED_B),
            (places.REGRET_TOP, places.SQUARED_TOP),
        ),
        (slow.a, slow.b, slow.top),
        strict=True,
    ):
        size = len(poly.prior)
        np.testing.assert_allclose(mixing[regret : regret + size], poly.regret, rtol=10 * within, atol=10 * within)
        np.testing.assert_allclose(mixing[squared : squared + size], poly.squared, rtol=10 * within, atol=10 * within)
    np.testing.assert_allclose(mixing[places.NEWTON : places.INVERSE], slow.c_weights, rtol=10 * within, atol=within)
    inverse = mixing[places.INVERSE : places.REGRET_TOP].reshape(EXPERTS, EXPERTS)
    np.testing.assert_allclose(inverse, slow.inverse, rtol=10 * within, atol=within)
    assert mixing[places.POSITIVES] == slow.positives
    assert mixing[places.NEGATIVES] == slow.negatives


@compiled
@given(
    stream=st.lists(steps, min_size=1, max_size=60),
    bits=st.sampled_from([2, 4, 12]),  # with few, base features and hats share slots
    l2=st.sampled_from([0.0, 0.0, 0.3]),
)
def test_equals_the_slow_one_step_by_step(stream, bits, l2):
    first = (dict.fromkeys("abcdef", 0.5), True, 0, "learn", 1.0)  # from then on all names are numbers
    assert_alike(*both([first, *stream], within=1e-5, bits=bits, l2=l2), within=1e-5)


@pytest.mark.parametrize("delay", [0, 40])
def test_equals_the_slow_one_over_a_whole_stream(delay):
    stream = [(x, y, delay, "learn", 1.0) for x, y in datasets.Phishing().take(600)]
    fast, slow = both(stream, within=1e-3, bits=12)
    assert_alike(fast, slow, within=1e-3)
    assert any(len(column.sample) == 64 for column in slow.columns.values())
    assert fast._state.random[0] != 0


def test_samples_are_those_of_the_slow_one():
    fast, slow = LogisticRegression(bits=8), Mixture(bits=8)
    rng = np.random.default_rng(3)
    for _ in range(700):
        x = {"a": float(rng.normal()), "b": float(rng.integers(0, 9)), "z": 7.0}
        if rng.random() < 0.95:
            del x["z"]  # too rare for a rank
        fast.ask(x), slow.ask(x)
    for name, column in slow.columns.items():
        row = fast._columns[name]
        kept = fast._state.sampled[row]
        assert fast._state.sample[row, :kept].tolist() == column.sample
        assert np.isinf(fast._state.sample[row, kept:]).all()
        assert int(fast._state.random[row]) == column.state
    assert len(slow.columns["z"].sample) < 64


def test_an_answer_stays_within_its_bound():
    model = LogisticRegression(bits=10)
    for i in range(300):
        prediction = model.ask({"a": str(i % 2)})
        pending = i - i // 2
        learned = i // 2
        bound = math.log(1 + 4 * (learned + 1) / (1 + pending / 50))
        assert prediction.said[0, BOUND] == pytest.approx(bound, rel=1e-6)
        assert abs(prediction.logit) <= bound
        if i % 2:
            model.learn(prediction, i % 4 == 1)


def test_what_is_dropped_is_no_longer_awaited():
    waiting, dropped = LogisticRegression(bits=10), LogisticRegression(bits=10)
    for _ in range(100):
        waiting.ask({})
        dropped.drop(dropped.ask({}))
    assert waiting.ask({}).said[0, BOUND] == pytest.approx(math.log(1 + 4 / 3), rel=1e-6)
    assert dropped.ask({}).said[0, BOUND] == pytest.approx(math.log(5), rel=1e-6)


def test_hats_are_a_curve():
    model = LogisticRegression(bits=16)
    rng = np.random.default_rng(0)
    for _ in range(3000):
        x = float(rng.uniform(-1, 1))
        model.learn_one({"x": x}, rng.random() < sigma(6 * (x * x - 0.3)))  # no line fits it
    middle, left, right = (model.predict_proba_one({"x": x})[True] for x in (0.0, -0.9, 0.9))
    assert middle < 0.35
    assert min(left, right) > 0.75
    values = [model.ask({"x": x}).values[2:] for x in (-0.5, -0.123, 0.0, 0.7)]
    assert all(hats.shape == (2,) and hats.sum() == pytest.approx(1.0) and hats.min() >= 0 for hats in values)


@compiled
@given(
    st.lists(
        st.tuples(events, st.booleans(), st.sampled_from([0.0, 1e-300, 1.0, 1e9])),
        max_size=60,
    )
)
def test_nothing_poisons_it(stream):
    model = LogisticRegression(bits=3)
    for x, label, weight in stream:
        model.learn_one(x, label, weight)
        assert 0 <= model.predict_proba_one(x)[True] <= 1
    for name in ("weights", "statistics", "mixing"):
        assert np.isfinite(getattr(model._state, name)).all(), name


@pytest.mark.parametrize("parameters", [{"alpha": 0.1}, {"beta": 1.0}, {"l1": 0.1}, {"expert": "forest"}])
def test_what_the_mixture_does_not_take_is_refused(parameters):
    with pytest.raises(ValueError, match="expert"):
        LogisticRegression(**parameters)
