"""Learning against FTRL-Proximal on dicts, against finite differences and scikit-learn, and under bad input."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression as ScikitLogisticRegression

from models.features import columns_of_dict
from models.kernels.ftrl import ftrl_learn, ftrl_logit
from models.kernels.layout import VALUE, new_scratch
from models.learner import make_settings, new_state_of
from models.logistic_regression import LogisticRegression
from tests.models.reference import FTRL

compiled = settings(deadline=None)

names = st.sampled_from([f"f{i}" for i in range(12)])
sparse = st.dictionaries(names, st.one_of(st.sampled_from(["x", "y"]), st.floats(-100, 100)), max_size=8)
steps = st.tuples(sparse, st.booleans(), st.sampled_from([1.0, 1.0, 1.0, 0.0, 0.25, 7.0]), st.integers(0, 10))
penalties = st.sampled_from([0.0, 0.05, 0.4, 2.0])
extreme = st.one_of(
    st.floats(),
    st.sampled_from([1e308, -1e308, 5e-324, 1e-160, 1e-150, 1e15, math.inf, math.nan, 10**400, -(10**400), None, "x"]),
)


def reference_of(model):
    alpha, beta = (0.3 if model.alpha is None else model.alpha), (1.0 if model.beta is None else model.beta)
    return FTRL(alpha=alpha, beta=beta, l1=model.l1, l2=model.l2, bias=1 << model.bits)


def pairs(prediction):
    return list(zip(prediction.slots.tolist(), prediction.values.tolist(), strict=True))


def weight_of(model, name):
    """The weight of a feature alone, as the difference that it makes."""
    with_it, without = model._score(columns_of_dict({name: "x"}, ())), model._score(columns_of_dict({}, ()))
    return float(with_it[0] - without[0])


@compiled
@given(
    stream=st.lists(steps, min_size=1, max_size=40),
    bits=st.sampled_from([1, 2, 12]),  # with few, features of one event share slots
    alpha=st.sampled_from([0.05, 0.2, 1.0]),
    beta=st.sampled_from([0.0, 0.1, 1.0]),
    l1=penalties,
    l2=penalties,
)
def test_equals_the_paper_to_the_bit_with_labels_in_any_order(stream, bits, alpha, beta, l1, l2):
    model = LogisticRegression(expert="ftrl", bits=bits, alpha=alpha, beta=beta, l1=l1, l2=l2)
    reference, waiting = reference_of(model), []
    for x, label, weight, delay in stream:
        prediction = model.ask(x)
        assert prediction.logit == reference.logit(pairs(prediction))
        waiting.append((prediction, label, weight))
        if delay < len(waiting):
            prediction, label, weight = waiting.pop(delay)
            model.learn(prediction, label, weight)
            reference.learn(pairs(prediction), label, weight)
    np.testing.assert_array_equal(
        model._state.weights[[*reference.z], 0], np.array([*reference.z.values()], np.float64)
    )
    np.testing.assert_array_equal(
        model._state.weights[[*reference.n], 1], np.array([*reference.n.values()], np.float64)
    )


def test_equals_the_paper_over_a_long_stream():
    rng = np.random.default_rng(5)
    model = LogisticRegression(expert="ftrl", bits=4, l1=0.3, l2=0.02)
    reference = reference_of(model)
    for _ in range(3000):
        prediction = model.ask({f"f{i}": "x" for i in rng.integers(0, 40, 5)})
        assert prediction.logit == reference.logit(pairs(prediction))
        label = bool(rng.random() < 0.3)
        model.learn(prediction, label)
        reference.learn(pairs(prediction), label)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_the_gradient_is_that_of_the_log_loss(label):
    # with beta + sqrt(n) = alpha a weight is -z, and n grows by the squared gradient
    rng = np.random.default_rng(11)
    bits, alpha, n = 4, 1.0, 2.0**-24
    constants = make_settings("ftrl", alpha=alpha, beta=alpha - math.sqrt(n))
    slots = np.arange(1 << bits, -1, -3).astype(np.int64)
    scratch = new_scratch(len(slots))
    values = scratch[VALUE]
    values[: len(slots)] = rng.uniform(0.5, 2, len(slots)) * rng.choice([-1, 1], len(slots))
    state = new_state_of(constants, bits=bits, numbers=())
    state.weights[slots, 0] = rng.integers(-128, 128, len(slots)) / 128
    state.weights[slots, 1] = n

    def log_loss(slot, change):
        state.weights[slot, 0] -= change  # exact: multiples of 2^-10
        logit = ftrl_logit(state.weights, constants, slots, values, len(slots), scratch)
        state.weights[slot, 0] += change
        return math.log1p(math.exp(-logit if label else logit))

    h = 2.0**-9
    gradients = [
        (8 * (log_loss(s, h) - log_loss(s, -h)) - (log_loss(s, 2 * h) - log_loss(s, -2 * h))) / (12 * h) for s in slots
    ]
    before = state.weights.copy()
    logit = ftrl_logit(state.weights, constants, slots, values, len(slots), scratch)
    ftrl_learn(state.weights, state.dirty, constants, slots, values, len(slots), logit, label, 1.0, scratch)
    moved = state.weights.astype(float) - before
    np.testing.assert_allclose(np.sqrt(moved[slots, 1]), np.abs(gradients), rtol=1e-6)
    np.testing.assert_array_equal(np.sign(-moved[slots, 0]), -np.sign(gradients))


def test_repeated_passes_arrive_at_scikit_learns_solution():
    rng = np.random.default_rng(2)
    x = rng.integers(0, 2, (600, 4)).astype(bool)
    y = rng.random(600) < 1 / (1 + np.exp(-(x @ [1.5, -2.0, 0.5, 0.0] - 0.3)))
    frame = pd.DataFrame(x, columns=list("abcd"))
    model = LogisticRegression(expert="ftrl", bits=16, alpha=0.1)
    for _ in range(200):
        order = rng.permutation(len(frame))
        model.learn_many(frame.iloc[order], y[order])
    oracle = ScikitLogisticRegression(C=np.inf, tol=1e-8).fit(x, y)
    np.testing.assert_allclose(model.predict_proba_many(frame)[True], oracle.predict_proba(x)[:, 1], atol=0.005)


def test_l1_gives_exact_zeros_and_returns_to_them():
    model = LogisticRegression(expert="ftrl", bits=12, l1=1.0)
    model.learn_one({"rare": "x"}, True)
    assert weight_of(model, "rare") == 0.0  # one gradient of a half stays below the bound
    for _ in range(8):
        model.learn_one({"a": "x"}, True)
    assert weight_of(model, "a") > 0.1
    z = [model._state.weights[:-1, 0].copy()]
    seen = []
    for _ in range(12):
        model.learn_one({"a": "x"}, False)
        seen.append(weight_of(model, "a"))
    assert 0.0 in seen
    assert min(seen) < 0.0 < max(seen)  # through zero and out on the other side
    assert z[0].any()


def test_stronger_l1_keeps_fewer_weights():
    rng = np.random.default_rng(8)
    kept = []
    for l1 in (0.0, 0.5, 2.0, 8.0):
        model = LogisticRegression(expert="ftrl", bits=12, l1=l1)
        for _ in range(400):
            i = int(rng.integers(0, 60))
            model.learn_one({f"f{i}": "x"}, bool(rng.random() < (0.9 if i < 5 else 0.5)))
        kept.append(sum(weight_of(model, f"f{i}") != 0.0 for i in range(60)))
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == 60
    assert kept[-1] == 0


@pytest.mark.parametrize("penalty", [{"l1": 1e6}, {"l2": 1e12}])
@compiled
@given(stream=st.lists(st.tuples(sparse, st.booleans()), min_size=1, max_size=20))
def test_penalties_never_touch_the_bias(penalty, stream):
    penalised, base_rate = (
        LogisticRegression(expert="ftrl", bits=12, **penalty),
        LogisticRegression(expert="ftrl", bits=12),
    )
    for x, label in stream:
        penalised.learn_one({**x, "constant": "x"}, label)
        base_rate.learn_one({}, label)
    assert penalised.predict_proba_one({})[True] == pytest.approx(base_rate.predict_proba_one({})[True], rel=1e-9)
    assert abs(weight_of(penalised, "constant")) < 1e-9


@pytest.mark.parametrize("logit", [-1e4, 1e4, -720.0, 745.2])
def test_certainty_does_not_overflow(logit):
    model = LogisticRegression(expert="ftrl", bits=12)
    model._state.weights[-1] = (-logit / 0.3, 0.0)
    prediction = model.ask({"a": "x"})
    assert prediction.logit == pytest.approx(logit)
    assert prediction.probability == (1.0 if logit > 0 else pytest.approx(math.exp(logit), rel=1e-9, abs=0))
    right, wrong = logit > 0, logit < 0
    before = model._state.weights[:, 0].copy()
    model.learn(prediction, right)
    np.testing.assert_allclose(model._state.weights[:, 0], before, rtol=0, atol=1e-300)  # -720: a subnormal gradient
    model.learn(prediction, wrong)
    assert np.isfinite(model._state.weights).all()
    assert abs(model.ask({"a": "x"}).logit) < abs(logit)


@compiled
@given(
    stream=st.lists(
        st.tuples(st.dictionaries(names, extreme, max_size=6), st.booleans(), st.one_of(st.floats(0, 1e9), extreme)),
        max_size=40,
    ),
    beta=st.sampled_from([0.0, 1e-300, 1.0]),
    l1=penalties,
    l2=penalties,
)
def test_nothing_poisons_the_model(stream, beta, l1, l2):
    model = LogisticRegression(expert="ftrl", bits=4, beta=beta, l1=l1, l2=l2)
    for x, label, weight in stream:
        before = model.sha256
        try:
            model.learn_one(x, label, weight)
        except ValueError:
            assert not isinstance(weight, int | float) or not 0 <= weight <= 1e9
            assert model.sha256 == before
        assert 0 <= model.predict_proba_one(x)[True] <= 1
    for array in (model._state.weights, model._state.statistics):
        assert np.isfinite(array).all()


def test_gradients_too_small_for_float32_are_survived_without_beta():
    model = LogisticRegression(expert="ftrl", bits=4, beta=0.0)
    for weight in (1e-30, 1e-22, 1.0):
        model.learn_one({"a": "x"}, True, weight)
        assert np.isfinite(model.ask({"a": "x"}).logit)


BAD_LABELS = [None, 2, -1, 0.5, math.nan, "1", "True", pd.NA, np.array([1, 0]), [1]]
BAD_WEIGHTS = [-1.0, -5e-324, math.nan, math.inf, 1.1e9, 10**400, "1", None, pd.NA]


@pytest.mark.parametrize("y", BAD_LABELS, ids=repr)
def test_a_bad_label_is_refused_and_changes_nothing(y):
    model = LogisticRegression(expert="ftrl", bits=12)
    prediction, before = model.ask({"a": 1.0}), model.sha256
    frame = pd.DataFrame({"a": [1.0, 2.0], "new": [3.0, 4.0]})
    for refused in (
        lambda: model.learn_one({"a": 3.0, "new": 1.0}, y),
        lambda: model.learn(prediction, y),
        lambda: model.learn_many(frame, [1, y]),
    ):
        with pytest.raises(ValueError, match="a label is True or False, 1 or 0, not "):
            refused()
    assert model.sha256 == before
    assert "new" not in model._columns


@pytest.mark.parametrize("w", BAD_WEIGHTS, ids=lambda w: repr(w)[:10])
def test_a_bad_weight_is_refused_and_changes_nothing(w):
    model = LogisticRegression(expert="ftrl", bits=12)
    prediction, before = model.ask({"a": 1.0}), model.sha256
    frame = pd.DataFrame({"a": [1.0, 2.0], "new": [3.0, 4.0]})
    for refused in (
        lambda: model.learn_one({"a": 3.0, "new": 1.0}, 1, w),
        lambda: model.learn(prediction, 1, w),
        lambda: model.learn_many(frame, [1, 0], [1.0, w]),
    ):
        with pytest.raises(ValueError, match="a weight is a number from 0 to 1e"):
            refused()
    assert model.sha256 == before


def test_columns_that_do_not_match_are_refused_and_change_nothing():
    model = LogisticRegression(expert="ftrl", bits=12)
    before = model.sha256
    with pytest.raises(ValueError, match="2 rows, 1 labels, 1 weights"):
        model.learn_many(pd.DataFrame({"a": [1.0, 2.0]}), [1])
    with pytest.raises(ValueError, match="2 rows, 2 labels, 3 weights"):
        model.learn_many(pd.DataFrame({"a": [1.0, 2.0]}), [1, 0], [1, 1, 1])
    assert model.sha256 == before
    assert model._columns == {}


@pytest.mark.parametrize("y", [True, 1, 1.0, np.bool_(True), np.int8(1), np.float32(1)], ids=repr)
def test_every_spelling_of_a_label_is_one_label(y):
    one, other = LogisticRegression(expert="ftrl", bits=12), LogisticRegression(expert="ftrl", bits=12)
    one.learn_one({"a": 1.0}, True)
    other.learn_one({"a": 1.0}, y)
    assert one.sha256 == other.sha256


def test_a_prediction_of_a_model_with_other_bits_is_refused():
    large, small = LogisticRegression(expert="ftrl", bits=12), LogisticRegression(expert="ftrl", bits=2)
    with pytest.raises(ValueError, match="other bits or another expert than 2"):
        small.learn(large.ask({"a": "x"}), True)
    assert small.sha256 == LogisticRegression(expert="ftrl", bits=2).sha256


@pytest.mark.parametrize(
    "parameters",
    [
        {"alpha": 0},
        {"alpha": -1},
        {"alpha": math.nan},
        {"alpha": math.inf},
        {"beta": -1},
        {"beta": math.inf},
        {"l1": -1},
        {"l2": math.nan},
        {"bits": 0},
        {"bits": 31},
    ],
    ids=str,
)
def test_impossible_parameters_are_refused(parameters):
    with pytest.raises(ValueError, match=f"{next(iter(parameters))}.* must"):
        LogisticRegression(expert="ftrl", **parameters)


def test_a_weight_counts_as_often_as_it_says():
    light, heavy, none = (LogisticRegression(expert="ftrl", bits=12) for _ in range(3))
    for model, weight in ((light, 1.0), (heavy, 3.0), (none, 0.0)):
        model.learn_one({"a": "x"}, True, weight)
    assert heavy._state.weights[-1].tolist() == [-1.5, 2.25]
    assert light._state.weights[-1].tolist() == [-0.5, 0.25]
    assert none._state.weights.any() == np.False_


def test_a_label_changes_the_next_prediction():
    model = LogisticRegression()
    before = model.predict_proba_one({"a": "x"})[True]
    model.learn_one({"a": "x"}, True)
    assert model.predict_proba_one({"a": "x"})[True] > before == 0.5
