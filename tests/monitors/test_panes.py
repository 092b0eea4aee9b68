"""Panes against a plain-Python oracle on arbitrary op lists, and what they promise: final is final, cuts don't show."""

import math
from collections import defaultdict
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors import kernels
from monitors.grid import PaneGrid
from monitors.kernels import BINS, bin_of
from monitors.panes import Panes
from stream.records import DROP, EXPIRE, LEARN, RESOLVE, SCORE, Ops, Rows

compiled = settings(deadline=None)  # whichever test comes first waits for numba
PANE, WINDOWS, JOIN = 10, (10, 20, 60), 25
BASE = 1000  # number of the first row


def new_panes():
    return Panes(PaneGrid(pane_us=PANE, windows_us=WINDOWS, join_window_us=JOIN))


def rows_of(time, logit):
    n, none = len(time), np.zeros(0)
    return Rows(
        none, none, none, np.array(time, np.int64), np.zeros(n, np.uint8), np.array(logit, np.float64), *[none] * 8
    )


def ops_of(steps):
    code, row, label = (np.array([step[k] for step in steps]) for k in range(3))
    nothing = np.full(len(steps), -1)
    return Ops(code.astype(np.uint8), row.astype(np.int64) + BASE, nothing, label.astype(np.int8), nothing)


class Script:
    """Rows, and steps in order: an op (code, row, label), or an int to which the watermark advances."""

    def __init__(self, time, logit, steps):
        self.rows, self.steps = rows_of(time, logit), steps

    def run(self, panes, steps, cuts=(10**9,)):
        """Ops in batches of the sizes ``cuts``, over and over, and shorter where the watermark advances."""
        batch, k = [], 0
        for step in [*steps, None]:
            if batch and (not isinstance(step, tuple) or len(batch) >= cuts[k % len(cuts)]):
                panes.observe(ops_of(batch), self.rows, BASE)
                batch, k = [], k + 1
            if isinstance(step, tuple):
                batch.append(step)
            elif step is not None:
                panes.advance(step)
        return panes


@st.composite
def scripts(draw):
    """Nothing that a joiner must honour is honoured: any op for any row at any time, jumps, steps back."""
    start = draw(st.sampled_from([-500, 0, 10**15 + 3]))
    now, time = start, []
    for jump, back in draw(
        st.lists(
            st.tuples(st.sampled_from([0, 1, 3, 9, 30, 10**7]), st.sampled_from([0, 0, 2, 40, 10**6])),
            min_size=1,
            max_size=25,
        )
    ):
        now += jump
        time.append(now - back)
    logit = draw(st.lists(st.floats(-20, 20), min_size=len(time), max_size=len(time)))
    steps, watermark, seen = [], start, 0
    for kind in draw(st.lists(st.sampled_from(["score", "score", "other", "advance"]), max_size=60)):
        if kind == "advance":
            watermark = max(watermark, time[max(seen - 1, 0)]) + draw(st.integers(-5, 40))
            steps.append(watermark)
        elif kind == "score" and seen < len(time):
            steps.append((SCORE | draw(st.sampled_from([0, RESOLVE, RESOLVE | LEARN])), seen, draw(st.integers(0, 1))))
            seen += 1
        else:
            code = draw(st.sampled_from([RESOLVE, RESOLVE | LEARN, LEARN, DROP | EXPIRE]))
            steps.append((code, draw(st.integers(0, max(seen - 1, 0))), draw(st.integers(0, 1))))
    return Script(time, logit, steps)


class Oracle:
    """The rules of panes by dict and list."""

    def __init__(self, length):
        self.length, self.newest, self.watermark, self.outside = length, None, None, 0
        self.panes = defaultdict(lambda: {"events": 0, "expired": 0, "judged": []})
        self.total = {"events": 0, "expired": 0, "judged": []}

    def is_final(self, pane):
        return self.watermark is not None and self.watermark >= (pane + 1) * PANE + JOIN

    def reach(self, pane):
        self.newest = pane if self.newest is None else max(self.newest, pane)
        for gone in [k for k in self.panes if k <= self.newest - self.length]:
            del self.panes[gone]

    def run(self, script):
        for step in script.steps:
            if isinstance(step, int):
                if self.watermark is None or step > self.watermark:
                    self.watermark = step
                    self.reach(step // PANE)
                continue
            code, row, label = step
            pane = int(script.rows.time[row]) // PANE
            if code & SCORE:
                self.reach(pane)
            held = self.newest is not None and self.newest - self.length < pane <= self.newest
            into = [self.total]
            if held and not self.is_final(pane):
                into.append(self.panes[pane])
            elif code != LEARN:
                self.outside += 1
            for one in into:
                one["events"] += bool(code & SCORE)
                one["expired"] += bool(code & EXPIRE)
                if code & RESOLVE:
                    one["judged"].append((float(script.rows.logit[row]), label))
        return self

    def window(self, end, window_us, now_us):
        if end == "final":
            last = max((k for k in range(-200, 10) if self.is_final(now_us // PANE + k)), default=None)
            if last is None:
                return []
            last += now_us // PANE
        else:
            last = (now_us - 1) // PANE
        return [self.panes[k] for k in range(last - window_us // PANE + 1, last + 1) if k in self.panes]


def same_tally(tally, parts):
    judged = [outcome for part in parts for outcome in part["judged"]]
    counts = np.zeros((BINS, 2), dtype=np.int64)
    for logit, label in judged:
        counts[bin_of(logit), label] += 1
    assert (tally.counts == counts).all()
    assert tally.events == sum(part["events"] for part in parts)
    assert tally.expired == sum(part["expired"] for part in parts)
    assert tally.sums[:, 0].sum() == pytest.approx(sum(1 / (1 + math.exp(-s)) for s, _ in judged), rel=1e-9)
    loss = sum(math.log1p(math.exp(-s if y else s)) for s, y in judged)
    assert tally.sums[:, 1].sum() == pytest.approx(loss, rel=1e-9)


def same_state(one, other):
    mine, theirs = one.ring.state(), other.ring.state()
    assert mine.keys() == theirs.keys()
    assert all(mine[key].tobytes() == theirs[key].tobytes() for key in mine)


@compiled
@given(scripts())
def test_equals_the_oracle(script):
    panes = script.run(new_panes(), script.steps)
    oracle = Oracle(len(panes.ring.header()["traffic"]) - 1).run(script)
    assert panes.outside == oracle.outside
    same_tally(panes.total, [oracle.total])
    for now_us in {oracle.watermark or 0, (oracle.newest or 0) * PANE + 1}:
        for window_us in WINDOWS:
            for end in ("final", "provisional"):
                if end == "final" and oracle.watermark is not None:
                    now_us = oracle.watermark
                same_tally(panes.window(end, window_us, now_us).tally, oracle.window(end, window_us, now_us))


@compiled
@given(scripts(), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_is_the_same_to_the_bit_however_batches_are_cut(script, cuts):
    same_state(script.run(new_panes(), script.steps), script.run(new_panes(), script.steps, cuts))


@compiled
@given(scripts(), st.integers(0, 60))
def test_restored_in_the_middle_is_the_same_to_the_bit(script, cut):
    before = script.run(new_panes(), script.steps[:cut])
    restored = new_panes()
    script.run(restored, script.steps[cut // 2 :])  # what it held is forgotten
    restored.ring.restore(before.ring.state())
    assert restored.ring.dirty() == []
    same_state(restored, before)
    same_state(script.run(restored, script.steps[cut:]), script.run(new_panes(), script.steps))


@compiled
@given(scripts(), st.sets(st.integers(0, 60), max_size=6))
def test_the_latest_block_of_each_dirty_place_is_enough_to_restore(script, checkpoints):
    panes, stored, done = new_panes(), {}, 0
    for cut in [*sorted(checkpoints), len(script.steps)]:
        script.run(panes, script.steps[done:cut])
        done = max(done, cut)
        stored |= panes.ring.header()
        for place in panes.ring.dirty():
            stored |= panes.ring.block(place)
        panes.ring.clean()
    restored = new_panes()
    restored.ring.restore(stored)
    same_state(restored, panes)


@compiled
@given(scripts())
def test_final_panes_never_change(script):
    panes, judged = new_panes(), {}
    for step in script.steps:
        script.run(panes, [step])
        oldest = int(panes.ring.header()["clock"][0] - len(panes.ring.header()["traffic"]) + 2) * PANE
        if isinstance(step, int):
            window = panes.window("final", PANE, step)
            judged[window.start_us] = (step, window)
        for then_us, window in judged.values():
            if window.start_us >= oldest:
                again = panes.window("final", PANE, then_us)
                assert again[:2] == window[:2]
                assert [np.asarray(part).tobytes() for part in astuple(again.tally)] == [
                    np.asarray(part).tobytes() for part in astuple(window.tally)
                ]


def test_a_window_reaches_back_whole_when_the_watermark_stands_anywhere():
    time = list(range(400))
    steps = [(SCORE | RESOLVE, row, row % 2) for row in range(400)]
    script, panes = Script(time, [0.0] * 400, steps), new_panes()
    for now_us in range(400):
        panes.advance(now_us)
        script.run(panes, [steps[now_us]])
        final, recent = panes.window("final", 60, now_us), panes.window("provisional", 60, now_us)
        assert final.end_us + JOIN <= now_us < final.end_us + PANE + JOIN
        assert final.tally.events == final.tally.labelled == max(0, final.end_us) - max(0, final.start_us)
        assert recent.end_us - PANE < now_us <= recent.end_us
        assert recent.tally.events == min(now_us + 1, recent.end_us) - max(0, recent.start_us)
    assert panes.outside == 0


def test_panes_are_not_final_before_advance_says_so():
    panes = new_panes()
    panes.observe(ops_of([(SCORE | RESOLVE, 0, 1)]), rows_of([0], [1.0]), BASE)
    assert panes.window("final", 10, 1_000).tally.events == 0
    panes.advance(34)
    assert panes.window("final", 10, 1_000).tally.events == 0
    panes.advance(35)
    assert panes.window("final", 10, 1_000)[:2] == (0, 10)
    assert panes.window("final", 10, 1_000).tally.events == 1


def test_an_idle_jump_of_years_empties_the_ring_and_dirties_what_it_emptied():
    panes = new_panes()
    places = len(panes.ring.header()["traffic"]) - 1
    rows = rows_of([PANE * pane for pane in range(places)], [1.0] * places)
    panes.observe(ops_of([(SCORE | RESOLVE, row, 1) for row in range(places)]), rows, BASE)
    panes.ring.clean()
    panes.advance(10**17)
    assert panes.ring.dirty() == list(range(places))
    panes.ring.clean()
    panes.advance(10**17 + 10**9)
    assert panes.ring.dirty() == []
    assert not panes.ring.header()["traffic"][:-1].any()
    assert panes.ring.state().keys() == panes.ring.header().keys() | panes.ring.block(places).keys()
    assert panes.total.labelled == places


def test_kernels_have_one_signature_whatever_the_arrays_come_as():
    panes = new_panes()
    ops = ops_of([(SCORE, 0, 0), (SCORE | RESOLVE, 1, 1), (DROP | EXPIRE, 0, 0), (LEARN, 1, 1)])
    rows = rows_of([0, 0, 12, 12], [0.5, 0.5, 1.5, 1.5])
    panes.observe(ops, rows, BASE)
    panes.observe(
        Ops(*[column[::2] for column in ops]), rows._replace(time=rows.time[::2], logit=rows.logit[::2]), np.int64(BASE)
    )
    panes.advance(np.int64(500))
    panes.advance(700)
    panes.window("final", 20, 700)
    called = (kernels.walk, kernels.roll, kernels.merge)
    assert [len(kernel.signatures) for kernel in called] == [1] * 3
    # none when their caller came from numba's cache
    assert max(len(kernel.signatures) for kernel in (kernels.judge, kernels.add, kernels.bin_of)) <= 1


def test_a_window_that_is_no_multiple_of_the_pane_is_refused():
    with pytest.raises(ValueError, match="window of 25 us is no multiple of the pane of 10 us"):
        PaneGrid(pane_us=10, windows_us=(20, 25), join_window_us=0)


def test_a_ring_too_long_is_refused_with_its_figures():
    minute_us, day_us = 60_000_000, 86_400_000_000
    with pytest.raises(ValueError, match=r"2,592,000 s .* 86,400 s .* 60 s make 44,646 panes, more than 4,096"):
        PaneGrid(pane_us=minute_us, windows_us=(30 * day_us,), join_window_us=day_us)


def test_a_window_that_was_not_announced_is_refused():
    with pytest.raises(ValueError, match=r"no window of 30 us, only \(10, 20, 60\)"):
        new_panes().window("final", 30, 0)


def test_the_state_of_other_panes_is_refused():
    other = Panes(PaneGrid(pane_us=PANE, windows_us=WINDOWS, join_window_us=JOIN + 1))
    with pytest.raises(ValueError, match=r"= \(10, 25, 15\), the configuration says \(10, 26, 15\)"):
        other.ring.restore(new_panes().ring.state())
