"""Alert rules: the state machine against a textbook one, restarts at any tick, and refusals."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors.bins import tally
from monitors.quality import METRICS, WITH_ERROR, quality
from monitors.rules import Judged, Rule, Rules
from monitors.traffic_figures import FeatureFigures, Traffic

TRAFFIC = Traffic(
    events=200,
    messages=500,
    labels=150,
    dead_share=0.25,
    decision_rate=0.5,
    score_psi=None,
    score_psi_expected=None,
    expected_logloss=0.4,
    expected_roc_auc=0.8,
    label_delay_p50=10.0,
    label_delay_p90=60.0,
    label_delay_p99=None,
    features={
        "temp": FeatureFigures(0.1, mean=5.0, spread=2.0, sum=900.0),
        "carrier": FeatureFigures(0.2, unseen_rate=0.01),
    },
)
GOOD = quality(tally(logit=[-1.0, 1.0], label=[0, 1]))
DAY = 86_400_000_000


def rule(**changes):
    return Rule(**({"name": "loss", "metric": "logloss", "window_us": DAY, "window": "1d", "above": 0.6} | changes))


def tick(rules, now_us, **figures):
    judged = Judged(replace(GOOD, **figures), TRAFFIC)
    return rules.evaluate(now_us, lambda rule: rule.verdict(judged), lambda rule: rule.error(judged))


def oracle(rule, ticks):
    """(time, state, started_at) of each change, from the verdicts alone."""
    sign = 1 if rule.above is not None else -1
    bound, end = sign * rule.bound, sign * (rule.bound if rule.recover is None else rule.recover)
    changes, breached_since, started_at, resolved_at = [], None, None, -(10**9)
    for now, value in ((now, sign * value) for now, value in ticks if value is not None):
        if started_at is not None:
            if value <= end:
                changes.append((now, "resolved", started_at))
                breached_since, started_at, resolved_at = None, None, now
        elif value <= bound:
            breached_since = None
        else:
            breached_since = now if breached_since is None else breached_since
            if now - breached_since >= rule.for_us and now - resolved_at >= rule.cool_down_us:
                started_at = now
                changes.append((now, "firing", started_at))
    return changes


def changes_of(rules, ticks):
    found = []
    for now, value in ticks:
        found += [(change.at, change.state, change.started_at) for change in tick(rules, now, logloss=value)]
    return found


bounds = st.one_of(
    st.builds(dict, above=st.just(2.0), recover=st.sampled_from([None, 2.0, 1.0])),
    st.builds(dict, above=st.none(), below=st.just(2.0), recover=st.sampled_from([None, 2.0, 3.0])),
)
histories = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from([None, 0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0])), max_size=40
).map(lambda steps: [(sum(gap for gap, _ in steps[: i + 1]), value) for i, (_, value) in enumerate(steps)])


@given(bounds, st.integers(0, 6), st.integers(0, 12), histories)
def test_equals_the_oracle(bound, for_us, cool_down_us, ticks):
    watched = rule(for_us=for_us, cool_down_us=cool_down_us, **bound)
    assert changes_of(Rules([watched]), ticks) == oracle(watched, ticks)


@given(bounds, st.integers(0, 6), st.integers(0, 12), histories, st.integers(0, 40))
def test_a_restart_at_any_tick_changes_nothing(bound, for_us, cool_down_us, ticks, cut):
    watched = rule(for_us=for_us, cool_down_us=cool_down_us, **bound)
    uninterrupted, before, after = Rules([watched]), Rules([watched]), Rules([watched])
    found = changes_of(before, ticks[:cut])
    after.restore(before.state())
    assert after.standings == before.standings
    found += changes_of(after, ticks[cut:])
    assert found == changes_of(uninterrupted, ticks)
    assert after.standings == uninterrupted.standings


def test_a_change_says_everything_an_alert_needs():
    rules = Rules([rule(for_us=5, severity="page")])
    assert tick(rules, 10, logloss=0.7) == []
    (fired,) = tick(rules, 15, logloss=0.8)
    (resolved,) = tick(rules, 20, logloss=0.6)
    assert (fired.rule, fired.state, fired.started_at, fired.at) == ("loss", "firing", 15, 15)
    assert (fired.metric, fired.window, fired.value, fired.bound, fired.severity) == ("logloss", "1d", 0.8, 0.6, "page")
    assert (resolved.state, resolved.started_at, resolved.at, resolved.value) == ("resolved", 15, 20, 0.6)


def test_standings_tell_phase_since_and_value():
    rules, seen = Rules([rule(for_us=5)]), []
    for now, value in [(10, 0.5), (20, 0.7), (22, None), (25, 0.7), (30, 0.7), (40, 0.5)]:
        tick(rules, now, logloss=value)
        standing = rules.standings["loss"]
        seen.append((standing.state, standing.since, standing.value))
    assert seen == [
        ("quiet", None, 0.5),
        ("pending", 20, 0.7),
        ("pending", 20, None),
        ("firing", 25, 0.7),
        ("firing", 25, 0.7),
        ("quiet", 40, 0.5),
    ]


@pytest.mark.parametrize(
    "too_little",
    [{"labelled": 9, "coverage": 0.9}, {"labelled": 100, "coverage": 0.4}, {"coverage": None}, {"logloss": None}],
)
def test_too_little_evidence_neither_fires_nor_resolves(too_little):
    rules = Rules([rule(min_events=10, min_coverage=0.5)])
    enough = {"labelled": 10, "coverage": 0.5, "logloss": 9.0}
    assert tick(rules, 1, **enough | too_little) == []
    assert [change.state for change in tick(rules, 2, **enough)] == ["firing"]
    assert tick(rules, 3, **enough | {"logloss": 0.1} | too_little) == []
    assert [change.state for change in tick(rules, 4, **enough | {"logloss": 0.1})] == ["resolved"]


def test_a_coverage_rule_fires_when_no_label_comes_at_all():
    rules = Rules([rule(metric="coverage", above=None, below=0.5, min_events=10)])
    assert tick(rules, 1, events=9, labelled=0, coverage=0.0) == []
    assert [change.value for change in tick(rules, 2, events=10, labelled=0, coverage=0.0)] == [0.0]


@given(
    st.sampled_from([{"above": 2.0, "recover": 1.0}, {"above": None, "below": 2.0, "recover": 3.0}]),
    st.sampled_from([1.0, 3.0]),
    st.integers(0, 6),
    st.lists(st.tuples(st.sampled_from([None, 0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0]), st.sampled_from([0.0, 0.25, 0.5]))),
)
def test_a_value_within_its_errors_of_the_bound_is_none_beyond_it(bound, by_se, for_us, readings):
    rules, watched = Rules([rule(by_se=by_se, for_us=for_us, **bound)]), rule(for_us=for_us, **bound)
    found, moved = [], []
    for now, (value, error) in enumerate(readings):
        found += tick(rules, now, logloss=value, logloss_error=error)
        # what is not surely beyond the bound counts as on it: no breach, and no recovery either
        sign = 1 if watched.above is not None else -1
        unsure = value is not None and 0 < sign * (value - 2.0) <= by_se * error
        moved.append((now, 2.0 if unsure else value))
    assert [(change.at, change.state, change.started_at) for change in found] == oracle(watched, moved)


def test_an_undefined_error_begins_nothing_and_keeps_nothing_from_ending():
    rules = Rules([rule(metric="roc_auc", above=None, below=0.7, by_se=3.0, for_us=2)])
    assert tick(rules, 0, roc_auc=0.5, roc_auc_error=0.01) == []
    assert tick(rules, 1, roc_auc=0.6, roc_auc_error=None) == []
    assert rules.standings["loss"].state == "pending"
    assert tick(rules, 2, roc_auc=0.5, roc_auc_error=None) == []
    assert [change.state for change in tick(rules, 3, roc_auc=0.5, roc_auc_error=0.01)] == ["firing"]
    assert tick(rules, 4, roc_auc=0.699, roc_auc_error=0.01) == []  # within its errors, but not back
    assert [change.state for change in tick(rules, 5, roc_auc=0.7, roc_auc_error=None)] == ["resolved"]


@pytest.mark.parametrize("metric", WITH_ERROR)
def test_the_more_events_the_smaller_a_difference_that_counts(metric):
    logit, label = [-2.0, -1.0, 0.5, 2.0], [0, 1, 0, 1]
    few, many = (
        Judged(replace(quality(tally(logit=logit * n, label=label * n)), events=5 * n), TRAFFIC) for n in (10, 4_000)
    )
    many = Judged(replace(many.quality, coverage=0.8), TRAFFIC)
    few = Judged(replace(few.quality, coverage=0.8), TRAFFIC)
    value = getattr(many.quality, metric)
    for side, bound in (("above", 0.95 * value), ("below", 1.05 * value)):
        watched = rule(metric=metric, by_se=3.0, **{"above": None, side: bound})
        assert watched.breached(watched.verdict(many), watched.error(many))
        assert not watched.breached(watched.verdict(few), watched.error(few))
        assert watched.error(few) / watched.error(many) == pytest.approx(20, rel=0.05)
        assert rule(metric=metric, **{"above": None, side: bound}).breached(watched.verdict(few))


def test_errors_are_of_metrics():
    assert set(WITH_ERROR) < set(METRICS)
    with pytest.raises(ValueError, match="ece has no standard error, only logloss, roc_auc"):
        GOOD.standard_error("ece")
    nothing = quality(tally(logit=[], label=[]))
    assert [nothing.standard_error(metric) for metric in WITH_ERROR] == [None] * len(WITH_ERROR)


def test_a_rule_that_cools_down_fires_again_only_then():
    rules = Rules([rule(cool_down_us=10)])
    assert [change.state for change in tick(rules, 0, logloss=0.7)] == ["firing"]
    assert [change.state for change in tick(rules, 5, logloss=0.5)] == ["resolved"]
    assert [len(tick(rules, now, logloss=0.7)) for now in (6, 10, 14, 15)] == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("metric", "feature", "value"),
    [
        ("dead_share", None, 0.25),
        ("decision_rate", None, 0.5),
        ("label_delay_p90", None, 60.0),
        ("label_delay_p99", None, None),
        ("score_psi", None, None),
        ("expected_logloss", None, 0.4),
        ("expected_roc_auc", None, 0.8),
        ("null_rate", "temp", 0.1),
        ("null_rate", "carrier", 0.2),
        ("unseen_rate", "carrier", 0.01),
        ("spread", "temp", 2.0),
        ("guardrail_mean", "temp", 5.0),
        ("guardrail_sum", "temp", 900.0),
    ],
)
def test_rules_on_traffic_name_what_they_are_of(metric, feature, value):
    watched = rule(metric=metric, feature=feature, above=None, below=1e9)
    nothing_labelled = Judged(quality(tally(logit=[], label=[])), TRAFFIC)
    assert watched.verdict(nothing_labelled) == value
    changes = Rules([watched]).evaluate(1, lambda rule: rule.verdict(nothing_labelled))
    assert [change.metric for change in changes] == ([] if value is None else [watched.target])
    assert watched.target == (metric if feature is None else f"{metric}[{feature}]")


@pytest.mark.parametrize(("metric", "support"), [("dead_share", 500), ("label_delay_p50", 150), ("decision_rate", 200)])
def test_each_metric_needs_enough_of_what_it_is_made_of(metric, support):
    for min_events, is_enough in ((support, True), (support + 1, False)):
        watched = rule(metric=metric, min_events=min_events)
        assert (watched.verdict(Judged(GOOD, TRAFFIC)) is not None) == is_enough


def test_rules_come_and_go_across_a_restart():
    before = Rules([rule(), rule(name="gone")])
    tick(before, 7, logloss=9.0)
    after = Rules([rule(name="new"), rule()])
    after.restore(before.state())
    assert {name: standing.state for name, standing in after.standings.items()} == {"new": "quiet", "loss": "firing"}
    assert [change.rule for change in tick(after, 8, logloss=9.0)] == ["new"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "accuracy"}, "'loss': no metric 'accuracy', only logloss,"),
        ({"metric": "null_rate"}, "'loss': null_rate needs a feature"),
        ({"feature": "temp"}, "'loss': logloss is of no feature, got 'temp'"),
        ({"above": None}, "either above or below, got None and None"),
        ({"below": 0.1}, "either above or below, got 0.6 and 0.1"),
        ({"recover": 0.7}, "recovery at 0.7 would itself breach 0.6"),
        ({"above": None, "below": 0.6, "recover": 0.5}, "recovery at 0.5 would itself breach 0.6"),
        ({"by_se": 3.0, "recover": 0.7}, "recovery at 0.7 would itself breach 0.6"),
        ({"metric": "ece", "by_se": 3.0}, "'loss': ece has no standard error, logloss, roc_auc,"),
        ({"metric": "expected_logloss", "by_se": 3.0}, "expected_logloss has no standard error"),
        ({"by_se": 0.0}, "needs more than 0.0 standard errors"),
    ],
)
def test_a_rule_without_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        rule(**changes)


def test_rules_of_one_name_are_refused():
    with pytest.raises(ValueError, match="rules share a name: loss"):
        Rules([rule(), rule(above=0.7)])


def test_relative_to_the_reference():
    rule = Rule(name="worse", metric="logloss", window_us=1, above=1.1, recover=1.05, relative_to="reference")
    rules = Rules([rule])
    losses = iter([9.0, None, 0.5, 0.55, 0.56, 0.53, 0.5])
    said = []
    for at in range(7):
        changes = rules.evaluate(at, lambda _: next(losses), reference_over=at > 0)
        said.append([(change.state, change.value, change.metric) for change in changes])
    of = "logloss by its reference"
    # 9.0 came before the reference was over, and 0.55 is the bound itself
    assert said[:4] == [[], [], [], []]
    assert said[4] == [("firing", pytest.approx(1.12), of)]
    assert said[5:] == [[], [("resolved", pytest.approx(1.0), of)]]


def test_what_it_is_relative_to_survives_and_can_be_taken_anew():
    rule = Rule(name="worse", metric="logloss", window_us=1, above=1.1, relative_to="reference")
    rules, again = Rules([rule]), Rules([rule])
    rules.evaluate(0, lambda _: 0.5)
    again.restore(rules.state())
    assert [change.value for change in again.evaluate(1, lambda _: 1.0)] == [2.0]
    again.forget_references()
    assert [change.value for change in again.evaluate(2, lambda _: 1.0)] == [1.0]


def test_standard_errors_are_relative_as_well():
    rule = Rule(name="worse", metric="logloss", window_us=1, above=1.1, by_se=3, relative_to="reference")
    rules = Rules([rule])
    rules.evaluate(0, lambda _: 0.5)
    assert rules.evaluate(1, lambda _: 0.6, lambda _: 0.02) == []  # 1.2 is 0.1 above: 2.5 errors of 0.04
    assert len(rules.evaluate(2, lambda _: 0.6, lambda _: 0.01)) == 1


def test_the_clock_has_no_reference():
    with pytest.raises(ValueError, match="silent_s has no reference"):
        Rule(name="silent", metric="silent_s", above=1.0, relative_to="reference")
