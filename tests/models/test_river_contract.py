"""River's own checks, none skipped, and what they leave unsaid."""

import pickle

import pytest
from river import datasets
from river.checks import yield_checks

from models.logistic_regression import LogisticRegression

CHECKS = [
    (check, params)
    for params in LogisticRegression._unit_test_params()
    for check in yield_checks(LogisticRegression(**params))
]
PHISHING = list(datasets.Phishing().take(150))


def trained(rows=PHISHING, **params):
    model = LogisticRegression(bits=12, **params)
    for x, y in rows:
        model.learn_one(x, y)
    return model


@pytest.mark.parametrize(
    ("check", "params"), CHECKS, ids=[f"{i}-{check.__name__}" for i, (check, _) in enumerate(CHECKS)]
)
def test_river_check(check, params):
    check(LogisticRegression(**params).clone())


def test_no_check_is_skipped():
    assert not LogisticRegression()._unit_test_skips()
    names = {check.__name__ for check, _ in CHECKS}
    assert {"check_learn_many_matches_learn_one", "check_predict_one_pure", "check_pickling"} <= names


def test_probabilities_are_of_false_and_true_alone():
    for model in (LogisticRegression(bits=12), trained()):
        forecast = model.predict_proba_one(PHISHING[0][0])
        assert [type(key) for key in forecast] == [bool, bool]
        assert list(forecast) == [False, True]
        assert {type(p) for p in forecast.values()} == {float}
        assert sum(forecast.values()) == 1
        assert type(model.predict_one(PHISHING[0][0])) is bool


def test_learning_returns_nothing():
    model = LogisticRegression(bits=12)
    prediction = model.ask({"a": 1})
    assert model.learn(prediction, True) is None
    assert model.drop(prediction) is None
    assert model.learn_one(x={"a": 1}, y=True) is None
    assert model.learn_one({"a": 1}, True, w=2.0) is None


def test_predicting_changes_no_byte():
    for model in (LogisticRegression(bits=12), trained()):
        before = pickle.dumps(model)
        for x in ({}, {"new": 1.0}, {"new": None, "other": "x"}, PHISHING[0][0]):
            model.predict_proba_one(x)
            model.predict_one(x)
        assert pickle.dumps(model) == before


def test_pickles_are_deterministic_and_go_on_equally():
    one, other = trained(crosses=[("a", "b")]), trained(crosses=[("a", "b")])
    assert pickle.dumps(one) == pickle.dumps(other)
    restored = pickle.loads(pickle.dumps(one))
    assert pickle.dumps(restored) == pickle.dumps(one)
    for x, y in PHISHING[:30]:
        assert restored.ask(x).logit == one.ask(x).logit
        restored.learn_one(x, y)
        one.learn_one(x, y)
    assert restored.sha256 == one.sha256


def test_clones_are_untrained_and_equal_to_the_byte():
    model = trained(expert="ftrl", l1=0.1, crosses=(("a", "b"),))
    assert pickle.dumps(model.clone()) == pickle.dumps(
        LogisticRegression(bits=12, expert="ftrl", l1=0.1, crosses=(("a", "b"),))
    )
    copy = model.clone(include_attributes=True)
    assert copy.sha256 == model.sha256
    copy.learn_one(*PHISHING[0])
    assert copy.sha256 != model.sha256


def test_a_prediction_survives_a_pickle():
    direct, travelled = trained(), trained()
    direct.learn(direct.ask({"a": 1.0, "b": "x"}), True)
    travelled.learn(pickle.loads(pickle.dumps(travelled.ask({"a": 1.0, "b": "x"}))), True)
    assert travelled.sha256 == direct.sha256


def test_a_prediction_is_not_touched_by_later_questions():
    model = trained()
    prediction = model.ask(PHISHING[0][0])
    before = pickle.dumps(prediction)
    for x, y in PHISHING[:20]:
        model.learn_one(x, y)
    assert pickle.dumps(prediction) == before
