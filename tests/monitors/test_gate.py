"""The gate against a plain-Python oracle, and its promises against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom

from monitors import gate_kernels as kernels
from monitors.gate import Gate, GateConfig, events_needed
from stream.records import EXPIRED, FIRST_POSITIVE, PENDING, POSITIVE, RESOLVED, Rows

POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def sigmoid(logit):
    return 1 / (1 + np.exp(-logit))


def rows_of(logit, label, *, fate=RESOLVED):
    none = np.zeros(0)
    status = np.where(label, FIRST_POSITIVE | POSITIVE, 0).astype(np.uint8) | np.asarray(fate, np.uint8)
    return Rows(*[none] * len(Rows._fields))._replace(status=status, logit=np.asarray(logit, np.float64))


def begun(*, first=0, **config):
    gate = Gate(GateConfig(**config))
    gate.begin(first)
    return gate


def judged(rows, challenger, **config):
    gate = begun(**config)
    gate.observe(rows, np.asarray(challenger, np.float64), 0, len(rows.status))
    return gate


def loss(logit, positive):
    p = sigmoid(max(min(logit, 36.0), -36.0))
    return -math.log(p) if positive else -math.log1p(-p) if p < 0.999 else math.log1p(math.exp(min(logit, 36.0)))


def oracle(events, *, level, clip, max_events, missing_is_negative):
    """Verdict, events judged and log wealth of both sides, from the list of differences anew at every event."""
    raw, logs = [], (0.0, 0.0)
    for fate, positive, served, challenger in events:
        if fate == PENDING:
            break
        if math.isnan(served) or math.isnan(challenger) or (fate == EXPIRED and not missing_is_negative):
            continue
        raw.append(loss(served, positive) - loss(challenger, positive))
        d = np.clip(raw, -clip, clip)
        stakes = [0.95 / clip / 2**k for k in range(8)]
        wealth, against = (sum(math.prod(1 + sign * s * x for x in d) for s in stakes) / 8 for sign in (1, -1))
        logs = math.log(wealth), math.log(against)
        batches = np.reshape(raw[: len(raw) // 64 * 64], (-1, 64)).sum(axis=1)
        error = np.std(batches, ddof=1) / 8 * math.sqrt(len(raw)) if len(batches) >= 8 else math.inf  # of the sum
        if wealth >= 1 / level and sum(raw) >= max(36, 3 * error):
            return "promote", len(raw), logs
        if against >= 1 / level or len(raw) >= max_events:
            return "reject", len(raw), logs
    return None, len(raw), logs


logits = st.one_of(st.floats(-5, 5), st.sampled_from([math.nan, 1e3, -1e3, 0.0, 40.0, math.inf, -math.inf]))
fates = st.sampled_from([RESOLVED] * 12 + [EXPIRED] * 6 + [PENDING])
streams = st.lists(st.tuples(fates, st.booleans(), logits, logits), min_size=1, max_size=80).map(
    # without a label none is positive
    lambda events: [(fate, positive and fate == RESOLVED, *said) for fate, positive, *said in events]
)
configs = st.fixed_dictionaries(
    {
        "level": st.sampled_from([0.01, 0.05, 0.3]),
        "clip": st.sampled_from([1.0, 2.0, 5.0]),
        "max_events": st.sampled_from([20, 1_000]),
        "missing_is_negative": st.booleans(),
    }
)


@settings(deadline=None)  # the first call compiles
@given(streams, configs, st.integers(0, 80), st.integers(0, 80))
def test_equals_the_oracle_however_rows_are_cut_and_through_a_restore(events, config, one, other):
    fate, positive, served, challenger = (np.array(column) for column in zip(*events, strict=True))
    rows = rows_of(served, positive, fate=fate)
    gate = begun(first=1_000, **config)
    for cut in sorted({min(one, len(events)), min(other, len(events)), len(events)}):
        gate.observe(rows, challenger, 1_000, 1_000 + cut)
        restored = Gate(GateConfig(**config))
        restored.restore(gate.state())
        gate = restored
    whole = judged(rows, challenger, **config)
    assert (gate.verdict, gate.figures, gate.reason) == (whole.verdict, whole.figures, whole.reason)
    verdict, judged_events, logs = oracle(events, **config)
    assert (gate.verdict, gate.figures.events) == (verdict, judged_events)
    assert (gate.figures.evidence, gate.figures.evidence_against) == pytest.approx(logs, abs=1e-6)


def ways(*, clip, worst, errors, seed):
    """Where a stream of a better challenger with some harm is decided, by running sums over the whole."""
    rng = np.random.default_rng([seed, 20])
    n, drift = 3_000, rng.choice([-0.2, 0.2, 0.4])
    served, label = rng.normal(0, 0.5, n), rng.random(n) < 0.5
    challenger = served + np.where(label, drift, -drift) * 0.4 + rng.normal(0, 0.3, n)
    challenger[rng.random(n) < rng.choice([0.0, 0.002])] = 25.0
    raw = np.logaddexp(0, np.where(label, -served, served)) - np.logaddexp(0, np.where(label, -challenger, challenger))
    d, count, total = np.clip(raw, -clip, clip), np.arange(1, n + 1), np.cumsum(raw)
    stakes = 0.95 / clip / 2 ** np.arange(8)[:, None]
    wealth, against = (np.exp(np.cumsum(np.log1p(sign * stakes * d), axis=1)).mean(axis=0) for sign in (1, -1))
    sums = raw[: n // 64 * 64].reshape(-1, 64).sum(axis=1)
    spread = np.array([np.inf] * 8 + [np.var(sums[:k], ddof=1) for k in range(8, len(sums) + 1)])
    error = np.sqrt(spread[count // 64] * count / 64)
    promoted = (wealth >= 20) & (count >= 512) & (total >= worst) & (total >= errors * np.nan_to_num(error, posinf=1e9))
    over = np.flatnonzero(promoted | (against >= 20))
    found = (None, n) if not len(over) else ("promote" if promoted[over[0]] else "reject", over[0] + 1)
    return rows_of(served, label), challenger, found, int((raw != d)[: found[1]].sum())


def test_equals_running_sums_over_long_streams():
    other_rules, verdicts = 0, set()
    for seed in range(60):
        rows, challenger, found, clipped = ways(clip=2.0, worst=36, errors=3, seed=seed)
        gate = judged(rows, challenger)
        assert (gate.verdict, gate.figures.events, gate.figures.clipped) == (*found, clipped)
        verdicts.add(gate.verdict)
        other_rules += ways(clip=2.0, worst=36, errors=0, seed=seed)[2] != found
    assert verdicts == {"promote", "reject", None}
    assert other_rules > 3  # the guard decides


def test_rows_are_taken_in_their_order_however_their_labels_come():
    rng = np.random.default_rng(2)
    n = 8_000
    true = rng.normal(0.0, 1.0, n)
    whole = rows_of(true + rng.normal(0.0, 0.3, n), rng.random(n) < sigmoid(true))
    at_once = judged(whole, true)
    assert at_once.verdict == "promote"
    slowly, status = begun(), np.full(n, PENDING, np.uint8)
    for some in np.array_split(rng.permutation(n), 40):
        status[some] = whole.status[some]
        slowly.observe(whole._replace(status=status), true, 0, n)
    assert (slowly.verdict, slowly.figures) == (at_once.verdict, at_once.figures)


def test_a_state_is_arrays_and_holds_every_bit():
    rng = np.random.default_rng(3)
    true = rng.normal(0.0, 1.0, 1_000)
    rows = rows_of(true + rng.normal(0.0, 0.3, 1_000), rng.random(1_000) < sigmoid(true))
    gate = begun()
    gate.observe(rows, true, 0, 500)
    state = gate.state()
    gate.observe(rows, true, 0, 1_000)
    other = Gate(GateConfig())
    other.restore(state)
    other.observe(rows, true, 0, 1_000)
    assert gate.state().keys() == {"cursor", "stakes", "sums"}
    assert all(gate.state()[name].tobytes() == other.state()[name].tobytes() for name in gate.state())
    assert state["cursor"][0] == 500  # a copy


def test_begins_with_nobody_and_anew_with_each_challenger():
    rows, challenger = rows_of(np.zeros(900), np.ones(900)), np.ones(900)
    gate = Gate(GateConfig())
    gate.observe(rows, challenger, 0, 900)
    assert (gate.figures.events, gate.figures.gain, gate.reason) == (0, None, "no event was judged yet")
    gate.begin(100)
    gate.observe(rows, challenger, 0, 900)
    assert gate.verdict == "promote"
    judged_before = gate.figures.events
    gate.observe(rows, -challenger, 0, 900)
    assert (gate.verdict, gate.figures.events) == ("promote", judged_before)  # a verdict stands
    gate.begin(899)
    assert (gate.verdict, gate.figures) == (None, begun().figures)
    assert not gate.state()["sums"].any()
    gate.observe(rows, challenger, 0, 900)
    assert gate.figures.events == 1


def test_rows_of_which_one_was_not_asked_are_left_out():
    rng = np.random.default_rng(4)
    logit, challenger, label = rng.normal(0, 1, 600), rng.normal(0, 1, 600), rng.random(600) < 0.5
    left_out = rng.random(600) < 0.5
    served, said = (
        np.where(left_out & (label == 1), np.nan, logit),
        np.where(left_out & (label == 0), np.nan, challenger),
    )
    some = judged(rows_of(served, label), said, level=1e-9)
    rest = judged(rows_of(logit[~left_out], label[~left_out]), challenger[~left_out], level=1e-9)
    assert some.figures == rest.figures


def test_a_label_counts_as_it_came_first():
    rows = rows_of([1.0, -2.0], [True, False])
    corrected = rows._replace(status=rows.status ^ np.uint8(POSITIVE))
    assert judged(corrected, [0.5, 0.5]).figures == judged(rows, [0.5, 0.5]).figures


@pytest.mark.parametrize("label", [True, False])
def test_certainty_and_one_class_only(label):
    said = np.full(600, 1e3 if label else -1e3)
    rows = rows_of(-said, np.full(600, label))
    right = judged(rows, said)
    assert right.verdict == "promote"
    assert right.figures.clipped == right.figures.events
    assert right.figures.gain == pytest.approx(36.0)
    assert right.figures.clipped_gain == 2.0
    assert judged(rows_of(said, np.full(600, label)), -said).verdict == "reject"
    same = judged(rows, -said)
    assert (same.verdict, same.figures.gain, same.figures.evidence) == (None, 0.0, 0.0)


def played(rng, n, *, centre, champion, challenger, spread=1.0):
    """Both logits are the truth and noise of these standard deviations."""
    true = centre + rng.normal(0.0, spread, n)
    rows = rows_of(true + champion * rng.standard_normal(n), rng.random(n) < sigmoid(true))
    return rows, true + challenger * rng.standard_normal(n)


def law(*, centre, champion, challenger, clip=2.0, spread=1.0):
    """Mean of the difference as it is, mean and variance of it clipped, by quadrature."""
    true = centre + spread * POINTS[:, None, None]
    one, other = true + champion * POINTS[:, None], true + challenger * POINTS
    weights = WEIGHTS[:, None, None] * WEIGHTS[:, None] * WEIGHTS
    raw = first = second = 0.0
    for sign in (1, -1):
        d = np.logaddexp(0, -sign * one) - np.logaddexp(0, -sign * other)
        share = weights * sigmoid(sign * true)
        raw += (share * d).sum()
        first += (share * np.clip(d, -clip, clip)).sum()
        second += (share * np.clip(d, -clip, clip) ** 2).sum()
    return raw, first, second - first**2


def noise_worth(gain, *, centre, challenger):
    """The noise of a champion whom the challenger beats by so many nats."""
    return brentq(lambda noise: law(centre=centre, champion=noise, challenger=challenger)[0] - gain, challenger, 4.0)


@pytest.mark.parametrize("noise", [0.1, 0.5, 1.5])
@pytest.mark.parametrize("centre", [0.0, -2.5, -4.4])
def test_an_equal_challenger_is_rarely_promoted(centre, noise):
    """Two different ones with noise of the same size; at a level of 30 %, which there is something to count of."""
    promoted = worse = 0
    for seed in range(100):
        rng = np.random.default_rng([seed, 21])
        gate = judged(*played(rng, 5_000, centre=centre, champion=noise, challenger=noise), level=0.3)
        promoted += gate.verdict == "promote"
        worse += gate.verdict == "reject"
    most = binom.ppf(0.99, 100, 0.3)
    assert promoted <= most
    assert worse <= most
    if noise > 1.0:
        assert promoted > 0  # the test can fail


def test_the_promise_is_nearly_used_up_by_the_fairest_of_coins():
    """Differences of half a nat up or down, and a level of 5 %, in 2,000 runs."""
    promoted = 0
    for seed in range(2_000):
        label = np.random.default_rng([seed, 22]).random(5_000) < 0.5
        promoted += judged(rows_of(np.full(5_000, -0.5), label), np.full(5_000, 0.5)).verdict == "promote"
    assert 20 < promoted <= binom.ppf(0.99, 2_000, 0.05)


def test_one_that_is_better_at_times_is_not_promoted_where_it_was_worse_on_average():
    """Better by as much as it was worse before, in turns of 50 events: the average so far is never above 0."""
    promoted = 0
    for seed in range(300):
        rng = np.random.default_rng([seed, 23])
        favoured = np.where(np.arange(2_000) // 50 % 2 == 0, 0.4, 0.6)
        label = rng.random(2_000) < favoured
        promoted += judged(rows_of(np.full(2_000, -0.5), label), np.full(2_000, 0.5)).verdict == "promote"
    assert promoted <= binom.ppf(0.99, 300, 0.05)


@pytest.mark.parametrize(("gain", "centre"), [(0.01, 0.0), (0.01, -2.5), (0.01, -4.4), (0.003, 0.0)])
def test_a_better_one_is_promoted_within_the_number_stated(gain, centre):
    champion = noise_worth(gain, centre=centre, challenger=0.1)
    raw, clipped, variance = law(centre=centre, champion=champion, challenger=0.1)
    assert raw == pytest.approx(gain)
    stated = events_needed(gain=clipped, variance=variance)
    assert stated <= GateConfig().max_events
    promoted = 0
    for seed in range(60):
        rng = np.random.default_rng([seed, 24])
        gate = judged(*played(rng, stated, centre=centre, champion=champion, challenger=0.1))
        promoted += gate.verdict == "promote"
    assert promoted >= binom.ppf(0.01, 60, 0.95)


def test_the_number_stated_holds_for_the_worst_of_laws():
    """The difference is -clip, rarely, or a little above its mean."""
    gain, variance, clip = 0.05, 0.2, 2.0
    stated = events_needed(gain=gain, variance=variance, clip=clip)
    lowest, upper = variance / (variance + (clip + gain) ** 2), gain + variance / (clip + gain)
    reached = 0
    for seed in range(400):
        d = np.where(np.random.default_rng([seed, 25]).random(stated) < lowest, -clip, upper)
        wealth = np.exp(np.cumsum(np.log1p(kernels.FRACTIONS[:, None] * d / clip), axis=1)).mean(axis=0)
        reached += (wealth >= 20).any()
    assert reached >= binom.ppf(0.01, 400, 0.95)


def test_the_number_stated_falls_with_the_gain_and_rises_with_the_rest():
    stated = events_needed(gain=0.01, variance=0.1)
    assert events_needed(gain=0.02, variance=0.1) < stated
    assert events_needed(gain=0.01, variance=0.2) > stated
    assert events_needed(gain=0.01, variance=0.1, level=0.01) > stated
    assert events_needed(gain=0.01, variance=0.1, share=0.99) > stated
    assert events_needed(gain=0.01, variance=0.1, clip=4.0) > stated


def test_a_worse_one_is_rejected_soon():
    rows, challenger = played(np.random.default_rng(26), 20_000, centre=0.0, champion=0.0, challenger=0.3)
    gate = judged(rows, challenger)
    assert gate.verdict == "reject"
    assert gate.figures.events < 10_000
    assert gate.reason.startswith(f"worse after {gate.figures.events:,} events: difference -0.")


def test_one_like_the_champion_is_rejected_in_the_end():
    gate = judged(rows_of(np.zeros(200), np.ones(200)), np.zeros(200), max_events=150)
    assert (gate.verdict, gate.figures.events) == ("reject", 150)
    assert gate.reason == (
        "no verdict after 150 events, the most allowed: difference +0.00000 +- 0.00000 nats an event"
        " (clipped +0.00000), evidence for 0.00, against 0.00 of 3.00"
    )


def test_one_that_is_rarely_terribly_wrong_is_held_back():
    """Better by a little in every event but one in 300, in which it is off by 30 nats: the clip hides that."""
    n = 6_000
    rng = np.random.default_rng(27)
    label = rng.random(n) < 0.7
    challenger = np.full(n, np.log(0.7 / 0.3))
    wrong = rng.random(n) < 1 / 300
    challenger[wrong] = np.where(label[wrong], -30.0, 30.0)
    gate = judged(rows_of(np.zeros(n), label), challenger, max_events=n)
    assert gate.verdict == "reject"
    assert gate.figures.evidence > gate.figures.bound
    assert gate.figures.gain < 0 < gate.figures.clipped_gain
    assert "held back: not clearly better yet without the clip" in gate.reason
    challenger[wrong] = np.log(0.7 / 0.3)
    assert judged(rows_of(np.zeros(n), label), challenger).verdict == "promote"


def test_no_challenger_gains_by_the_clip_where_the_champion_is_right():
    p, r = np.meshgrid(np.linspace(0.0005, 0.9995, 400), sigmoid(np.linspace(-30, 30, 601)), indexing="ij")

    def expected(clip):
        won, lost = np.log(r / p), np.log((1 - r) / (1 - p))
        return p * np.clip(won, -clip, clip) + (1 - p) * np.clip(lost, -clip, clip)

    assert expected(1.0).max() <= 1e-12
    assert expected(2.0).max() <= 1e-12
    assert expected(0.5).max() > 0.01


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"level": 0.0}, "level is a chance between 0 and 1: 0.0"),
        ({"level": 1.0}, "level is a chance"),
        ({"clip": 0.5}, "clip must be from 1 to 36 nats: 0.5"),
        ({"clip": math.nan}, "clip must be"),
        ({"max_events": 0}, "max_events must be at least 1: 0"),
    ],
)
def test_what_cannot_be_promised_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        GateConfig(**config)


@pytest.mark.parametrize(("gain", "variance"), [(0.0, 0.1), (-0.1, 0.1), (2.0, 0.1), (0.1, 0.0), (0.1, 4.0)])
def test_a_law_that_cannot_be_is_refused(gain, variance):
    with pytest.raises(ValueError, match="no difference within 2 nats"):
        events_needed(gain=gain, variance=variance)


def test_the_kernel_has_one_signature_whatever_the_arrays_come_as():
    rows = rows_of(np.zeros(8), np.ones(8))
    judged(rows, np.ones(8))
    gate = begun(level=0.5, clip=1, max_events=5)
    gate.observe(rows._replace(status=rows.status[::2], logit=rows.logit[::2]), np.ones(16)[::4], 0, np.int64(4))
    assert len(kernels.walk.signatures) == 1
