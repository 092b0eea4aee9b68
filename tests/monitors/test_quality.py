"""Figures from bins against scikit-learn on the scores themselves, and against textbook formulas."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta
from sklearn.metrics import average_precision_score, log_loss, precision_score, recall_score, roc_auc_score

from monitors import calibration, metrics
from monitors.bins import Tally, tally
from monitors.calibration import GROUPS, ece, observed_expected, reliability, spiegelhalter_z
from monitors.kernels import BINS, BINS_PER_LOGIT, LOWEST_LOGIT, bin_of
from monitors.metrics import average_precision, decisions, logloss, normalized_entropy, roc_auc
from monitors.quality import METRICS, quality

compiled = settings(deadline=None)  # whichever test comes first waits for numba
NOTHING = tally(logit=[], label=[])


def calibrated(n, *, mean=-4.4, spread=1.0, seed=7):
    rng = np.random.default_rng(seed)
    logit = rng.normal(mean, spread, n)
    return logit, (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(int)


outcomes = st.lists(st.tuples(st.floats(-30, 30), st.integers(0, 1)), min_size=2, max_size=80).filter(
    lambda stream: len({y for _, y in stream}) == 2
)


@compiled
@given(outcomes)
def test_logloss_and_auc_agree_with_scikit_learn(stream):
    logit, label = np.array([s for s, _ in stream]), np.array([y for _, y in stream])
    judged = quality(tally(logit=logit, label=label))
    stable = np.logaddexp(0, np.where(label == 1, -logit, logit)).mean()
    assert judged.logloss == pytest.approx(stable, rel=1e-12, abs=1e-14)
    assert abs(judged.roc_auc - roc_auc_score(label, logit)) <= judged.roc_auc_bound + 1e-12
    assert judged.positive_rate == label.mean()


@pytest.mark.parametrize(("mean", "spread"), [(-4.4, 1.0), (-4.4, 1.5), (0.0, 2.0), (-1.0, 1.0)])
def test_agrees_with_scikit_learn_on_streams_like_ours(mean, spread):
    logit, label = calibrated(20_000, mean=mean, spread=spread)
    judged = quality(tally(logit=logit, label=label))
    base = np.full(len(label), label.mean())
    assert judged.logloss == pytest.approx(log_loss(label, 1 / (1 + np.exp(-logit))), rel=1e-12)
    assert judged.normalized_entropy == pytest.approx(judged.logloss / log_loss(label, base), rel=1e-12)
    assert judged.roc_auc == pytest.approx(roc_auc_score(label, logit), abs=2e-4)
    assert judged.average_precision == pytest.approx(average_precision_score(label, logit), abs=1e-3)
    assert judged.observed_expected == pytest.approx(label.sum() / (1 / (1 + np.exp(-logit))).sum(), rel=1e-12)


@compiled
@given(st.sets(st.integers(0, BINS - 1), min_size=2, max_size=100), st.randoms(use_true_random=False))
def test_ranks_are_exact_when_no_bin_is_shared(places, random):
    logit = np.array([-16 + (place + 0.5) / 16 for place in places])
    label = [0, 1, *(random.randint(0, 1) for _ in range(len(places) - 2))]
    judged = quality(tally(logit=logit, label=label))
    assert judged.roc_auc == pytest.approx(roc_auc_score(label, logit), abs=1e-12)
    assert judged.roc_auc_bound == 0
    assert judged.average_precision == pytest.approx(average_precision_score(label, logit), abs=1e-12)


def test_auc_error_is_delongs():
    logit, label = calibrated(400, mean=-1.0)
    place = np.array([bin_of(s) for s in logit])
    wins = np.subtract.outer(place[label == 1], place[label == 0])
    wins = (wins > 0) + 0.5 * (wins == 0)
    m, n = wins.shape
    expected = math.sqrt(wins.mean(axis=1).var(ddof=1) / m + wins.mean(axis=0).var(ddof=1) / n)
    area, _, error = roc_auc(tally(logit=logit, label=label))
    assert area == pytest.approx(wins.mean(), abs=1e-12)
    assert error == pytest.approx(expected, rel=1e-9)


@compiled
@given(st.integers(1, 3000), st.integers(0, 3000), st.integers(0, 50), st.integers(1, 3000))
def test_average_precision_of_crowded_bins_equals_the_sum_over_positives(positives, negatives, above, others):
    counts = np.zeros((BINS, 2), dtype=np.int64)
    counts[300] = negatives, positives
    counts[400] = others, above
    total = sum(i / (i + others * (i - 0.5) / above) for i in range(1, above + 1))
    for i in range(1, positives + 1):
        total += (above + i) / (above + others + i + negatives * (i - 0.5) / positives)
    judged = Tally(0, 0, counts, np.zeros((BINS, 2)))
    assert average_precision(judged) == pytest.approx(total / (positives + above), abs=1e-5)


@pytest.mark.parametrize("spread", [1.5, 0.1])  # bins of less and of more than a fifteenth
def test_ece_groups_hold_equal_mass(spread):
    logit, label = calibrated(3_000, mean=-1.0, spread=spread)
    probability = 1 / (1 + np.exp(-logit))
    place = np.array([bin_of(s) for s in logit])
    gap, group, left = 0.0, [], len(logit)
    for j in sorted(set(place)):
        group += np.flatnonzero(place == j).tolist()
        left -= int((place == j).sum())
        # closed by the bin with which the share of a further fifteenth is reached
        before = math.floor(15 * (len(logit) - left - len(group)) / len(logit))
        if 15 * (len(logit) - left) >= (before + 1) * len(logit):
            gap += abs(label[group].sum() - probability[group].sum())
            group = []
    assert not group
    assert ece(tally(logit=logit, label=label)).observed == pytest.approx(gap / len(logit), rel=1e-9)


@pytest.mark.parametrize(
    ("n", "mean", "spread"), [(200, -4.4, 1.0), (1_000, -4.4, 1.0), (20_000, -4.4, 1.0), (500, 0.0, 3.0), (300, 4.0, 1)]
)
def test_ece_expected_is_what_calibrated_models_show(n, mean, spread):
    rng = np.random.default_rng(1)
    logit = rng.normal(mean, spread, n)
    shown = []
    for _ in range(400):
        judged = ece(tally(logit=logit, label=rng.random(n) < 1 / (1 + np.exp(-logit))))
        shown.append(judged.observed)
    assert judged.expected == pytest.approx(np.mean(shown), abs=4 * np.std(shown) / math.sqrt(len(shown)))


@pytest.mark.parametrize(("n", "shift"), [(300, 0.0), (300, 0.7), (2_000, 0.0), (2_000, 0.3), (20_000, -0.2)])
def test_the_square_of_the_debiased_error_is_right_on_average(n, shift):
    rng = np.random.default_rng(2)
    logit = rng.normal(-2.0, 1.0, n)
    true = 1 / (1 + np.exp(-(logit + shift)))
    place = np.array([bin_of(s) for s in logit])
    order, edges = np.argsort(place, kind="stable"), None
    squares, plain = [], []
    for _ in range(400):
        label = rng.random(n) < true
        judged = tally(logit=logit, label=label)
        groups = reliability(judged)
        edges = np.cumsum([0] + [group.events for group in groups])
        # before it is cut off at zero, which alone would make it too large
        square = sum(
            group.events * (group.predicted - group.observed) ** 2
            - group.events * group.observed * (1 - group.observed) / (group.events - 1)
            for group in groups
        )
        assert ece(judged).debiased == pytest.approx(math.sqrt(max(0, square) / n), rel=1e-9, abs=1e-12)
        squares.append(square / n)
        plain.append(sum(group.events * (group.predicted - group.observed) ** 2 for group in groups) / n)
    predicted = 1 / (1 + np.exp(-logit))
    truth = sum((predicted[order[a:b]].mean() - true[order[a:b]].mean()) ** 2 * (b - a) / n for a, b in pairwise(edges))
    four_sigma = 4 * np.std(squares) / math.sqrt(len(squares))
    assert np.mean(squares) == pytest.approx(truth, abs=four_sigma)
    assert abs(np.mean(plain) - truth) > four_sigma  # what the correction is for


def test_reliability_is_what_ece_averages():
    logit, label = calibrated(5_000, mean=-1.0, spread=1.5)
    judged = tally(logit=logit + 0.4, label=label)
    groups = reliability(judged)
    assert len(groups) == GROUPS
    assert sum(group.events for group in groups) == 5_000
    assert [group.predicted for group in groups] == sorted(group.predicted for group in groups)
    gap = sum(group.events * abs(group.predicted - group.observed) for group in groups) / 5_000
    assert gap == pytest.approx(ece(judged).observed, rel=1e-12)
    assert reliability(NOTHING) == []


@pytest.mark.parametrize(("mean", "spread"), [(-4.4, 1.0), (0.0, 2.0)])
def test_spiegelhalters_z_is_the_textbooks(mean, spread):
    logit, label = calibrated(20_000, mean=mean, spread=spread)
    for shift in (0.0, 0.1, -0.3):
        p = 1 / (1 + np.exp(-(logit + shift)))
        expected = ((label - p) * (1 - 2 * p)).sum() / math.sqrt(((1 - 2 * p) ** 2 * p * (1 - p)).sum())
        assert spiegelhalter_z(tally(logit=logit + shift, label=label)) == pytest.approx(expected, abs=0.05)


def test_spiegelhalters_z_is_standard_normal_on_calibrated_scores():
    rng = np.random.default_rng(3)
    logit = rng.normal(-2.0, 1.0, 2_000)
    shown = [
        spiegelhalter_z(tally(logit=logit, label=rng.random(2_000) < 1 / (1 + np.exp(-logit)))) for _ in range(500)
    ]
    assert np.mean(shown) == pytest.approx(0.0, abs=4 / math.sqrt(500))
    assert np.std(shown) == pytest.approx(1.0, abs=4 / math.sqrt(1_000))


@compiled
@given(outcomes, st.integers(-40, 40))
def test_decisions_at_a_bins_edge_agree_with_scikit_learn(stream, sixteenths):
    edge = sixteenths / 16
    # the threshold is a probability, so a score that lies on the edge may round to either side
    logit = np.array([s if abs(s - edge) > 1e-9 else edge + 0.01 for s, _ in stream])
    label, alerted = [y for _, y in stream], logit >= edge
    place = (edge - LOWEST_LOGIT) * BINS_PER_LOGIT
    found = decisions(tally(logit=logit, label=label), 1 / (1 + math.exp(-edge)))
    assert place == int(place)
    assert found.alert_rate == pytest.approx(alerted.mean(), abs=1e-9)
    assert found.recall == pytest.approx(recall_score(label, alerted), abs=1e-9)
    if alerted.any():
        assert found.precision == pytest.approx(precision_score(label, alerted), abs=1e-6)


def test_decisions_within_a_bin_are_close_and_undefined_where_nothing_is_alerted():
    logit, label = calibrated(50_000, mean=-2.0)
    for threshold in (0.07, 0.123, 0.31):
        alerted = 1 / (1 + np.exp(-logit)) >= threshold
        found = decisions(tally(logit=logit, label=label), threshold)
        assert found.alert_rate == pytest.approx(alerted.mean(), rel=0.01)
        assert found.precision == pytest.approx(precision_score(label, alerted), rel=0.01)
        assert found.recall == pytest.approx(recall_score(label, alerted), rel=0.01)
    assert decisions(tally(logit=[0.0], label=[0]), 0.9) == (None, None, 0.0)
    assert quality(tally(logit=[1.0], label=[1]), threshold=0.9).recall == 0.0
    # the outermost bins hold what lies beyond
    assert decisions(tally(logit=[-99.0, 99.0], label=[0, 1]), 1e-300).alert_rate == 1.0
    assert decisions(tally(logit=[-99.0, 99.0], label=[0, 1]), 1 - 1e-16).alert_rate == 0.0


def test_a_bias_shows_above_what_is_expected():
    logit, label = calibrated(100_000)
    fair, biased = tally(logit=logit, label=label), tally(logit=logit + 0.5, label=label)
    assert ece(fair).observed < 1.5 * ece(fair).expected
    assert ece(biased).observed > 5 * ece(biased).expected
    assert observed_expected(biased) == pytest.approx(math.exp(-0.5), rel=0.05)


@compiled
@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=20), st.integers(0, 1))
def test_one_class_leaves_comparisons_undefined_and_says_the_rest(logit, label):
    judged = quality(tally(logit=logit, label=[label] * len(logit)))
    undefined = {"roc_auc", "roc_auc_bound", "roc_auc_error", "average_precision", "normalized_entropy"}
    assert all(getattr(judged, figure) is None for figure in undefined)
    assert judged.positive_rate == label
    assert math.isfinite(judged.logloss)


def test_nothing_labelled_leaves_everything_undefined():
    assert [getattr(quality(NOTHING), metric) for metric in METRICS] == [None] * len(METRICS)
    unlabelled = quality(replace(NOTHING, events=3))
    assert unlabelled.coverage == 0
    assert [getattr(unlabelled, metric) for metric in METRICS if metric != "coverage"] == [None] * (len(METRICS) - 1)


@pytest.mark.parametrize(
    ("metric", "some", "of"),
    [("coverage", 20, 50), ("positive_rate", 4, 20), ("alert_rate", 6, 20), ("precision", 3, 6), ("recall", 3, 4)],
)
def test_each_share_is_as_sure_as_the_events_it_is_of(metric, some, of):
    logit, label = [1.0] * 6 + [-1.0] * 14, [1, 1, 1, 0, 0, 0, 1] + [0] * 13
    judged = quality(replace(tally(logit=logit, label=label), events=50))
    assert getattr(judged, metric) == some / of
    assert judged.standard_error(metric) == pytest.approx(beta(some + 0.5, of - some + 0.5).std(), rel=1e-12)


def test_one_of_each_class_has_no_standard_error():
    assert roc_auc(tally(logit=[0.0, 1.0], label=[0, 1])) == (1.0, 0.0, None)


def test_a_perfect_and_a_worthless_model_bracket_normalized_entropy():
    label = [0, 0, 0, 1]
    assert normalized_entropy(tally(logit=[-800.0, -800.0, -800.0, 800.0], label=label)) == 0
    assert normalized_entropy(tally(logit=[math.log(1 / 3)] * 4, label=label)) == pytest.approx(1, rel=1e-12)


def test_pairs_beyond_int64_are_counted():
    counts = np.zeros((BINS, 2), dtype=np.int64)
    counts[100], counts[200] = (3 * 10**10, 10**10), (10**10, 3 * 10**10)
    assert roc_auc(Tally(0, 0, counts, np.zeros((BINS, 2)))).area == pytest.approx((9 + 6 / 2) / 16, rel=1e-12)


def test_logloss_of_any_logit_is_finite():
    logit = np.array([1e4, -1e4, 1e4, -1e4, 0.0])
    assert logloss(tally(logit=logit, label=[1, 0, 0, 1, 1])) == pytest.approx((2e4 + math.log(2)) / 5, rel=1e-15)


def test_kernels_have_one_signature():
    quality(tally(logit=[0.0, 1.0], label=[0, 1]))
    quality(NOTHING)
    kernels = (metrics.total, metrics._roc, metrics._precision, calibration._groups, calibration._calibration)
    kernels += (calibration._brier_moments,)
    assert [len(kernel.signatures) for kernel in kernels] == [1] * 6
    assert len(calibration._deviation.signatures) <= 1  # none when its caller came from numba's cache
