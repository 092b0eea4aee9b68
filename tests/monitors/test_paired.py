"""The comparison of two losses against oracles of other people's, and its promise against simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dct
from scipy.signal import lfilter
from scipy.stats import t as student
from sklearn.metrics import log_loss, roc_auc_score

from monitors.metrics import logloss, roc_auc
from monitors.paired import FEWEST_BLOCKS, MOST_BLOCKS, PairedLosses, paired_of, student_beyond, student_quantile

MINUTE_US = 60_000_000


def probability(logit):
    return 1 / (1 + np.exp(-logit))


def loss(logit, label):
    return np.logaddexp(0.0, np.where(label, -logit, logit))


def collected(time, first, second, label, cuts=()):
    losses = PairedLosses()
    for part in np.split(np.arange(len(time)), sorted(cuts)):
        losses.add(time[part], first[part], second[part], label[part])
    return losses


def test_student_equals_scipy():
    for degrees in (1, 2, 7, 40, 130):
        for t in (1e-3, 0.3, 1.0, 2.5, 9.0, 60.0):
            assert student_beyond(t, degrees) == pytest.approx(2 * student.sf(t, degrees), rel=1e-9)
        for p in (0.8, 0.975):
            assert student_quantile(p, degrees) == pytest.approx(student.ppf(p, degrees), rel=1e-9)


def test_equals_the_estimator_by_a_cosine_transform():
    """Lazarus et al. 2018, (10) and (11), on the residuals of a ratio, by scipy's transform and distribution."""
    rng = np.random.default_rng(3)
    sizes = rng.poisson(20, 300) + 1
    sums = 0.02 * sizes + np.convolve(rng.normal(0, 1, 320), np.ones(21), "valid")
    paired = paired_of(sums, sizes)
    mean, events = sums.sum() / sizes.sum(), sizes.sum()
    degrees = int(0.4 * 300 ** (2 / 3))
    spectrum = dct(sums - mean * sizes, norm="ortho")[1 : degrees + 1]
    error = np.sqrt(300 * np.mean(spectrum**2)) / events
    assert (paired.events, paired.blocks, paired.degrees_of_freedom) == (events, 300, degrees)
    assert paired.difference == pytest.approx(mean, rel=1e-12)
    assert paired.standard_error == pytest.approx(error, rel=1e-12)
    assert paired.p_value == pytest.approx(2 * student.sf(abs(mean) / error, degrees), rel=1e-9)
    assert (paired.low, paired.high) == pytest.approx(student.interval(0.95, degrees, mean, error), rel=1e-9)
    assert paired.detectable == pytest.approx((student.ppf(0.975, degrees) + student.ppf(0.8, degrees)) * error)


events = st.lists(
    st.tuples(st.integers(0, 10**15), st.floats(-8, 8), st.floats(-8, 8), st.booleans()), min_size=1, max_size=80
)
spread = st.sampled_from([1, 10**6, 10**9, 10**12])


def blocks_of(time, difference):
    """The shortest blocks of 1 s, 2 s, 4 s ... of which no more than allowed cover all."""
    length = 10**6
    while max(time) // length - min(time) // length >= MOST_BLOCKS:
        length *= 2
    sums, sizes = {}, {}
    for t, d in zip(time, difference, strict=True):
        sums[t // length] = sums.get(t // length, 0.0) + d
        sizes[t // length] = sizes.get(t // length, 0) + 1
    return np.array([sums[b] for b in sorted(sums)]), np.array([sizes[b] for b in sorted(sums)])


@settings(deadline=None, max_examples=100)
@given(events, spread, st.lists(st.integers(0, 80), max_size=3))
def test_blocks_are_those_of_a_plain_walk_however_the_stream_is_cut(stream, unit, cuts):
    time = np.array([t // 10**12 * unit for t, *_ in stream])
    first, second, label = (np.array([event[i] for event in stream]) for i in (1, 2, 3))
    whole, parts = (collected(time, first, second, label, c).paired() for c in ((), cuts))
    assert whole == parts
    sums, sizes = blocks_of(time.tolist(), (loss(first, label) - loss(second, label)).tolist())
    expected = paired_of(sums, sizes)
    assert (whole.events, whole.blocks) == (len(stream), expected.blocks)
    assert whole.difference == pytest.approx(expected.difference, abs=1e-12)
    if expected.blocks >= FEWEST_BLOCKS:
        assert whole.standard_error == pytest.approx(expected.standard_error, abs=1e-10)


def test_figures_of_either_model_are_those_of_scikit_learn():
    rng = np.random.default_rng(5)
    first = rng.normal(0, 2, 5000)
    second, label = first + rng.normal(0, 1, 5000), rng.random(5000) < probability(first)
    losses = collected(np.arange(5000) * MINUTE_US, first, second, label)
    for tally, logit in ((losses.first, first), (losses.second, second)):
        assert logloss(tally) == pytest.approx(log_loss(label, probability(logit)))
        area, bound, _ = roc_auc(tally)
        assert abs(area - roc_auc_score(label, logit)) <= bound
    difference = logloss(losses.first) - logloss(losses.second)
    assert losses.paired().difference == pytest.approx(difference)
    assert difference < 0
    assert losses.paired().p_value < 1e-6


def test_the_same_scores_differ_by_nothing():
    rng = np.random.default_rng(1)
    logit = rng.normal(0, 2, 3000)
    paired = collected(np.arange(3000) * MINUTE_US, logit, logit, rng.random(3000) < 0.3).paired()
    assert (paired.difference, paired.standard_error, paired.p_value) == (0.0, 0.0, 1.0)
    assert (paired.low, paired.high) == (0.0, 0.0)


def test_nothing_is_said_of_nothing_and_no_certainty_of_little():
    losses = PairedLosses()
    assert losses.paired() is None
    one = np.array([0])
    losses.add(one, np.array([1.0]), np.array([-1.0]), np.array([True]))
    paired = losses.paired()
    assert paired.difference < 0
    assert (paired.p_value, paired.low, paired.detectable) == (None, None, None)


@pytest.mark.parametrize(("days", "memory_days"), [(365, 3.0), (30, 0.5)])
def test_two_models_of_one_quality_differ_by_chance_one_time_in_twenty(days, memory_days):
    """Each is wrong in its own way, for days at a time: events of one day say the same, and are not so many."""
    rng = np.random.default_rng(days)
    streams, per_hour = 400, 8
    hours = 24 * days
    keeps = np.exp(-1 / (24 * memory_days))
    time = np.arange(hours * per_hour) * (60 // per_hour) * MINUTE_US
    found = naive = covered = 0
    for _ in range(streams):
        shocks = rng.normal(0, 0.6 * np.sqrt(1 - keeps**2), (2, hours))
        shocks[:, 0] = rng.normal(0, 0.6, 2)
        wrong = lfilter([1.0], [1.0, -keeps], shocks)
        truth = rng.normal(-1, 1, len(time))
        label = rng.random(len(time)) < probability(truth)
        first, second = (truth + np.repeat(each, per_hour) for each in wrong)
        paired = collected(time, first, second, label).paired()
        found += paired.p_value < 0.05
        covered += paired.low <= 0 <= paired.high
        difference = loss(first, label) - loss(second, label)
        naive += abs(difference.mean()) > 1.96 * difference.std() / np.sqrt(len(difference))
    assert covered == streams - found
    assert 8 <= found <= 36  # 99.9 % of a binomial of 400 at 5 %, and a little for the estimator
    assert naive > 80  # as if events were independent: one time in five and more


def test_a_difference_of_the_detectable_size_is_found_four_times_in_five():
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(200):
        sums = rng.normal(0, 1, 512)
        detectable = paired_of(sums, np.ones(512, np.int64)).detectable
        found += paired_of(rng.normal(0, 1, 512) + detectable, np.ones(512, np.int64)).p_value < 0.05
    assert 130 <= found <= 188
