"""What an event becomes: against a plain-Python encoder, and the rules one by one."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models import logistic_regression
from models.logistic_regression import LogisticRegression
from models.state import ABSURD, ASKED, COUNT, DEVIATIONS, DROPPED, LEARNED, MEAN, SQUARES
from tests.models.reference import Encoder, xxh3

compiled = settings(deadline=None)  # whichever test comes first waits for numba
BITS = 12
CROSSES = (("a", "b"), ("b", "a"), ("c", "c"))

numbers = st.one_of(
    st.sampled_from([0, 1, -1, 0.0, -0.0, 7, 1e15, -1e15, 1.0000000000000002e15, 1e300, math.inf, -math.inf, 10**400]),
    st.floats(-1e6, 1e6).map(lambda x: round(x, 3)),
    st.floats(1e-140, 1e15),
    st.integers(-1000, 1000),
)
nulls = st.sampled_from([None, math.nan])
categories = st.one_of(st.sampled_from(["", "x", "y", "null", "1"]), st.booleans())
values = st.one_of(numbers, categories, nulls)
events = st.dictionaries(st.sampled_from("abcdef"), values, max_size=6)


def new_model(**parameters):
    return LogisticRegression(expert="ftrl", bits=BITS, crosses=CROSSES, **parameters)


def encoded(prediction):
    return prediction.slots.tolist(), prediction.values


def value_of(model, x, name):
    """The value of one feature of an event that is asked."""
    prediction = model.ask(x)
    where = prediction.slots == xxh3(name) % (1 << model.bits)
    assert where.sum() == 1
    return float(prediction.values[where][0])


@compiled
@given(st.lists(events, min_size=1, max_size=30))
def test_equals_the_reference_on_any_stream(stream):
    model, reference = new_model(), Encoder(bits=BITS, crosses=CROSSES)
    for x in stream:
        slots, values = encoded(model.ask(x))
        expected = reference.ask(x)
        assert slots == [slot for slot, _ in expected]
        np.testing.assert_allclose(values, [value for _, value in expected], rtol=1e-6, atol=1e-36)
    assert model._state.counters[ABSURD] == reference.absurd
    assert model._state.counters[ASKED] == len(stream)


@compiled
@given(st.lists(events, min_size=1, max_size=15), st.randoms())
def test_the_order_of_keys_changes_nothing(stream, random):
    one, other = new_model(), new_model()
    for i, x in enumerate(stream):
        one.learn_one(x, i % 2)
        other.learn_one({name: x[name] for name in random.sample(sorted(x), len(x))}, i % 2)
    assert one.sha256 == other.sha256


@compiled
@given(st.lists(events, max_size=15), events)
@example([], {"a": 1e-200, "b": -3e-162, "c": 5e-324})  # squares that underflow
def test_a_forecast_equals_the_question_and_moves_nothing(stream, x):
    model = new_model()
    for i, earlier in enumerate(stream):
        model.learn_one(earlier, i % 3 == 0)
    before = model.sha256
    forecast = model.predict_proba_one(x)
    assert model.sha256 == before
    assert forecast[True] == model.ask(x).probability
    assert forecast[False] == 1 - forecast[True]


def test_statistics_are_those_of_numpy():
    rng = np.random.default_rng(3)
    xs = rng.normal(50, 7, 400)
    model = LogisticRegression(expert="ftrl", bits=BITS)
    for x in xs:
        model.ask({"x": x})
    statistics = model._state.statistics[0]
    expected = {COUNT: 400, MEAN: xs.mean(), DEVIATIONS: 400 * xs.var(), SQUARES: (xs * xs).sum()}
    np.testing.assert_allclose(statistics, [expected[k] for k in range(4)], rtol=1e-12)
    assert value_of(model, {"x": 55.0}, "x") == pytest.approx((55 - xs.mean()) / xs.std(), rel=1e-6)


def test_a_number_is_valued_by_earlier_events_only():
    model = LogisticRegression(expert="ftrl", bits=BITS)
    assert value_of(model, {"x": -20.0}, "x") == -1.0  # nothing known: its sign
    # one value has no spread, so it is scaled by the root mean square of both
    assert value_of(model, {"x": 40.0}, "x") == pytest.approx(40 / math.sqrt((400 + 1600) / 2))
    assert value_of(model, {"x": 25.0}, "x") == pytest.approx((25 - 10) / 30)


@pytest.mark.parametrize(("absent", "centred"), [(4, True), (5, False)])
def test_a_number_absent_from_most_events_is_not_centred(absent, centred):
    model = LogisticRegression(expert="ftrl", bits=BITS)
    for x in (10.0, 11.0, 12.0, 13.0):
        model.ask({"x": x})
    for _ in range(absent):
        model.ask({})
    centre, spread = (11.5, math.sqrt(5 / 4)) if centred else (0.0, math.sqrt((534 + 12.5**2) / 5))
    assert value_of(model, {"x": 12.5}, "x") == pytest.approx((12.5 - centre) / spread, rel=1e-6)


def test_a_constant_is_scaled_to_its_sign():
    model = LogisticRegression(expert="ftrl", bits=BITS)
    for _ in range(5):
        assert value_of(model, {"x": -0.3, "y": 0.0}, "x") == pytest.approx(-1.0)
    assert value_of(model, {"x": -0.3, "y": 0.0}, "y") == 0.0


@pytest.mark.parametrize("x", [1e15, -1e15])
def test_values_are_clipped_at_three_deviations(x):
    model = LogisticRegression(expert="ftrl", bits=BITS)
    for i in range(10):
        model.ask({"x": float(i % 2)})
    assert value_of(model, {"x": x}, "x") == math.copysign(3.0, x)


def test_the_norm_is_capped_without_the_bias():
    at_the_cap = LogisticRegression(expert="ftrl", bits=BITS).ask({f"c{i}": "v" for i in range(25)})
    assert at_the_cap.values.tolist() == [1.0] * 26
    beyond = LogisticRegression(expert="ftrl", bits=BITS).ask({f"c{i}": "v" for i in range(100)})
    assert beyond.values[0] == 1.0
    np.testing.assert_allclose(beyond.values[1:], 0.5, rtol=1e-6)
    assert np.linalg.norm(beyond.values[1:].astype(float)) == pytest.approx(5.0)


@pytest.mark.parametrize(
    "null", [None, math.nan, np.float32("nan"), pd.NA, math.inf, -math.inf, 1.0000000000000002e15, -(10**400)]
)
def test_null_is_a_feature_of_its_own_and_moves_no_statistics(null):
    model = LogisticRegression(expert="ftrl", bits=BITS)
    for x in (1.0, 2.0):
        model.ask({"x": x})
    before = model._state.statistics.copy()
    prediction = model.ask({"x": null})
    assert encoded(prediction)[0] == [1 << BITS, xxh3("x=null") % (1 << BITS)]
    assert prediction.values.tolist() == [1.0, 1.0]
    np.testing.assert_array_equal(model._state.statistics, before)


def test_only_absurd_numbers_are_counted_as_absurd():
    model = LogisticRegression(expert="ftrl", bits=BITS)
    for x in (1e15, -1e15, None, math.nan, "1e99", 1.0000000000000002e15, -math.inf, 10**400, -1e300):
        model.ask({"x": x})
    assert model._state.counters[ABSURD] == 4


def test_nan_and_none_are_one_value_in_crosses_too():
    none, nan = new_model(), new_model()
    none.learn_one({"a": None, "b": "x"}, 1)
    nan.learn_one({"a": math.nan, "b": "x"}, 1)
    assert none.sha256 == nan.sha256
    assert len(none.ask({"a": None, "b": "x"}).slots) == 1 + 2 + 2  # both, and both crosses


def test_a_cross_needs_both_categories():
    assert len(new_model().ask({"a": "x", "b": "y"}).slots) == 1 + 2 + 2
    assert len(new_model().ask({"a": "x", "b": 2}).slots) == 1 + 2
    assert len(new_model().ask({"a": "x"}).slots) == 1 + 1


def test_numbers_beyond_the_table_count_by_their_sign(monkeypatch):
    monkeypatch.setattr(logistic_regression, "MAX_NUMBERS", 2)
    model = LogisticRegression(expert="ftrl", bits=BITS)
    for _ in range(3):
        model.ask({"c": 1.0, "a": 1.0, "b": -1.0})
    assert len(model._state.statistics) == 2  # a and b, by name
    assert value_of(model, {"c": -900.0}, "c") == -1.0
    assert value_of(model, {"c": 0.0}, "c") == 0.0
    assert value_of(model, {"c": 5e-200}, "c") == 0.0


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ([1e-200, 1e-200], [0, 0]),
        ([0.0, 3e-162, 0.0, 0.0, 0.0], [0, 0, 0, 0, 0]),  # squared deviations above zero, but not their mean
        ([5e-324, -5e-324, 1.0, 1e-320], [0, 0, 3**0.5, -(0.5**0.5)]),
        ([1e-150, 1.1e-150, 1e15, 1e-150], [1, 1.1 / math.sqrt(2.21 / 2), 3, -(0.5**0.5)]),
    ],
)
def test_numbers_whose_squares_underflow_are_survived(stream, expected):
    model = LogisticRegression(expert="ftrl", bits=BITS)
    assert [value_of(model, {"x": x}, "x") for x in stream] == pytest.approx(expected, rel=1e-6)


def test_moments_are_counted():
    model = LogisticRegression(expert="ftrl", bits=BITS)
    asked = [model.ask({"x": i}) for i in range(5)]
    for prediction in asked[:3]:
        model.learn(prediction, True)
    model.drop(asked[3])
    assert model._state.counters[[ASKED, LEARNED, DROPPED]].tolist() == [5, 3, 1]


@pytest.mark.parametrize("value", [[1], {"a": 1}, (1,), 1j, b"x", np.zeros(2), pd.Timestamp("2026-01-01"), pd.NaT])
def test_what_is_no_feature_is_refused_by_name_and_changes_nothing(value):
    model = new_model()
    model.learn_one({"a": 1.0}, 1)
    before = model.sha256
    for refused in (
        lambda x: model.ask(x),
        lambda x: model.learn_one(x, 1),
        lambda x: model.predict_proba_one(x),
    ):
        with pytest.raises(TypeError, match="feature 'place' is a "):
            refused({"a": 2.0, "new": 1.0, "place": value})
    assert model.sha256 == before
    assert "new" not in model._columns
