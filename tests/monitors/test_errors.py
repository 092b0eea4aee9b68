"""Standard errors from bins against those of the events themselves, and against what samples show."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binomtest

from monitors import errors
from monitors.bins import Tally, tally
from monitors.calibration import observed_expected, reliability
from monitors.errors import logloss_error, observed_expected_error, share_error, share_interval
from monitors.metrics import logloss
from monitors.slice_kernels import BINS as SLICE_BINS

compiled = settings(deadline=None)  # whichever test comes first waits for numba

# mean and spread of the logits, how far they lie off the truth, and how much too far they are spread
STREAMS = [
    (-4.4, 1.0, 0.0, 1.0),
    (-2.0, 1.0, 0.0, 1.0),
    (0.0, 2.0, 0.0, 1.0),
    (0.0, 0.2, 0.0, 1.0),
    (-2.0, 1.0, 0.7, 1.0),
    (-1.0, 1.5, -0.5, 2.0),
]


def draw(rng, n, mean, spread, shift, stretch):
    """Logits as served, and labels of the truth behind them."""
    true = rng.normal(mean, spread, n)
    return true * stretch + shift, (rng.random(n) < 1 / (1 + np.exp(-true))).astype(int)


def coarse(judged):
    """The same events in the bins of a slice."""
    counts = judged.counts.reshape(SLICE_BINS, -1, 2).sum(axis=1)
    return Tally(judged.events, judged.expired, counts, judged.sums.reshape(SLICE_BINS, -1, 2).sum(axis=1))


def losses(logit, label):
    return np.logaddexp(0, np.where(label == 1, -logit, logit))


def ratio_error(logit, label):
    """Of a ratio of two means, event by event (Cochran 1977)."""
    p = 1 / (1 + np.exp(-logit))
    residual = label - label.sum() / p.sum() * p
    n = len(p)
    return math.sqrt((residual**2).sum() / (n - 1) / n) / p.mean()


@pytest.mark.parametrize("of", [lambda judged: judged, coarse], ids=["bins", "slice"])
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("n", [300, 20_000])
def test_bins_say_what_the_events_say(stream, n, of):
    logit, label = draw(np.random.default_rng(5), n, *stream)
    judged = of(tally(logit=logit, label=label))
    assert logloss_error(judged) == pytest.approx(losses(logit, label).std(ddof=1) / math.sqrt(n), rel=0.01)
    assert observed_expected_error(judged) == pytest.approx(ratio_error(logit, label), rel=0.01)


@pytest.mark.parametrize("of", [lambda judged: judged, coarse], ids=["bins", "slice"])
@pytest.mark.parametrize("stream", STREAMS)
def test_the_truth_lies_within_two_errors_in_19_samples_of_20(stream, of):
    rng = np.random.default_rng(11)
    logit, label = draw(rng, 2_000_000, *stream)
    truth = losses(logit, label).mean(), label.sum() / (1 / (1 + np.exp(-logit))).sum()
    within = np.zeros(2)
    samples = 1_000
    for _ in range(samples):
        logit, label = draw(rng, 3_000, *stream)
        judged = of(tally(logit=logit, label=label))
        within += (
            abs(logloss(judged) - truth[0]) <= 1.96 * logloss_error(judged),
            abs(observed_expected(judged) - truth[1]) <= 1.96 * observed_expected_error(judged),
        )
    assert within / samples == pytest.approx(0.95, abs=0.02)


def test_logits_beyond_the_bins_count_with_their_own_losses():
    logit = np.array([-900.0, -40.0, -20.0, -0.5, 0.5, 20.0, 300.0] * 3)
    label = np.array([0, 1, 0, 0, 1, 1, 0] * 3)
    judged = tally(logit=logit, label=label)
    assert logloss_error(judged) == pytest.approx(losses(logit, label).std(ddof=1) / math.sqrt(21), rel=0.01)


outcomes = st.lists(st.tuples(st.floats(-1e4, 1e4) | st.floats(-8, 8), st.integers(0, 1)), min_size=2, max_size=60)


@compiled
@given(outcomes)
def test_errors_are_never_undefined_for_two_events(stream):
    judged = tally(logit=[s for s, _ in stream], label=[y for _, y in stream])
    assert math.isfinite(logloss_error(judged))
    error = observed_expected_error(judged)
    assert (error is None) == (observed_expected(judged) is None)
    assert error is None or error >= 0


@pytest.mark.parametrize("events", [0, 1])
def test_one_event_has_no_spread(events):
    judged = tally(logit=[0.3] * events, label=[1] * events)
    assert logloss_error(judged) is None
    assert observed_expected_error(judged) is None


@pytest.mark.parametrize("label", [0, 1])
def test_labels_of_one_kind_leave_the_ratio_uncertain(label):
    judged = tally(logit=[-2.0] * 200, label=[label] * 200)
    expected = 200 / (1 + math.exp(2.0))
    assert observed_expected_error(judged) == pytest.approx(math.sqrt(0.5 * 200 / 199) / expected, rel=1e-9)


@compiled
@given(st.integers(1, 400).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_shares_are_judged_as_scipy_does(counts):
    some, of = counts
    assert share_error(some / of, of) == pytest.approx(beta(some + 0.5, of - some + 0.5).std(), rel=1e-9)
    low, high = share_interval(some / of, of)
    assert (low, high) == pytest.approx(tuple(binomtest(some, of).proportion_ci(method="wilson")), abs=1e-12)
    assert 0 <= low <= some / of <= high <= 1


def test_intervals_of_reliability_hold_the_rate_they_are_of():
    rng, within, groups = np.random.default_rng(4), 0, 0
    for _ in range(200):
        logit, label = draw(rng, 3_000, -1.0, 1.5, 0.0, 1.0)
        for group in reliability(tally(logit=logit, label=label)):
            within += group.low <= group.predicted <= group.high
            groups += 1
            assert (group.low, group.high) == share_interval(group.observed, group.events)
    assert within / groups == pytest.approx(0.95, abs=0.02)


def test_kernels_have_one_signature():
    judged = tally(logit=[0.0, 1.0], label=[0, 1])
    for one in (judged, coarse(judged)):
        logloss_error(one)
        observed_expected_error(one)
    kernels = (errors._loss_deviations, errors._residuals)
    assert [len(kernel.signatures) for kernel in kernels] == [1] * 2
