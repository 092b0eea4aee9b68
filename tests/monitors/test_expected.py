"""What scores alone foretell: against the same event by event, and against labels that are true to them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bernoulli
from sklearn.metrics import roc_auc_score

from monitors import expected
from monitors.bins import tally
from monitors.expected import expected_quality
from monitors.feature_drift_figures import Drift
from monitors.kernels import BINS, bin_of
from monitors.quality import quality
from monitors.traffic_figures import traffic_figures
from monitors.traffic_kernels import DELAY_BINS

compiled = settings(deadline=None)  # whichever test comes first waits for numba
NO_SCORES = np.zeros(BINS, dtype=np.int64)


def histogram(logit):
    return np.bincount([bin_of(s) for s in logit], minlength=BINS)


def event_by_event(logit):
    """Mean entropy, and the area in which each event is a positive and a negative by its probability."""
    p = 1 / (1 + np.exp(-logit))
    both = np.concatenate([np.ones(len(p)), np.zeros(len(p))]), np.concatenate([logit, logit])
    return bernoulli.entropy(p).mean(), roc_auc_score(*both, sample_weight=np.concatenate([p, 1 - p]))


@pytest.mark.parametrize(("mean", "spread"), [(-4.4, 1.0), (-2.0, 1.5), (0.0, 3.0), (1.0, 0.5)])
def test_bins_say_what_the_events_say(mean, spread):
    logit = np.random.default_rng(5).normal(mean, spread, 20_000)
    entropy, area = event_by_event(logit)
    found = expected_quality(histogram(logit))
    assert found.logloss == pytest.approx(entropy, rel=1e-3)
    assert found.roc_auc == pytest.approx(area, abs=3e-4)


@compiled
@given(st.lists(st.integers(0, BINS - 1), min_size=1, max_size=60))
def test_scores_in_the_middle_of_their_bins_are_exact(places):
    logit = np.array([-16 + (place + 0.5) / 16 for place in places])
    assert expected_quality(histogram(logit)) == pytest.approx(event_by_event(logit), rel=1e-9)


@pytest.mark.parametrize(("mean", "spread"), [(-4.4, 1.0), (0.0, 2.0)])
def test_labels_that_are_true_to_the_scores_bear_it_out(mean, spread):
    rng = np.random.default_rng(9)
    logit = rng.normal(mean, spread, 100_000)
    found = expected_quality(histogram(logit))
    judged = quality(tally(logit=logit, label=rng.random(len(logit)) < 1 / (1 + np.exp(-logit))))
    assert abs(judged.logloss - found.logloss) < 3 * judged.logloss_error
    assert abs(judged.roc_auc - found.roc_auc) < 3 * judged.roc_auc_error


def test_labels_that_are_not_leave_it_where_it_is():
    rng = np.random.default_rng(9)
    logit = rng.normal(-2.0, 1.0, 100_000)
    label = rng.random(len(logit)) < 1 / (1 + np.exp(-0.5 * logit))  # the model is too certain
    found, judged = expected_quality(histogram(logit)), quality(tally(logit=logit, label=label))
    assert judged.logloss - found.logloss > 20 * judged.logloss_error
    assert found.roc_auc - judged.roc_auc > 20 * judged.roc_auc_error


def test_certain_scores_and_none():
    assert expected_quality(NO_SCORES) is None
    certain = expected_quality(histogram([-900.0, 900.0]))
    assert certain.logloss < 1e-5
    assert certain.roc_auc == pytest.approx(1, abs=1e-6)
    assert expected_quality(histogram([0.0, 0.01])).roc_auc == pytest.approx(0.5, abs=1e-12)


def test_a_window_of_traffic_needs_no_label_to_say_it():
    scores = histogram(np.random.default_rng(3).normal(-1.0, 1.0, 300))
    window = {"delays": np.zeros(DELAY_BINS, dtype=np.int64), "categories": {}, "numbers": {}, "drift": Drift()}
    figures = traffic_figures(books=np.array([300, 0, 300, 0]), scores=scores, threshold=0.5, **window)
    assert (figures.value("expected_logloss", None), figures.value("expected_roc_auc", None)) == expected_quality(
        scores
    )
    empty = traffic_figures(books=np.zeros(4, dtype=np.int64), scores=NO_SCORES, threshold=0.5, **window)
    assert (empty.expected_logloss, empty.expected_roc_auc) == (None, None)
    # however many labels there are, it rests on the events
    assert figures.support("expected_logloss") == figures.support("expected_roc_auc") == 300


def test_the_kernel_has_one_signature():
    expected_quality(NO_SCORES + 1)
    expected_quality((NO_SCORES + 1)[::2])  # no contiguous array
    assert len(expected._expected.signatures) == 1
