"""The e-detector's promise and its delays, on simulated streams whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson

from monitors.e_detector import FALSE_ALARM_EVERY, TOLERANCE, EDetector
from monitors.e_detector_kernels import BETS, SHIFTS, SLOPES


def served(rng, events, base_rate=0.02, spread=1.0):
    """Logits of about this mean rate."""
    logit = rng.normal(0.0, spread, events)
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if np.mean(1 / (1 + np.exp(-(logit + middle)))) < base_rate else (low, middle)
    return logit + low


def drawn(rng, logit):
    return rng.random(len(logit)) < 1 / (1 + np.exp(-logit))


@pytest.mark.parametrize("off", [0.0, TOLERANCE, -TOLERANCE], ids=["true", "upper edge", "lower edge"])
def test_quiet_streams_alarm_no_oftener_than_promised(off):
    """Two million events in streams of many kinds; a promise of one in 20,000, which there is something to count of."""
    every, events = 20_000, 40_000
    kinds = [(rate, spread) for rate in (0.002, 0.02, 0.1, 0.5, 0.9) for spread in (0.0, 0.3, 1.0, 2.0, 4.0)]
    alarms = 0
    for seed, (rate, spread) in enumerate(kinds * 2):
        rng = np.random.default_rng([seed, 11])
        logit = served(rng, events, rate, spread)
        alarms += len(EDetector(false_alarm_every=every).observe(logit, drawn(rng, logit + off)))
    total = events * 2 * len(kinds)
    assert total == 2_000_000
    assert alarms <= poisson.ppf(0.99, total / every)
    if off:
        assert alarms > 0  # at the edge of the tolerance the promise is nearly used up: the test can fail


def test_two_million_quiet_events_at_the_default():
    alarms = 0
    for seed in range(20):
        rng = np.random.default_rng([seed, 12])
        logit = served(rng, 100_000, 0.02)
        alarms += len(EDetector().observe(logit, drawn(rng, logit)))
    assert alarms <= poisson.ppf(0.99, 2.0)


@pytest.mark.parametrize(("shift", "most"), [(0.3, 12_000), (-0.3, 22_000), (0.7, 2_000)])
def test_delay(shift, most):
    """At a base rate of 2 %, after 20,000 quiet events."""
    delays = []
    for seed in range(41):
        rng = np.random.default_rng([seed, 13])
        logit = served(rng, 20_000 + 3 * most)
        label = np.concatenate([drawn(rng, logit[:20_000]), drawn(rng, logit[20_000:] + shift)])
        alarms = [at for at in EDetector().observe(logit, label) if at >= 20_000]
        delays.append(alarms[0] - 20_000 if alarms else np.inf)
    assert np.median(delays) <= most


@pytest.mark.parametrize("slope", [0.5, 2.0])
def test_a_slope_is_found_although_the_rate_stays(slope):
    rng = np.random.default_rng(14)
    logit = served(rng, 60_000, 0.3, 1.5)
    true = slope * (logit - logit.mean())
    true += np.log(0.3 / 0.7)
    assert EDetector().observe(logit, drawn(rng, true))


def test_equals_the_bets_written_out():
    """Every gambler's stake as the sum, over beginnings, of the products of likelihood ratios."""
    rng = np.random.default_rng(15)
    logit = rng.normal(-1.0, 1.5, 60)
    label = drawn(rng, logit + 0.5)
    detector = EDetector(false_alarm_every=np.inf)
    centre, ratios = 0.0, np.empty((60, BETS))
    for i, (z, y) in enumerate(zip(logit, label, strict=True)):

        def likelihood(shift, z=z, y=y):
            p = 1 / (1 + np.exp(-(z + shift)))
            return p if y else 1 - p

        for k, shift in enumerate(SHIFTS):
            edge = np.copysign(TOLERANCE, shift)
            ratios[i, k] = likelihood(edge + shift) / likelihood(edge)
        for j, slope in enumerate(SLOPES):
            shift = np.clip((slope - 1) * (z - centre), -2, 2)
            edge = np.copysign(TOLERANCE, shift)
            ratios[i, len(SHIFTS) + j] = likelihood(shift) / likelihood(edge) if abs(shift) > TOLERANCE else 1.0
        centre += (z - centre) / (i + 1)
    owned = np.cumprod(ratios[::-1], axis=0).sum(axis=0)
    assert detector.observe(logit, label) == []
    assert detector.evidence == pytest.approx(owned.mean(), rel=1e-9)


def test_scores_beyond_all_bounds_do_no_harm():
    detector = EDetector()
    assert detector.observe([1e300, -1e300, np.inf, -np.inf], [1, 0, 1, 0]) == []
    assert np.isfinite(detector.evidence)


def test_one_event_at_a_time_is_the_same():
    rng = np.random.default_rng(16)
    logit = served(rng, 5_000)
    label = drawn(rng, logit + 1.0)
    at_once, apart = EDetector(), EDetector()
    alarms = at_once.observe(logit, label)
    assert alarms
    assert alarms == [i for i in range(5_000) if apart.observe(logit[i : i + 1], label[i : i + 1])]
    assert at_once.evidence == apart.evidence


def test_defaults():
    assert (FALSE_ALARM_EVERY, TOLERANCE) == (1_000_000, 0.05)
