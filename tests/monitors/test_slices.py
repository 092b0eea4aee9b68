"""Slices against a plain oracle that keeps every outcome, and whose values get a place of their own."""

import math
from collections import defaultdict
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors import slice_kernels as kernels
from monitors.grid import PaneGrid
from monitors.metrics import roc_auc, share_above
from monitors.quality import quality
from monitors.slice_kernels import AT_ONCE, EARNED, OTHER, PLACES
from monitors.slices import OTHERS, Slice, SlicePanes, parse_slice
from stream.records import CORRECT, DROP, EXPIRE, LEARN, RESOLVE, SCORE, Events, Ops, Rows

compiled = settings(deadline=None)
PANE, WINDOWS, JOIN = 10, (10, 20, 60), 25
GRID = PaneGrid(pane_us=PANE, windows_us=WINDOWS, join_window_us=JOIN)
FIELDS = ("shop", "user")
BASE = 1000


def rows_of(time, logit):
    n, none = len(time), np.zeros(0)
    return Rows(
        none, none, none, np.array(time, np.int64), np.zeros(n, np.uint8), np.array(logit, np.float64), *[none] * 7,
        np.zeros((n, len(FIELDS)), np.uint8),
    )  # fmt: skip


def events_of(values):
    nothing = np.zeros(0)
    return Events(*[nothing] * 13, np.array(values, np.uint64).reshape(-1, len(FIELDS)))


def ops_of(steps):
    code, row, label = (np.array([step[k] for step in steps], np.int64) for k in range(3))
    record = np.where(code & SCORE, row, -1)
    return Ops(code.astype(np.uint8), row + BASE, record, label.astype(np.int8), np.zeros(len(steps), np.int64))


class Script:
    """Rows with a value per field, and steps in order: an op (code, row, label), or a tick."""

    def __init__(self, time, logit, values, steps):
        self.time, self.logit, self.values, self.steps = time, logit, values, steps
        self.rows, self.events = rows_of(time, logit), events_of(values)

    def run(self, slices, steps, cuts=(10**9,)):
        batch, k = [], 0
        for step in [*steps, None]:
            if batch and (not isinstance(step, tuple) or len(batch) >= cuts[k % len(cuts)]):
                slices.observe(ops_of(batch), self.rows, BASE, self.events, self.name)
                batch, k = [], k + 1
            if isinstance(step, tuple):
                batch.append(step)
            elif step is not None:
                slices.advance(step)
        return slices

    def name(self, record, field):
        return f"v{self.values[record][FIELDS.index(field)]}"


@st.composite
def scripts(draw, values=40):
    """Rows are scored in order and judged at most once, as by a joiner; times and ticks jump about."""
    n = draw(st.integers(1, 40))
    time = draw(st.lists(st.integers(0, 200), min_size=n, max_size=n))
    logit = draw(st.lists(st.floats(-30, 30), min_size=n, max_size=n))
    of = draw(st.lists(st.tuples(*[st.integers(0, values)] * 2), min_size=n, max_size=n))
    steps, waiting = [], []
    for row in range(n):
        steps.append((SCORE, row, -1))
        waiting.append(row)
        while waiting and draw(st.booleans()):
            judged = waiting.pop(draw(st.integers(0, len(waiting) - 1)))
            label = draw(st.integers(0, 1))
            steps.append(draw(st.sampled_from([(RESOLVE | LEARN, judged, label), (EXPIRE | DROP, judged, -1)])))
            if steps[-1][0] & RESOLVE and draw(st.integers(0, 3)) == 0:
                steps.append((CORRECT, judged, 1 - label))
        if draw(st.integers(0, 3)) == 0:
            steps.append(draw(st.integers(0, 300)))
    return Script(time, logit, of, steps)


class Oracle:
    """What each pane holds of each value; a value that has no place is "other"."""

    def __init__(self):
        self.newest, self.watermark = -math.inf, -math.inf
        self.panes = defaultdict(lambda: defaultdict(lambda: {"events": 0, "expired": 0, "judged": {}}))
        self.places = {field: {} for field in FIELDS}  # value -> newest pane when it last came
        self.of_row = {}

    def move(self, pane):
        self.newest = max(self.newest, pane)
        for held in self.places.values():
            for value in [value for value, seen in held.items() if seen <= self.newest - GRID.length]:
                del held[value]

    def run(self, script):
        for step in script.steps:
            if isinstance(step, int):
                if step > self.watermark:
                    self.watermark = step
                    self.move(step // PANE)
                continue
            code, row, label = step
            pane = script.time[row] // PANE
            if code & SCORE:
                self.move(pane)
                self.of_row[row] = []
                for field, value in zip(FIELDS, script.values[row], strict=True):
                    held = self.places[field]
                    if value in held or len(held) < AT_ONCE:
                        held[value] = self.newest
                        self.of_row[row].append(Slice(field, f"v{value}"))
                    else:
                        self.of_row[row].append(Slice(field, OTHERS))
            inside = self.newest - GRID.length < pane <= self.newest
            if not inside or (pane < (self.watermark - JOIN) // PANE and not code & CORRECT):
                continue
            for of in self.of_row[row]:
                part = self.panes[pane][of]
                part["events"] += bool(code & SCORE)
                part["expired"] += bool(code & EXPIRE)
                if code & RESOLVE or (code & CORRECT and row in part["judged"]):
                    part["judged"][row] = (script.logit[row], label)
        return self

    def window(self, of, end, window_us, now_us):
        last = (now_us - 1) // PANE
        if end == "final":
            last = (min(now_us, self.watermark) - JOIN) // PANE - 1
        reach = range(last - window_us // PANE + 1, last + 1)
        return [self.panes[k][of] for k in reach if self.newest - GRID.length < k <= self.newest]


def new_slices():
    return SlicePanes(GRID, FIELDS)


def same_state(one, other):
    mine, theirs = one.ring.state(), other.ring.state()
    assert mine.keys() == theirs.keys()
    assert all(mine[key].tobytes() == theirs[key].tobytes() for key in mine)


@compiled
@given(scripts())
def test_equals_the_oracle(script):
    slices, oracle = script.run(new_slices(), script.steps), Oracle().run(script)
    for window_us in WINDOWS:
        for end in ("final", "provisional"):
            if end == "final" and oracle.watermark == -math.inf:
                continue
            now_us = oracle.watermark if end == "final" else (oracle.newest + 1) * PANE
            tallies = slices.tallies(end, window_us, now_us)
            assert {of.value for of in tallies if of.field == "shop"} == {
                OTHERS, *(f"v{value}" for value in oracle.places["shop"])
            }  # fmt: skip
            for of, tally in tallies.items():
                parts = oracle.window(of, end, window_us, now_us)
                judged = [outcome for part in parts for outcome in part["judged"].values()]
                assert tally.events == sum(part["events"] for part in parts)
                assert tally.expired == sum(part["expired"] for part in parts)
                assert (tally.labelled, tally.positives) == (len(judged), sum(label for _, label in judged))
                loss = sum(math.log1p(math.exp(-s if y else s)) for s, y in judged)
                assert tally.sums[:, 1].sum() == pytest.approx(loss, rel=1e-9, abs=1e-9)
                alone = slices.tally(of, end, window_us, now_us)
                assert [np.asarray(part).tobytes() for part in astuple(alone)] == [
                    np.asarray(part).tobytes() for part in astuple(tally)
                ]


@compiled
@given(scripts(), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_is_the_same_to_the_bit_however_batches_are_cut(script, cuts):
    same_state(script.run(new_slices(), script.steps), script.run(new_slices(), script.steps, cuts))


@compiled
@given(scripts(), st.sets(st.integers(0, 60), max_size=6))
def test_the_latest_block_of_each_dirty_place_is_enough_to_restore(script, checkpoints):
    slices, stored, done = new_slices(), {}, 0
    for cut in [*sorted(checkpoints), len(script.steps)]:
        script.run(slices, script.steps[done:cut])
        done = max(done, cut)
        stored |= slices.ring.header()
        for place in slices.ring.dirty():
            stored |= slices.ring.block(place)
        slices.ring.clean()
    restored = new_slices()
    restored.ring.restore(stored)
    same_state(restored, slices)


def stream(values, *, pane=0):
    """An event of each value of the first field, all in one pane, none of them judged."""
    n = len(values)
    steps = [(SCORE, row, -1) for row in range(n)]
    return Script([pane * PANE] * n, [0.0] * n, [(value, 0) for value in values], steps)


def counted(slices, window_us=PANE, now_us=PANE):
    tallies = slices.tallies("provisional", window_us, now_us)
    return {of.value: tally.events for of, tally in tallies.items() if of.field == "shop"}


def test_the_first_sixteen_values_have_a_place_at_once_and_others_earn_theirs():
    slices = new_slices()
    script = stream([*range(AT_ONCE), *[77] * (EARNED + 20), 78])
    counts = counted(script.run(slices, script.steps))
    assert counts.pop(OTHERS) == EARNED  # 99 of 77, which has its place from the hundredth on, and 78
    assert counts.pop("v77") == 21
    assert counts == {f"v{value}": 1 for value in range(AT_ONCE)}


def test_what_is_frequent_among_endless_ids_is_found():
    rng = np.random.default_rng(5)
    values = list(range(AT_ONCE)) + [
        int(rng.integers(50, 55)) if rng.random() < 0.2 else 1000 + i for i in range(10_000)
    ]
    counts = counted(stream(values).run(new_slices(), stream(values).steps))
    assert {f"v{value}" for value in range(50, 55)} <= counts.keys()
    assert len(counts) <= PLACES + 1
    assert sum(counts.values()) == len(values)  # nothing is lost


def test_a_value_that_stays_away_gives_its_place_to_another():
    slices, old = new_slices(), stream(range(AT_ONCE))
    old.run(slices, old.steps)
    new = stream(range(100, 100 + AT_ONCE), pane=GRID.length)
    new.run(slices, new.steps)
    counts = counted(slices, now_us=(GRID.length + 1) * PANE)
    assert counts == {f"v{value}": 1 for value in range(100, 100 + AT_ONCE)} | {OTHERS: 0}


def test_figures_of_a_slice_are_those_of_its_events_alone():
    rng = np.random.default_rng(3)
    logit, shop = rng.normal(-1, 1.5, 4000), rng.integers(0, 3, 4000)
    label = (rng.random(4000) < 1 / (1 + np.exp(-logit * (shop != 1)))).astype(int)
    steps = [(SCORE | RESOLVE, row, int(label[row])) for row in range(4000)]
    script = Script([0] * 4000, logit.tolist(), [(int(value), 0) for value in shop], steps)
    tallies = script.run(new_slices(), steps).tallies("provisional", PANE, PANE)
    for value in range(3):
        mine = shop == value
        judged = quality(tallies[Slice("shop", f"v{value}")])
        losses = np.log1p(np.exp(np.where(label == 1, -logit, logit)))[mine]
        assert judged.labelled == mine.sum()
        assert judged.logloss == pytest.approx(losses.mean(), rel=1e-12)
        positives, negatives = logit[mine & (label == 1)], logit[mine & (label == 0)]
        area = (positives[:, None] > negatives[None, :]).mean()
        assert abs(judged.roc_auc - area) <= judged.roc_auc_bound
        assert roc_auc(tallies[Slice("shop", f"v{value}")]).bound < 0.05
        assert judged.alert_rate == pytest.approx((logit[mine] >= 0).mean(), rel=1e-12)


@given(st.lists(st.integers(-1280, 1280).map(lambda k: k / 64), min_size=1, max_size=50), st.sampled_from([128, 512]))
def test_the_share_above_even_odds_is_exact_in_bins_of_any_width(logit, bins):
    places = np.clip(((np.array(logit) + 16) * bins / 32).astype(int), 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    assert share_above(counts, 0.5) == sum(s >= 0 for s in logit)


def test_long_names_stay_apart_and_a_value_called_other_is_not_the_others():
    long = "x" * 100
    names = {0: "other", 1: long + "a", 2: long + "b", 3: "ä" * 40}
    slices, script = new_slices(), stream(range(4))
    script.name = lambda record, _: names[script.values[record][0]]
    counts = counted(script.run(slices, script.steps))
    assert len(counts) == 5
    assert counts['"other"'] == 1
    assert counts[OTHERS] == 0


def test_a_slice_is_read_with_the_fields_in_mind():
    assert parse_slice("a=b=c", ["a=b", "x"]) == Slice("a=b", "c")
    assert parse_slice("shop", ["shop"]) is None
    assert new_slices().tally(Slice("shop", "unknown"), "final", PANE, 0) is None
    assert new_slices().tally(Slice("shop", OTHERS), "final", PANE, 0).events == 0


def test_kernels_have_one_signature_whatever_the_arrays_come_as():
    slices, script = new_slices(), stream(range(200))
    script.run(slices, script.steps)
    twice = Ops(*[column[::2] for column in ops_of(script.steps)])
    rows = script.rows._replace(time=script.rows.time[::1])
    slices.observe(twice, rows, np.int64(BASE), events_of([(3, 1)] * 200), script.name)
    slices.advance(np.int64(50_000))
    slices.tallies("final", PANE, 60_000)
    assert [len(kernel.signatures) for kernel in (kernels.walk, kernels.roll, kernels.merge)] == [1] * 3


def test_without_fields_nothing_is_kept():
    slices = SlicePanes(GRID, ())
    slices.observe(ops_of([(SCORE, 0, -1)]), rows_of([0], [0.0]), BASE, events_of([(1, 1)]), str)
    slices.advance(1000)
    assert slices.tallies("final", PANE, 1000) == {}
    assert OTHER == PLACES
