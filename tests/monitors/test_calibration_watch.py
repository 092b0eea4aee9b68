"""The calibration watch against e-detectors of its own, one a group, and its promise on quiet streams."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson
from sklearn.linear_model import LogisticRegression

from monitors import calibration_watch
from monitors.calibration_watch import REFERENCE_RULE, SERVED_RULE, SLICE_TOLERANCE, CalibrationWatch, WatchConfig
from monitors.calibration_watch_kernels import REFERENCE_FROM, SLICES, fitted_line
from monitors.e_detector import EDetector
from monitors.slice_kernels import OTHER, PLACES
from stream.records import EXPIRED, FIRST_POSITIVE, PENDING, POSITIVE, RESOLVED, Rows

EXTERNAL = WatchConfig(learner=False)
NO_VALUES = np.zeros((0, PLACES), np.uint64)


def drawn(rng, logit):
    return rng.random(len(logit)) < 1 / (1 + np.exp(-logit))


def rows_of(logit, label, *, reference=None, places=None, fate=RESOLVED):
    n, none = len(logit), np.zeros(0)
    label = np.asarray(label, dtype=bool)
    status = np.full(n, fate, np.uint8) | np.where(label, FIRST_POSITIVE | POSITIVE, 0).astype(np.uint8)
    said = np.full(n, np.nan) if reference is None else reference
    slices = np.zeros((n, 0), np.uint8) if places is None else np.asarray(places, np.uint8)
    return Rows(
        key=none, check=none, content=none, time=none, status=status, logit=np.asarray(logit, np.float64),
        reference=np.asarray(said, np.float32), weight=none, said=none, start=none, size=none, cell=none, used=none,
        slices=slices,
    )  # fmt: skip


def tick(watch, now_us=0, *, next_row=0, freeze=lambda: None, values=NO_VALUES):
    return watch.tick(
        now_us, next_row=next_row, freeze=freeze, values=values, name_of=lambda field, place: f"field{field}={place}"
    )


def said(changes):
    return [(change.rule, change.state) for change in changes]


def test_what_is_served_is_bet_on_as_by_an_e_detector():
    rng = np.random.default_rng(1)
    logit = rng.normal(-3.0, 1.0, 30_000)
    label = drawn(rng, logit + 0.8)
    config = WatchConfig(false_alarm_every=2_000.0, learner=False)
    watch, alone = CalibrationWatch(config), EDetector(false_alarm_every=2_000.0)
    watch.observe(rows_of(logit, label), 0, len(logit))
    assert alone.observe(logit, label)
    assert watch.standings()[0].evidence == alone.evidence
    assert said(tick(watch)) == [(SERVED_RULE, "firing")]


@pytest.mark.parametrize("fields", [0, 1, 3])
@pytest.mark.parametrize("learner", [False, True])
def test_the_budget_is_shared(fields, learner):
    watch = CalibrationWatch(WatchConfig(false_alarm_every=1e5, learner=learner), [f"f{i}" for i in range(fields)])
    whole = watch._bounds[:SLICES] if learner else watch._bounds[:1]
    one_place_of_each = watch._bounds[SLICES :: PLACES + 1]
    assert len(one_place_of_each) == fields
    assert sum(1 / whole) + sum(1 / one_place_of_each) == pytest.approx(1e-5)


def test_rows_are_taken_in_their_order_however_their_labels_come():
    rng = np.random.default_rng(2)
    n = 5_000
    logit = rng.normal(-1.0, 1.0, n)
    whole = rows_of(logit, drawn(rng, logit + 0.5))
    at_once = CalibrationWatch(EXTERNAL)
    at_once.observe(whole, 0, n)
    slowly = CalibrationWatch(EXTERNAL)
    status = np.full(n, PENDING, np.uint8)
    for some in np.array_split(rng.permutation(n), 40):
        status[some] = whole.status[some]
        slowly.observe(whole._replace(status=status), 0, n)
        assert slowly._cursor[0] == (np.append(status, PENDING) == PENDING).argmax()
    assert slowly.standings() == at_once.standings()


def test_rows_move_with_their_base():
    logit, label = np.linspace(-2, 2, 100), np.arange(100) % 2
    at_once, moved = CalibrationWatch(EXTERNAL), CalibrationWatch(EXTERNAL)
    at_once.observe(rows_of(logit, label), 0, 100)
    moved.observe(rows_of(logit[:60], label[:60]), 0, 60)
    moved.observe(rows_of(logit[50:], label[50:]), 50, 100)
    assert moved.standings() == at_once.standings()


def test_what_has_no_label_is_a_negative_or_nothing():
    logit = np.full(1_000, -1.0)
    expired = rows_of(logit, np.zeros(1_000), fate=EXPIRED)
    as_negatives, left_out, negatives = (
        CalibrationWatch(WatchConfig(learner=False)),
        CalibrationWatch(WatchConfig(learner=False, missing_is_negative=False)),
        CalibrationWatch(EXTERNAL),
    )
    negatives.observe(rows_of(logit, np.zeros(1_000)), 0, 1_000)
    as_negatives.observe(expired, 0, 1_000)
    left_out.observe(expired, 0, 1_000)
    assert as_negatives.standings() == negatives.standings()
    assert left_out.standings()[0].evidence == 0.0


def test_a_label_counts_as_it_came_first():
    watch, other = CalibrationWatch(EXTERNAL), CalibrationWatch(EXTERNAL)
    rows = rows_of([-1.0, 0.0], [1, 0])
    watch.observe(rows, 0, 2)
    other.observe(rows._replace(status=rows.status ^ np.uint8(POSITIVE)), 0, 2)
    assert other.standings() == watch.standings()


def test_a_slice_speaks_for_itself_and_is_over_when_it_is_calibrated_again():
    rng = np.random.default_rng(3)
    n = 60_000
    logit, place = rng.normal(0.0, 1.0, n), rng.integers(0, 3, n)
    bad = (place == 2) & (np.arange(n) < n // 2)
    label = drawn(rng, logit + np.where(bad, 1.0, np.where(place == 2, 0.0, -0.0)))
    other = np.where(place == 0, OTHER, place)
    watch = CalibrationWatch(WatchConfig(learner=False), ["shop"])
    values = np.zeros((1, PLACES), np.uint64)
    values[0, 1:3] = 7, 8
    tick(watch, 0, values=values)
    rows = rows_of(logit, label, places=other[:, None])
    watch.observe(rows, 0, 5_000)
    fired = tick(watch, 5, values=values)
    assert (f"{SERVED_RULE} field0=2", "firing") in said(fired)
    assert not [change for change in fired if "field0=1" in change.rule or f"={OTHER}" in change.rule]
    assert watch.last_bet(f"{SERVED_RULE} field0=2").endswith("above")
    watch.observe(rows, 0, n)
    assert tick(watch, 6, values=values) == []
    assert (f"{SERVED_RULE} field0=2", "resolved") not in said(fired)
    more = drawn(rng, logit)
    watch.observe(rows_of(logit, more, places=other[:, None]), n, 2 * n)
    over = [change for change in tick(watch, 7, values=values) if "field0" in change.rule]
    assert said(over) == [(f"{SERVED_RULE} field0=2", "resolved")]
    assert (over[0].started_at, over[0].at) == (5, 7)


def test_other_is_never_lost():
    rng = np.random.default_rng(4)
    logit = rng.normal(0.0, 1.0, 10_000)
    watch = CalibrationWatch(WatchConfig(learner=False), ["shop"])
    watch.observe(rows_of(logit, drawn(rng, logit + 1.0), places=np.full((10_000, 1), OTHER)), 0, 10_000)
    assert f"{SERVED_RULE} field0={OTHER}" in [
        change.rule for change in tick(watch, values=np.zeros((1, PLACES), np.uint64))
    ]


def test_a_place_that_another_value_takes_begins_anew():
    rng = np.random.default_rng(5)
    logit = rng.normal(0.0, 1.0, 4_000)
    watch = CalibrationWatch(WatchConfig(learner=False), ["shop"])
    values = np.zeros((1, PLACES), np.uint64)
    values[0, 3] = 9
    watch.observe(rows_of(logit, drawn(rng, logit + 1.0), places=np.full((4_000, 1), 3)), 0, 4_000)
    assert (f"{SERVED_RULE} field0=3", "firing") in said(tick(watch, 1, values=np.zeros_like(values)))
    assert (f"{SERVED_RULE} field0=3", "resolved") in said(tick(watch, 2, values=values))
    assert [standing.rule for standing in watch.standings()] == [SERVED_RULE]
    assert not watch._stakes[SLICES + 3].any()


def test_a_part_may_be_further_off_than_the_whole():
    """Ten slices of which each is off by what a slice is allowed, up or down."""
    every, alarms, events = 10_000, 0, 0
    for seed in range(10):
        rng = np.random.default_rng([seed, 6])
        logit, place = rng.normal(-2.0, 1.0, 40_000), rng.integers(0, 10, 40_000)
        off = np.where(place % 2 == 0, SLICE_TOLERANCE, -SLICE_TOLERANCE)
        watch = CalibrationWatch(WatchConfig(false_alarm_every=every, learner=False), ["shop"])
        watch.observe(rows_of(logit, drawn(rng, logit + off), places=place[:, None]), 0, 40_000)
        alarms += int(watch._alarms[SLICES:, 0].sum())
        events += 40_000
    assert 0 < alarms <= poisson.ppf(0.99, events / (2 * every))


def test_two_million_quiet_events_with_slices_and_a_reference():
    """Fifty streams; the promise is one in 20,000 for all detectors together."""
    every, alarms = 20_000, 0
    for seed in range(50):
        rng = np.random.default_rng([seed, 7])
        n = 40_000
        logit = rng.normal(-2.5, 1.0, n)
        places = rng.integers(0, 8, (n, 2))
        watch = CalibrationWatch(WatchConfig(false_alarm_every=every), ["a", "b"])
        reference = logit + 0.3  # as the base rate was then; the fit takes that away
        rows = rows_of(logit, drawn(rng, logit), reference=reference, places=places)
        values = np.zeros((2, PLACES), np.uint64)
        for at in range(1_000, n + 1, 1_000):
            watch.observe(rows, 0, at)
            alarms += sum(change.state == "firing" for change in tick(watch, at, next_row=at, values=values))
        assert watch.phase in ("fitting", "betting")
    assert alarms <= poisson.ppf(0.99, 2_000_000 / every)


def test_the_reference_sees_what_the_learner_absorbs(monkeypatch):
    monkeypatch.setattr(calibration_watch, "ENOUGH", 500.0)
    monkeypatch.setattr(calibration_watch, "FIT_INFORMATION", 1_000.0)
    rng = np.random.default_rng(8)
    n = 60_000
    true = rng.normal(0.0, 1.0, n) + np.where(np.arange(n) < 30_000, 0.0, 0.5)
    frozen_at: list[int] = []
    offset = 0.0  # of the reference from the truth when it was frozen
    watch, changes = CalibrationWatch(WatchConfig()), []
    label = drawn(rng, true)
    shift = np.where(np.arange(n) < 30_000, 0.0, 0.5)
    reference = np.full(n, np.nan)
    for at in range(1_000, n + 1, 1_000):
        reference[at - 1_000 : at] = (true - shift + offset)[at - 1_000 : at] if frozen_at else np.nan
        watch.observe(rows_of(true, label, reference=reference), 0, at)  # served is true throughout

        def freeze(at=at):
            nonlocal offset
            frozen_at.append(at)
            offset = shift[min(at, n - 1)]

        changes += tick(watch, at, next_row=at, freeze=freeze)
    assert said(changes) == [(REFERENCE_RULE, "firing"), (REFERENCE_RULE, "resolved")]
    assert 30_000 < changes[0].at < 33_000
    assert {change.severity for change in changes} == {"info"}
    assert len(frozen_at) == 2
    assert watch._cursor[REFERENCE_FROM] == frozen_at[1]  # what the former one said is not for the fit
    assert frozen_at[0] < 30_000 < frozen_at[1] < changes[1].at


def test_nobody_is_told_of_a_learner_that_begins():
    rng = np.random.default_rng(9)
    n = 40_000
    true = rng.normal(-1.0, 1.0, n)
    served = true * np.clip(np.arange(n) / 10_000, 0, 1)  # it has learned after 10,000
    label = drawn(rng, true)
    watch, external = CalibrationWatch(WatchConfig(), ["shop"]), CalibrationWatch(EXTERNAL, ["shop"])
    rows = rows_of(served, label, places=np.zeros((n, 1)))
    values = np.zeros((1, PLACES), np.uint64)
    for at in range(500, n + 1, 500):
        watch.observe(rows, 0, at)
        external.observe(rows, 0, at)
        assert tick(watch, at, next_row=at, values=values) == []
    assert (SERVED_RULE, "firing") in said(tick(external, values=values))
    # one that never learns is told of in the end
    never = CalibrationWatch(WatchConfig())
    fired = []
    for at in range(500, n + 1, 500):
        never.observe(rows_of(true + 1.0, label), 0, at)
        fired += [change.rule for change in tick(never, at, next_row=at)]
    assert SERVED_RULE in fired


def test_a_restored_watch_goes_on():
    rng = np.random.default_rng(10)
    n = 60_000
    logit = rng.normal(0.0, 1.0, n)
    places = rng.integers(0, 4, (n, 1))
    label = drawn(rng, logit + np.where((places[:, 0] == 1) & (np.arange(n) > 20_000), 1.5, 0.0))
    rows = rows_of(logit, label, reference=logit, places=places)
    values = np.zeros((1, PLACES), np.uint64)
    values[0, :4] = 1, 2, 3, 4
    through, pieces = CalibrationWatch(WatchConfig(), ["shop"]), CalibrationWatch(WatchConfig(), ["shop"])
    for at in range(2_000, n + 1, 2_000):
        through.observe(rows, 0, at)
        pieces.observe(rows, 0, at)
        assert tick(pieces, at, next_row=at, values=values) == tick(through, at, next_row=at, values=values)
        state = pieces.state()
        pieces = CalibrationWatch(WatchConfig(), ["shop"])
        pieces.restore(state)
        assert pieces.standings() == through.standings()
    assert any("field0=1" in rule for rule in through.firing)


def test_slices_of_other_fields_begin_anew_and_the_whole_goes_on():
    rng = np.random.default_rng(11)
    logit = rng.normal(0.0, 1.0, 20_000)
    before = CalibrationWatch(WatchConfig(learner=False), ["shop"])
    before.observe(rows_of(logit, drawn(rng, logit + 1), places=np.ones((20_000, 1))), 0, 20_000)
    tick(before, 1, values=np.zeros((1, PLACES), np.uint64))
    after = CalibrationWatch(WatchConfig(learner=False), ["shop", "user"])
    after.restore(before.state())
    assert after.firing == [SERVED_RULE]
    assert after.standings()[0].evidence == before.standings()[0].evidence
    assert not after._stakes[SLICES:].any()


def test_the_fit_is_platt_scaling():
    rng = np.random.default_rng(12)
    logit = np.round(rng.normal(-1.0, 1.5, 20_000) * 16) / 16 + 1 / 32  # middles of bins: nothing is lost
    label = drawn(rng, 0.4 + 0.8 * logit)
    used = np.floor((logit + 16) * 16).astype(int)
    counts, sums = np.zeros((512, 2), np.int64), np.zeros(512)
    np.add.at(counts, (used, label.astype(int)), 1)
    np.add.at(sums, used, logit)
    peer = LogisticRegression(C=1e9).fit(logit[:, None], label)
    assert fitted_line(counts, sums) == pytest.approx([peer.intercept_[0], peer.coef_[0, 0]], abs=2e-3)


def test_the_fit_of_one_score_alone_keeps_its_slope():
    counts, sums = np.zeros((512, 2), np.int64), np.zeros(512)
    counts[256], sums[256] = (900, 100), 1_000 * 0.03
    intercept, slope = fitted_line(counts, sums)
    assert slope == pytest.approx(1.0, abs=0.2)
    assert 1 / (1 + np.exp(-intercept - slope * 0.03)) == pytest.approx(0.1, abs=1e-3)
