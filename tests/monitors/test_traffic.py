"""Traffic against a plain-Python oracle on arbitrary op lists; cuts, restarts and gaps don't show."""

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors import traffic_kernels as kernels
from monitors.feature_drift_figures import Drift
from monitors.grid import PaneGrid
from monitors.kernels import BINS, bin_of
from monitors.traffic import CategoryColumn, TrafficPanes
from monitors.traffic_kernels import DELAY_BINS, delay_bin
from stream.records import DROP, EXPIRE, LEARN, NEVER, RESOLVE, SCORE, Events, Ops, Rows

compiled = settings(deadline=None)  # whichever test comes first waits for numba
PANE, WINDOWS, JOIN = 10_000, (10_000, 20_000, 60_000), 25_000
BASE = 1000  # number of the first row
NULL = 7
NAN = math.nan
COLUMNS = (CategoryColumn("shop", 2, NULL), CategoryColumn("user", 0, NULL))
NUMBERS = ("x", "y")


def new_panes(numbers=NUMBERS):
    grid = PaneGrid(pane_us=PANE, windows_us=WINDOWS, join_window_us=JOIN)
    return TrafficPanes(grid, categories=COLUMNS, numbers=numbers)


def rows_of(time, logit):
    n, none = len(time), np.zeros(0)
    return Rows(
        none, none, none, np.array(time, np.int64), np.zeros(n, np.uint8), np.array(logit, np.float64), *[none] * 8
    )


def events_of(categories, numbers):
    none = np.zeros(0)
    return Events(
        *[none] * 10,
        np.array(categories, np.uint64).reshape(-1, 3),
        np.array(numbers, np.float64).reshape(-1, 2),
        none,
        none,
    )


def ops_of(steps):
    code, row, at = (np.array([step[k] for step in steps], np.int64) for k in range(3))
    record = np.where(code & SCORE, row, -1)
    return Ops(code.astype(np.uint8), row + BASE, record, np.zeros(len(steps), np.int8), at)


class Script:
    """Rows, and steps in order: an op (code, row, label time), or a tick (now, decided, messages, dead)."""

    def __init__(self, time, logit, categories, numbers, steps):
        self.rows, self.events, self.steps = rows_of(time, logit), events_of(categories, numbers), steps

    def run(self, panes, steps, cuts=(10**9,)):
        """Ops in batches of the sizes ``cuts``, over and over, and shorter at ticks."""
        batch, k = [], 0
        for step in [*steps, None]:
            if batch and (step is None or len(step) == 4 or len(batch) >= cuts[k % len(cuts)]):
                panes.observe(ops_of(batch), self.rows, BASE, self.events)
                batch, k = [], k + 1
            if step is not None and len(step) == 4:
                now, decided, messages, dead = step
                panes.count(now, messages=messages, dead=dead)
                panes.advance(now, decided)
            elif step is not None:
                batch.append(step)
        return panes


hashes = st.one_of(st.integers(0, 12), st.integers(0, 2**64 - 1))
absurd = st.sampled_from([NAN, math.inf, -math.inf, 1.1e15, 1e15])


@st.composite
def scripts(draw):
    """Events in any order of time; ticks on the grid, behind all that came before."""
    count = draw(st.integers(1, 25))
    now = start = draw(st.sampled_from([-50 * PANE, 0, 10**12]))
    time, jumps = [], st.sampled_from([0, 1_000, 9_000, 30_000, 10**9])
    for _ in range(count):
        now += draw(jumps)
        time.append(now - draw(st.sampled_from([0, 0, 2_000, 40_000, 10**8])))
    logit = draw(st.lists(st.floats(-20, 20), min_size=count, max_size=count))
    categories = draw(st.lists(st.lists(hashes, min_size=3, max_size=3), min_size=count, max_size=count))
    number = st.one_of(st.floats(-100, 100), absurd)
    numbers = draw(st.lists(st.lists(number, min_size=2, max_size=2), min_size=count, max_size=count))
    steps, seen, tick, messages, dead = [], 0, start, 0, 0
    for kind in draw(st.lists(st.sampled_from(["score", "score", "other", "tick"]), max_size=60)):
        if kind == "tick":
            tick = max(tick, max(time[:seen], default=start))
            tick = (tick // PANE + draw(st.integers(1, 3))) * PANE
            dead += draw(st.integers(0, 3))
            messages += draw(st.integers(3, 9))
            steps.append((tick, tick - draw(st.sampled_from([0, 0, PANE, 3 * PANE])), messages, dead))
        elif kind == "score" and seen < count:
            code = SCORE | draw(st.sampled_from([0, RESOLVE, RESOLVE | LEARN]))
            delay = draw(st.one_of(st.none(), st.integers(-1_000, 10**9)))
            steps.append((code, seen, NEVER if delay is None else time[seen] + delay))
            seen += 1
        elif seen:
            code, row = (
                draw(st.sampled_from([RESOLVE, RESOLVE | LEARN, LEARN, DROP | EXPIRE])),
                draw(st.integers(0, seen - 1)),
            )
            steps.append((code, row, time[row] + draw(st.integers(-1_000, 10**9))))
    return Script(time, logit, categories, numbers, steps)


class Oracle:
    """The rules by dict and list: what each pane saw."""

    def __init__(self, length):
        self.length, self.newest, self.decided = length, None, None
        self.events, self.delays, self.books = defaultdict(list), defaultdict(list), defaultdict(lambda: [0, 0])
        self.seen, self.totals, self.now = [set(), set()], (0, 0), None

    def reach(self, pane):
        self.newest = pane if self.newest is None else max(self.newest, pane)
        for kept in (self.events, self.delays, self.books):
            for gone in [k for k in kept if k <= self.newest - self.length]:
                del kept[gone]

    def run(self, script):
        for step in script.steps:
            if len(step) == 4:
                self.tick(*step)
                continue
            code, row, at = step
            time = int(script.rows.time[row])
            if code & SCORE:
                self.reach(time // PANE)
                hashed = script.events.categories[row].tolist()
                watched = [hashed[column.column] for column in COLUMNS]
                news = [
                    value != NULL and value % 2**18 not in seen for value, seen in zip(watched, self.seen, strict=True)
                ]
                for value, seen in zip(watched, self.seen, strict=True):
                    if value != NULL:
                        seen.add(value % 2**18)
                numbers = [x if abs(x) <= 1e15 else None for x in script.events.numbers[row].tolist()]
                nulls = [value == NULL for value in watched]
                self.events[self.newest].append((float(script.rows.logit[row]), nulls, news, numbers))
            held = self.newest is not None and self.newest - self.length < time // PANE <= self.newest
            if held and code & RESOLVE and at != NEVER:
                self.delays[time // PANE].append(at - time)
        return self

    def tick(self, now, decided, messages, dead):
        self.reach((now - 1) // PANE)
        books = self.books[self.newest]
        books[0] += messages - self.totals[0]
        books[1] += dead - self.totals[1]
        self.totals = (messages, dead)
        self.decided = decided if self.decided is None else max(self.decided, decided)
        self.reach(now // PANE)
        self.now = now

    def window(self, last, panes):
        return range(last - panes + 1, last + 1)


def same_figures(found, oracle, window_us, event_last, decided_last):
    panes = window_us // PANE
    events = [event for k in oracle.window(event_last, panes) for event in oracle.events.get(k, [])]
    delays = [delay for k in oracle.window(decided_last, panes) for delay in oracle.delays.get(k, [])]
    messages, dead = (sum(oracle.books.get(k, [0, 0])[j] for k in oracle.window(event_last, panes)) for j in (0, 1))
    assert (found.events, found.labels, found.messages) == (len(events), len(delays), messages)
    assert found.dead_share == (dead / messages if messages else None)
    if not events:
        assert found.decision_rate is None
        assert found.features["x"].null_rate is None
        return
    assert found.decision_rate == sum(bin_of(logit) >= BINS // 2 for logit, *_ in events) / len(events)
    for j, column in enumerate(COLUMNS):
        figures = found.features[column.name]
        assert figures.null_rate == sum(nulls[j] for _, nulls, _, _ in events) / len(events)
        assert figures.unseen_rate == sum(news[j] for _, _, news, _ in events) / len(events)
    for j, name in enumerate(NUMBERS):
        figures = found.features[name]
        values = [numbers[j] for *_, numbers in events if numbers[j] is not None]
        scale = max(map(abs, values), default=1.0)
        assert figures.null_rate == pytest.approx(1 - len(values) / len(events), abs=1e-12)
        assert figures.sum == pytest.approx(sum(values), rel=1e-9, abs=1e-9 * scale)
        assert figures.mean == (pytest.approx(np.mean(values), rel=1e-9, abs=1e-9 * scale) if values else None)
        spread = pytest.approx(np.std(values, ddof=1), rel=1e-6, abs=1e-6 * scale) if len(values) > 1 else None
        assert figures.spread == spread
    for quantile, delay_s in ((0.5, found.label_delay_p50), (0.9, found.label_delay_p90)):
        if delays:
            exact = sorted(delays)[math.ceil(quantile * len(delays)) - 1] / 1e6
            assert delay_s == pytest.approx(max(exact, 0), rel=0.126, abs=0.001_025)
        else:
            assert delay_s is None


@compiled
@given(scripts())
def test_equals_the_oracle(script):
    panes = script.run(new_panes(), script.steps)
    oracle = Oracle(len(panes.ring.header()["books"])).run(script)
    for now in {oracle.now or 0, (oracle.newest or 0) * PANE + 1}:
        for window_us in WINDOWS:
            recent = panes.window("provisional", window_us, now, threshold=0.5)
            same_figures(recent, oracle, window_us, (now - 1) // PANE, (now - 1) // PANE)
            final = panes.window("final", window_us, now, threshold=0.5)
            decided = min(now, oracle.decided if oracle.decided is not None else -(10**18))
            same_figures(final, oracle, window_us, now // PANE - 1, (decided - JOIN) // PANE - 1)


def same_state(one, other):
    mine, theirs = one.ring.state(), other.ring.state()
    assert mine.keys() == theirs.keys()
    assert all(mine[key].tobytes() == theirs[key].tobytes() for key in mine)


@compiled
@given(scripts(), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_is_the_same_to_the_bit_however_batches_are_cut(script, cuts):
    same_state(script.run(new_panes(), script.steps), script.run(new_panes(), script.steps, cuts))


@compiled
@given(scripts(), st.integers(0, 60))
def test_restored_in_the_middle_is_the_same_to_the_bit(script, cut):
    before = script.run(new_panes(), script.steps[:cut])
    restored = script.run(new_panes(), script.steps[cut // 2 :])  # what it held is forgotten
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
@given(st.floats(allow_nan=False), st.integers(0, 2**49))
def test_bins_of_scores_are_those_of_quality_and_bins_of_delays_hold_their_delay(logit, delay):
    panes = new_panes()
    panes.observe(ops_of([(SCORE, 0, NEVER)]), rows_of([0], [logit]), BASE, events_of([[1, 2, 3]], [[NAN, 1.0]]))
    assert panes.ring.block(0)["scores/0"][bin_of(logit)] == 1
    assert panes.ring.block(0)["scores/0"].shape == (BINS,)
    place = delay_bin(delay)
    edges = [0, 1024, *(2**octave * (8 + part) // 8 for octave in range(10, 49) for part in range(1, 9))]
    assert edges[place] <= delay < edges[place + 1] or place == DELAY_BINS - 1


def stream_of(count, *, mean=0.0, seed=1, spacing=100, start=0):
    rng = np.random.default_rng(seed)
    time = np.arange(count) * spacing + start
    steps = []
    for row in range(count):
        if row and time[row] // PANE > time[row - 1] // PANE:
            tick = int(time[row] // PANE * PANE)
            steps.append((tick, tick, row, 0))
        steps.append((SCORE, row, NEVER))
    logit = rng.normal(mean, 1.0, count)
    categories, numbers = np.ones((count, 3)), rng.normal(size=(count, 2))
    return Script(time, logit, categories, numbers, steps)


def test_scores_are_compared_with_those_of_the_reference():
    script, panes = stream_of(1_000), new_panes()
    script.run(panes, script.steps)
    same, other = (
        np.bincount([bin_of(s) for s in stream_of(5_000, mean=mean, seed=2).rows.logit], minlength=BINS)
        for mean in (0.0, 0.7)
    )
    panes.advance(100_000, 100_000)
    found = [
        panes.window("final", 60_000, 100_000, threshold=0.5, drift=Drift(reference_scores=scores, reference_events=1))
        for scores in (same, other)
    ]
    assert found[0].score_psi < 3 * found[0].score_psi_expected
    assert found[1].score_psi > 5 * found[1].score_psi_expected
    assert found[0].reference_events == 1
    assert panes.window("final", 60_000, 100_000, threshold=0.5).score_psi is None


def test_nulls_are_found_at_the_next_tick_and_do_not_wait_for_labels():
    script, panes = stream_of(1_000), new_panes()
    script.events.numbers[900:, 0] = NAN
    script.run(panes, script.steps)
    panes.count(100_000, messages=1_000, dead=0)
    panes.advance(100_000, 100_000)
    assert panes.window("final", PANE, 100_000, threshold=0.5).features["x"].null_rate == 1.0
    assert panes.window("final", 60_000, 100_000, threshold=0.5).features["x"].null_rate == pytest.approx(1 / 6)


def test_a_far_away_mean_leaves_the_spread_as_it_is():
    panes, script = new_panes(), stream_of(2_000, spacing=25)
    script.events.numbers[:, 0] += 1e9
    script.run(panes, script.steps)
    figures = panes.window("provisional", 60_000, 50_000, threshold=0.5).features["x"]
    assert figures.spread == pytest.approx(script.events.numbers[:, 0].std(ddof=1), rel=1e-6)


def test_kernels_have_one_signature_whatever_the_arrays_come_as():
    panes, script = new_panes(), stream_of(100)
    ops = ops_of([step for step in script.steps if len(step) == 3])
    panes.observe(ops, script.rows, BASE, script.events)
    twice = Ops(*[column[::2] for column in ops])
    panes.observe(twice, script.rows, np.int64(BASE), script.events)
    other = script.events._replace(numbers=np.asfortranarray(script.events.numbers))
    panes.observe(ops, script.rows, BASE, other)
    new_panes(()).observe(ops, script.rows, BASE, script.events._replace(numbers=np.zeros((100, 0))))
    panes.advance(np.int64(50_000), 40_000)
    panes.count(60_000, messages=3, dead=0)
    for end in ("final", "provisional"):
        panes.window(end, PANE, 60_000, threshold=0.5)
    called = (kernels.walk, kernels.roll, kernels.merge_events, kernels.merge_delays)
    assert [len(kernel.signatures) for kernel in called] == [1] * 4


def test_a_window_that_was_not_announced_is_refused():
    with pytest.raises(ValueError, match=r"no window of 30000 us, only \(10000, 20000, 60000\)"):
        new_panes().window("final", 30_000, 0, threshold=0.5)


def test_the_state_of_other_fields_is_refused():
    with pytest.raises(
        ValueError, match=r"= \(10000, 25000, 15, 2, 1\), the configuration says \(10000, 25000, 15, 2, 2\)"
    ):
        new_panes().ring.restore(new_panes(("x",)).ring.state())
