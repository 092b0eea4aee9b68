"""Dicts of a known shape take a short way; it must lead exactly where the long one does."""

import math
import pickle

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models import logistic_regression
from models.logistic_regression import LogisticRegression

compiled = settings(deadline=None)


class Text(str):
    __slots__ = ()


values = st.one_of(
    st.sampled_from(
        [True, False, 1, 0, 1.0, 0.0, -0.0, None, math.nan, math.inf, 10**400, -(10**19), 2**63, 1e16, 5e-324]
    ),
    st.sampled_from(["", "x", "1", "null", "\ud800", Text("x"), ["a", "b"], [], np.float32(0.5), np.bool_(True)]),
    st.floats(),
    st.integers(),
)
dicts = st.dictionaries(st.sampled_from(["a", "b", "c", "d", 7]), values, max_size=5)
streams = st.lists(st.tuples(dicts, st.booleans(), st.sampled_from([1.0, 0.0, 2.5, 3])), max_size=25)


def by_the_long_way(do):
    """Without any recipe."""
    before = logistic_regression.is_plain
    logistic_regression.is_plain = lambda *_: False
    try:
        return do()
    finally:
        logistic_regression.is_plain = before


@compiled
@given(stream=streams, expert=st.sampled_from(["mixture", "ftrl"]))
def test_the_short_way_is_the_long_way(stream, expert):
    short, long = (LogisticRegression(bits=6, expert=expert, crosses=[("a", "b")]) for _ in range(2))
    for x, label, weight in stream * 2:  # the second time all shapes are known
        assert short.predict_proba_one(x) == by_the_long_way(lambda x=x: long.predict_proba_one(x))
        short.learn_one(x, label, weight)
        by_the_long_way(lambda x=x, label=label, weight=weight: long.learn_one(x, label, weight))
    assert short.sha256 == long.sha256
    assert short.to_bytes() == long.to_bytes()


@compiled
@given(stream=streams)
def test_what_is_remembered_is_no_part_of_the_model(stream):
    model = LogisticRegression(bits=6)
    for x, label, weight in stream:
        model.learn_one(x, label, weight)
    before = pickle.dumps(model), model.to_bytes()
    for x, _, _ in stream:
        model.predict_proba_one(x)
    assert (pickle.dumps(model), model.to_bytes()) == before
    fresh = pickle.loads(before[0])
    assert [fresh.predict_proba_one(x) for x, _, _ in stream] == [model.predict_proba_one(x) for x, _, _ in stream]


def test_a_dict_that_changes_in_place_is_seen_as_it_is():
    model, other = LogisticRegression(bits=8), LogisticRegression(bits=8)
    x = {"a": "x", "n": 1.0}
    for value in (1.0, 2.0, 2.0, None, "y", 3.0, True, 1):
        x["n"] = value
        model.predict_proba_one(x)
        x["a"] = "z" if value == 2.0 else "x"
        model.learn_one(x, value == 2.0)
        other.learn_one(dict(x), value == 2.0)
    assert model.sha256 == other.sha256


def test_many_shapes_are_forgotten_again():
    model = LogisticRegression(bits=8)
    model.learn_one({"n": 1.0}, True)
    for i in range(2100):
        model.predict_proba_one({f"c{i}": "x", "n": 1.0})
    assert len(model._memory.recipes) <= 1024


def test_hashes_of_a_name_are_kept_once():
    model = LogisticRegression(bits=8)
    for i in range(50):
        model.predict_proba_one({"c": f"value {i}", f"other {i}": True})
    kept = model._memory._hashes
    assert len(kept["c"]) == 50
    assert (
        len({id(hashes) for recipe in model._memory.recipes.values() for name, hashes in recipe._hashes if name == "c"})
        == 1
    )


def test_a_plain_dict_does_take_the_short_way(monkeypatch):
    model = LogisticRegression(bits=8)
    x = {"a": "x", "b": True, "n": 1.0, "m": None, "k": 3}
    model.learn_one(x, True)
    monkeypatch.setattr(logistic_regression, "columns_of_dict", None)
    model.learn_one(x, False)
    model.predict_proba_one({**x, "a": "new", "n": math.nan, "k": -7})
