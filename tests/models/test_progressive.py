"""Quality on river's streams, with labels at once and late; and that the harness gives river's published figures."""

import math
import re

import pytest
from river import datasets, evaluate, linear_model, metrics, optim, preprocessing, stream

from models.logistic_regression import LogisticRegression


def progressive(dataset, model):
    return evaluate.progressive_val_score(dataset, model, metrics.LogLoss()).get()


def delayed(dataset, model, delay):
    """Log loss of the probabilities of question time, labels ``delay`` events late."""
    metric, asked = metrics.LogLoss(), {}
    for i, x, y in stream.simulate_qa(dataset, moment=None, delay=delay):
        if y is None:
            asked[i] = model.ask(x)
        else:
            prediction = asked.pop(i)
            metric.update(y, prediction.probability)
            model.learn(prediction, y)
    return metric.get()


def documented_figures():
    """The results that the docstring promises, in its order."""
    return [float(figure) for figure in re.findall(r"^ +(0\.\d{3,})$", LogisticRegression.__doc__, re.MULTILINE)]


@pytest.mark.parametrize(
    ("dataset", "accuracy", "f1"),
    [(datasets.Phishing, 0.887200, 0.871233), (datasets.Bananas, 0.543208, 0.197015)],
)
def test_the_harness_gives_rivers_published_figures(dataset, accuracy, f1):
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.005))
    result = evaluate.progressive_val_score(dataset(), model, metrics.Accuracy() + metrics.F1())
    assert [metric.get() for metric in result] == pytest.approx([accuracy, f1], abs=5e-7)


def test_the_documented_figures_are_reached():
    at_once, late = documented_figures()
    assert progressive(datasets.Phishing(), LogisticRegression()) == pytest.approx(at_once, abs=5e-5)
    assert delayed(datasets.Phishing(), LogisticRegression(), 100) == pytest.approx(late, abs=5e-5)


def test_it_beats_rivers_scaled_logistic_regression():
    theirs = preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.005))
    ours = progressive(datasets.Phishing(), LogisticRegression())
    assert ours < progressive(datasets.Phishing(), theirs)


def test_ask_and_learn_equal_progressive_validation_without_delay():
    model, by_hand = LogisticRegression(), LogisticRegression()
    loss, metric = progressive(datasets.Phishing(), model), metrics.LogLoss()
    for x, y in datasets.Phishing():
        prediction = by_hand.ask(x)
        metric.update(y, prediction.probability)
        by_hand.learn(prediction, y)
    assert metric.get() == loss
    assert by_hand.sha256 == model.sha256


@pytest.mark.parametrize("delay", [1, 100, 2000])
def test_late_labels_are_learned_as_they_were_asked(delay):
    rows, model, asked, metric = list(datasets.Phishing()), LogisticRegression(), {}, metrics.LogLoss()

    def answer(j):
        metric.update(rows[j][1], asked[j].probability)
        model.learn(asked[j], rows[j][1])

    for i, (x, _) in enumerate(rows):
        if i >= delay:
            answer(i - delay)  # equal times: the label comes first
        asked[i] = model.ask(x)
    for j in range(max(0, len(rows) - delay), len(rows)):
        answer(j)

    other = LogisticRegression()
    assert delayed(rows, other, delay) == metric.get()
    assert other.sha256 == model.sha256


def test_without_any_label_every_probability_is_a_half():
    model = LogisticRegression()
    assert {model.ask(x).probability for x, _ in datasets.Phishing()} == {0.5}


@pytest.mark.parametrize(("unit", "within"), [(1e6, 1e-4), (1e-6, 1e-4), (-0.3, 6e-3)])  # mirrored, another sample
def test_units_of_numbers_hardly_matter(unit, within):
    rows = list(datasets.Phishing())
    expected = progressive(rows, LogisticRegression())
    for changed in (["age_of_domain"], list(rows[0][0])):
        converted = [({**x, **{name: x[name] * unit for name in changed}}, y) for x, y in rows]
        assert converted != rows
        assert progressive(converted, LogisticRegression()) == pytest.approx(expected, abs=within)


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_a_log_normal_tail_costs_less_than_a_hundredth(sigma):
    rows = list(datasets.Bananas().take(3000))
    expected = progressive(rows, LogisticRegression())
    for changed in ([name] for name in rows[0][0]):
        tailed = [({**x, **{name: math.exp(sigma * x[name]) for name in changed}}, y) for x, y in rows]
        assert progressive(tailed, LogisticRegression()) < 1.01 * expected


def test_an_absurd_offset_is_survived():
    rows = [({name: value + 1e9 for name, value in x.items()}, y) for x, y in datasets.Phishing()]
    assert progressive(rows, LogisticRegression()) < 0.45
