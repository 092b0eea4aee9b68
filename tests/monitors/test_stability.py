"""The stability index against its closed form and its expectation, and quantiles of delays against numpy's."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors import stability
from monitors.delays import delay_edges_s, delay_quantiles_s
from monitors.stability import GROUPS, score_psi
from monitors.traffic_kernels import DELAY_BINS, delay_bin


def delay_quantile_s(delays, quantile):
    return delay_quantiles_s(delays, [quantile])[0]


histograms = st.lists(st.integers(0, 50), min_size=5, max_size=60).map(np.array)


def sample(rng, count, *, mean=0.0):
    return np.histogram(rng.normal(mean, 1.0, count), bins=512, range=(-16, 16))[0]


@given(histograms, st.randoms(use_true_random=False))
def test_equals_the_closed_form_over_groups_of_the_reference(reference, random):
    current = np.array([random.randint(0, 30) for _ in reference])
    m, n = reference.sum(), current.sum()
    if not m or not n:
        assert score_psi(reference, current) is None
        return
    groups, taken = [[]], 0
    for j, count in enumerate(reference):
        groups[-1].append(j)
        if (taken + count) * GROUPS // m > taken * GROUPS // m:  # a further twentieth is complete
            groups.append([])
        taken += count
    if len(groups) > 1:  # what lies above every score of the reference counts with the highest group
        above = groups.pop()
        groups[-1] += above
    k, psi = len(groups), 0.0
    for group in groups:
        then, now = ((counts[group].sum() + 0.5) / (counts.sum() + 0.5 * k) for counts in (reference, current))
        psi += (now - then) * math.log(now / then)
    found = score_psi(reference, current)
    assert found.psi == pytest.approx(psi, rel=1e-9, abs=1e-12)
    assert found.expected == pytest.approx((k - 1) * (1 / m + 1 / n), rel=1e-12)


@pytest.mark.parametrize(("m", "n"), [(2_000, 2_000), (20_000, 1_000), (5_000, 50_000)])
def test_chance_alone_shows_what_is_expected(m, n):
    rng = np.random.default_rng(4)
    found = [score_psi(sample(rng, m), sample(rng, n)) for _ in range(300)]
    shown = np.array([stability.psi for stability in found])
    assert shown.mean() == pytest.approx(found[0].expected, rel=0.1)
    moved = score_psi(sample(rng, m), sample(rng, n, mean=0.3))
    assert moved.psi > shown.max()


def test_scores_where_the_reference_had_none_are_a_shift():
    rng = np.random.default_rng(5)
    for mean in (-8.0, 8.0):
        assert score_psi(sample(rng, 1_000), sample(rng, 1_000, mean=mean)).psi > 3


@given(st.lists(st.floats(0.002, 1e7), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.99]))
def test_quantiles_of_delays_are_right_to_a_bin(delays_s, quantile):
    histogram = np.bincount([delay_bin(int(delay * 1e6)) for delay in delays_s], minlength=DELAY_BINS)
    exact = np.quantile(delays_s, quantile, method="inverted_cdf")
    assert delay_quantile_s(histogram, quantile) == pytest.approx(exact, rel=0.126)


def test_quantiles_of_many_delays_are_closer_than_that():
    delays_s = np.random.default_rng(6).exponential(3_600.0, 20_000)
    histogram = np.bincount([delay_bin(int(delay * 1e6)) for delay in delays_s], minlength=DELAY_BINS)
    for quantile in (0.5, 0.9, 0.99):
        assert delay_quantile_s(histogram, quantile) == pytest.approx(np.quantile(delays_s, quantile), rel=0.02)


def test_edges_rise_and_labels_that_took_no_time_are_in_the_first():
    edges = delay_edges_s()
    assert (np.diff(edges) > 0).all()
    assert edges[-1] > 10 * 365 * 86_400
    assert [delay_bin(delay) for delay in (-(10**12), 0, 1023, 1024)] == [0, 0, 0, 1]
    assert delay_bin(2**62) == DELAY_BINS - 1
    assert delay_quantile_s(np.zeros(DELAY_BINS, dtype=np.int64), 0.5) is None


def test_the_kernel_has_one_signature():
    histogram = np.arange(512)
    score_psi(histogram, histogram[::-1])
    assert len(stability._psi.signatures) == 1
