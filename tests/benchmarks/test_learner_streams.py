"""The learner's streams and harness: order of labels and figures, against river's own and against hand counts."""

import hashlib
import json
import math
from datetime import UTC, datetime
from itertools import islice

import numpy as np
import pytest
from river import compose, datasets, evaluate, linear_model, metrics, optim, preprocessing, stream
from sklearn.metrics import f1_score

from benchmarks.delays import actions, calibration_error, delays_of, log_loss, play, roc_auc
from benchmarks.learner_held_out import HELD_OUT
from benchmarks.learner_peers import BaseRate, Encoded, River, Riverd, Standardised, vw_line
from benchmarks.learner_streams import DEVELOPMENT, WINDOW_S, Stream, flight_features, load
from benchmarks.learner_table import Cell, goals, overview, worse_than_base_rate
from riverd.flights import Departure


def published():
    return preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.005))


def numbered(rows):
    return Stream([{"x": float(i)} for i in range(rows)], [i % 3 == 0 for i in range(rows)])


class Diary:
    """Writes down what it is told; its predictions are the events' numbers."""

    def __init__(self):
        self.lines = []

    def ask(self, x):
        self.lines.append(("ask", x["x"]))
        return Said(x["x"])

    def learn(self, prediction, y):
        self.lines.append(("learn", prediction.x, y))

    def drop(self, prediction):
        self.lines.append(("drop", prediction.x))


class Said:
    def __init__(self, x):
        self.x, self.probability = x, 0.25


@pytest.mark.parametrize("delay", ["0", "1", "50", "500"])
def test_labels_come_in_the_order_in_which_river_reveals_them(delay):
    events = numbered(200)
    pairs = zip(events.x, events.y, strict=True)
    revealed = [(y is not None, i) for i, _, y in stream.simulate_qa(pairs, moment=None, delay=int(delay))]
    assert [(what == "learn", i) for what, i in actions(events, delay)] == revealed


def test_log_normal_delays_are_sorted_by_river_alike():
    events = numbered(3000)
    late = np.random.default_rng(150).lognormal(math.log(150), 1.5, 3000)
    pairs = zip(events.x, events.y, strict=True)
    revealed = stream.simulate_qa(pairs, moment=None, delay=lambda x, _: late[int(x["x"])])
    assert [(what == "learn", i) for what, i in actions(events, "lognormal")] == [
        (y is not None, i) for i, _, y in revealed
    ]
    assert 130 < np.median(late) < 170


def test_real_times_drop_what_no_label_comes_for():
    asked, due = np.array([0.0, 0.0, 10.0, 20.0]), np.array([10.0, math.inf, 55.0, 21.0])
    events = Stream([{}] * 4, [True] * 4, asked, due, window=30.0)
    assert list(actions(events, "real")) == [
        ("ask", 0), ("ask", 1), ("learn", 0), ("ask", 2), ("ask", 3), ("learn", 3), ("drop", 1), ("drop", 2),
    ]  # fmt: skip


def test_a_label_goes_to_the_prediction_made_when_its_event_was_asked():
    made = []

    def make():
        made.append(Diary())
        return made[-1]

    asked, due = np.arange(4.0), np.array([3.0, math.inf, 2.5, 9.0])
    events = Stream([{"x": i} for i in range(4)], [True, False, False, True], asked, due, window=7.0)
    run = play(make, events, "real")
    assert made[-1].lines == [
        ("ask", 0), ("ask", 1), ("ask", 2), ("learn", 2, False), ("learn", 0, True), ("ask", 3),
        ("drop", 1), ("learn", 3, True),
    ]  # fmt: skip
    assert run.y.tolist() == [True, False, True]
    assert run.p.tolist() == [0.25] * 3
    assert run.events == 4


@pytest.mark.parametrize("delay", ["0", "50"])
def test_a_river_model_scores_as_in_progressive_val_score(delay):
    run = play(lambda: River(published()), load("phishing"), delay)
    expected = evaluate.progressive_val_score(datasets.Phishing(), published(), metrics.LogLoss(), delay=int(delay))
    assert log_loss(run.y, run.p) == pytest.approx(expected.get(), abs=1e-12)


@pytest.mark.parametrize(("name", "accuracy", "f1"), [("phishing", 0.8872, 0.871233), ("bananas", 0.543208, 0.197015)])
def test_river_s_published_figures_come_out(name, accuracy, f1):
    run = play(lambda: River(published()), load(name), "0")
    assert float(((run.p > 0.5) == run.y).mean()) == pytest.approx(accuracy, abs=5e-7)
    assert f1_score(run.y, run.p > 0.5) == pytest.approx(f1, abs=5e-7)


def test_the_base_rate_counts_only_labels_that_have_come():
    run = play(BaseRate, Stream([{}] * 5, [True, True, False, True, False]), "2")
    assert run.p.tolist() == [0.5, 0.5, 1.5 / 2, 2.5 / 3, 2.5 / 4]


def test_standardised_is_river_s_scaler_beside_its_one_hot_encoder():
    numbers = compose.SelectType(float) | preprocessing.StandardScaler()
    plain = numbers + (compose.SelectType(str) | preprocessing.OneHotEncoder()) | linear_model.LogisticRegression()
    ours = Standardised() | linear_model.LogisticRegression()
    rng = np.random.default_rng(1)
    for _ in range(300):
        x = {"a": float(rng.normal(5, 3)), "b": float(rng.lognormal()), "c": "uvw"[rng.integers(3)]}
        y = bool(rng.random() < (0.8 if x["c"] == "u" else 0.2))
        assert ours.predict_proba_one(x)[True] == pytest.approx(plain.predict_proba_one(x)[True], abs=1e-12)
        ours.learn_one(x, y)
        plain.learn_one(x, y)
    u, v = (ours.predict_proba_one({"a": 5.0, "b": 1.0, "c": c})[True] for c in "uv")
    assert u - v > 0.1  # the category was learned at all


def test_with_hats_peers_learn_from_the_values_of_riverd():
    encoded, model = Encoded(), Riverd()
    for x, _ in islice(datasets.Bananas(), 50):
        features, prediction = encoded(x), model.ask(x)
        expected = dict(zip(prediction.slots.tolist(), prediction.values.tolist(), strict=True))
        assert expected.pop(prediction.bias) == 1.0
        assert features == expected
    assert len(features) == 6  # two numbers, two hats each


def test_experts_are_judged_by_what_they_said_when_asked():
    run = play(Riverd, load("phishing"), "50")
    assert run.experts.shape == (1250, 7)
    prior = play(BaseRate, load("phishing"), "50").p
    np.testing.assert_allclose(run.experts[:, 6], prior, atol=1e-6)  # the last expert is the base rate


def test_a_line_of_vowpal_wabbit():
    x = {"a b": 1.5, "c": "x:y z|", "d": True, "e": None, 7: 0.25}
    assert vw_line(x) == "| a_b:1.5 c=x_y_z_ d=True e=None 7:0.25"


def test_figures_by_hand():
    y, p = np.array([True, False, True, False]), np.array([0.9, 0.2, 0.6, 0.0])
    assert log_loss(y, p) == pytest.approx(-(math.log(0.9) + math.log(0.8) + math.log(0.6)) / 4)
    assert log_loss(np.array([True]), np.array([0.0])) == pytest.approx(15 * math.log(10))
    assert roc_auc(y, p) == 1.0
    assert math.isnan(roc_auc(y | True, p))
    assert log_loss(y, np.array([0.5, 0.5, math.nan, 0.5])) == math.inf
    # 15 bins of two: one of them is off by .5 on both, the others by nothing
    sure = np.repeat(np.arange(15) / 15, 2)
    labels = np.tile([False, True], 15)
    assert calibration_error(labels, np.full(30, 0.5)) == pytest.approx(0.0)
    assert calibration_error(labels, sure) == pytest.approx(np.abs(sure - 0.5).mean())


SHARES = {
    "rare": (0.0008, 0.0012),
    "bursts": (0.01, 0.05),
    "ar1_intercept": (0.2, 0.5),
    "image_segments": (0.57, 0.572),
}


@pytest.mark.parametrize("name", SHARES)
def test_a_stream_is_what_it_is_called(name):
    y = np.array(load(name).y)
    low, high = SHARES[name]
    assert low <= y.mean() <= high
    if name == "bursts":
        assert y[1:][y[:-1]].mean() > 10 * y.mean()  # one positive tells of the next


@pytest.mark.parametrize("name", [*DEVELOPMENT, *HELD_OUT])
def test_a_stream_is_the_same_whenever_it_is_made(name):
    make = {**DEVELOPMENT, **HELD_OUT}[name]

    def digest():
        return hashlib.sha256(json.dumps(list(islice(make(), 2000))).encode()).hexdigest()

    assert digest() == digest()
    for x, y in islice(make(), 3):
        assert type(y) is bool
        assert all(type(feature) is str for feature in x)
        assert all(type(value) in (str, bool, int, float, type(None)) for value in x.values())


def test_held_out_streams_are_others():
    assert not {*DEVELOPMENT, "flights"} & HELD_OUT.keys()
    assert len(HELD_OUT) >= 4


def test_delays_leave_enough_of_a_stream():
    assert delays_of(numbered(11_111)) == ("0", "50", "500", "lognormal")
    assert delays_of(numbered(11_112)) == ("0", "50", "500", "5000", "lognormal")


def test_a_flight_has_the_demo_s_features():
    weather = dict.fromkeys(("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"))
    at = datetime(2013, 7, 1, 23, 10, tzinfo=UTC)
    x = flight_features(Departure("f1", at, "UA", "EWR", "ORD", 719, 110, **weather))
    assert x.pop("temp") is None
    assert {k: v for k, v in x.items() if v is not None} == {
        "carrier": "UA", "origin": "EWR", "dest": "ORD", "hour": "23", "weekday": "0", "carrier*origin": "UA*EWR",
        "origin*hour": "EWR*23", "carrier*dest": "UA*ORD", "distance": 719, "planned_minutes": 110,
    }  # fmt: skip
    assert WINDOW_S == 129_600


def test_means_are_geometric_and_only_peers_compete():
    def cell(stream_name, model, logloss, experts=()):
        return Cell(stream_name, "50", model, None, "", 100, 100, logloss, 0.7, 0.01, 1e4, list(experts))

    cells = [
        cell("a", "riverd", 0.2, [0.4, 0.1]),
        cell("a", "river", 0.4),
        cell("a", "riverd ftrl", 0.01),
        cell("a", "base rate", 0.1),
        cell("b", "riverd", 0.2, [0.4, 0.4]),
        cell("b", "river", 0.1),
        cell("b", "VW", 0.3),
        cell("b", "base rate", 0.8),
    ]
    (row,) = goals(cells, title="").rows
    assert row == ("50", "2", "1.000", "1.00", "1.000", "1 of 2", "0.707")
    lines = {
        line[0]: dict(zip(overview(cells, title="").header[:11], line[:11], strict=True))
        for line in overview(cells, title="").rows
    }
    assert (lines["a"]["best expert"], lines["a"]["/ expert"], lines["a"]["best peer"]) == ("0.1000", "2.000", "river")
    assert worse_than_base_rate(cells).endswith("on: a at 50 (2.00)")
