"""Drift of fields against a numpy oracle; cuts and restarts don't show; chance alone stays below its noise."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from monitors import feature_drift_kernels as kernels
from monitors.feature_drift import FeatureDrift
from monitors.feature_drift_kernels import BINS, CATEGORY_BINS, CELLS, EDGES, SAMPLE, cut, number_bin
from monitors.grid import PaneGrid
from monitors.kernels import bin_of
from monitors.reference import Reference
from monitors.stability import field_psi, noise_quantile
from monitors.traffic import CategoryColumn
from stream.records import EXPIRE, LEARN, RESOLVE, SCORE, Events, Ops, Rows

compiled = settings(deadline=None)  # whichever test comes first waits for numba
PANE, WINDOWS = 10_000, (10_000, 20_000, 60_000)
BASE = 1000  # number of the first row
NULL = 7
NAN = math.nan
COLUMNS = (CategoryColumn("shop", 2, NULL), CategoryColumn("user", 0, NULL))
NUMBERS = ("x", "y")
GRID = PaneGrid(pane_us=PANE, windows_us=WINDOWS, join_window_us=25_000)


def new_drift(reference=None, numbers=NUMBERS):
    return FeatureDrift(GRID, categories=COLUMNS, numbers=numbers, reference=reference)


class Script:
    """Events in the order in which they are asked, some of them ticks: (now, bounds)."""

    def __init__(self, time, logit, categories, numbers, steps=None):
        none, n = np.zeros(0), len(time)
        self.time = np.array(time, np.int64)
        self.logit = np.array(logit, np.float64)
        self.categories = np.array(categories, np.uint64).reshape(n, 3)
        self.numbers = np.array(numbers, np.float64).reshape(n, 2)
        self.rows = Rows(none, none, none, self.time, np.zeros(n, np.uint8), self.logit, *[none] * 8)
        self.events = Events(*[none] * 10, self.categories, self.numbers, none, none)
        self.steps = list(range(n)) if steps is None else steps

    def run(self, drift, steps=None, cuts=(10**9,)):
        """Events in batches of the sizes ``cuts``, over and over, and shorter at ticks; other ops in between."""
        batch, k = [], 0
        for step in [*(self.steps if steps is None else steps), None]:
            if batch and (not isinstance(step, int) or len(batch) >= cuts[k % len(cuts)]):
                codes = [code for row in batch for code in (SCORE | (row % 2) * (RESOLVE | LEARN), EXPIRE)]
                rows = np.repeat(np.array(batch, np.int64), 2)
                record = np.where(np.arange(len(rows)) % 2, -1, rows)
                ops = Ops(np.array(codes, np.uint8), rows + BASE, record, np.zeros(len(rows), np.int8), rows)
                drift.observe(ops, self.rows, BASE, self.events)
                batch, k = [], k + 1
            if isinstance(step, tuple):
                drift.advance(*step)
            elif step == "reset":
                drift.reset_reference()
            elif step is not None:
                batch.append(step)
        return drift


hashes = st.sampled_from([NULL, 8, *(k << 58 | 5 for k in range(0, 64, 9)), 2**64 - 1])
values = st.one_of(st.sampled_from([0.0, -0.0, 1.0, NAN, math.inf, -math.inf, 1.1e15, 1e15]), st.floats(-100, 100))


@st.composite
def scripts(draw, resets=False):
    """Few draws make many events: each is one of a handful of kinds, in any order of time."""
    kinds = draw(st.lists(st.tuples(hashes, hashes, values, values, st.floats(-20, 20)), min_size=1, max_size=9))
    count, seed = draw(st.sampled_from([3, 40, 400, 5_000])), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    which = rng.integers(0, len(kinds), count)
    drawn = [kinds[k] for k in which]
    noise = rng.normal(0, draw(st.sampled_from([0.0, 1.0, 1e6])), (count, 2))
    start = draw(st.sampled_from([-50 * PANE, 0, 10**12]))
    now = start + np.cumsum(rng.choice([0, 90_000 // count, 200_000 // count], count))
    if draw(st.booleans()):
        now[count // 2 :] += 10**9  # a gap that empties the ring
    time = now - rng.choice([0, 0, 2_000, 40_000], count)
    steps, tick = [], None
    for row in range(count):
        if tick is not None and now[row] // PANE * PANE > tick:
            tick = int(now[row] // PANE * PANE)
            steps.append((tick, np.array([[-1.0, 1.0], [NAN, NAN]]) * (tick % 3)))
        tick = int(now[row] // PANE * PANE) if tick is None else tick
        if resets and rng.random() < 2 / count:
            steps.append("reset")
        steps.append(row)
    end = int(now[-1] // PANE + 1) * PANE
    categories = [(user, 3, shop) for shop, user, *_ in drawn]
    numbers = np.array([(x, y) for *_, x, y, _ in drawn]) + noise
    reference = draw(
        st.sampled_from(
            [None, Reference(events=2), Reference(events=300), Reference(length_us=30_000)]
            + [Reference(from_us=start + 7_000, length_us=length) for length in (1, 45_000, 10**7)]
        )
    )
    script = Script(time, [logit for *_, logit in drawn], categories, numbers, [*steps, (end, None)])
    script.reference = reference
    return script


def edges_of(sample):
    """Cells by dict and list."""
    distinct, counts = np.unique(sample, return_counts=True)
    share, inside, edges = len(sample) / CELLS, 0, []
    for value, count in zip(distinct.tolist(), counts.tolist(), strict=True):
        if inside and (inside >= share or (count >= share and inside >= share / 2)):
            edges.append(value)
            inside = 0
        inside += count
    return edges


def psi_of(reference, current):
    """The index by its definition, over groups as the docstring says."""
    m, n = reference.sum(), current.sum()
    if not m or not n:
        return None
    both = reference + current
    groups, rest = [], []
    for j, together in enumerate(both.tolist()):
        if together * min(m, n) / (m + n) >= 5 - 1e-9:
            groups.append([j])
            continue
        rest.append(j)
        if both[rest].sum() * min(m, n) / (m + n) >= 5 - 1e-9:
            groups.append(rest)
            rest = []
    if not groups:
        return 0.0, 0.0
    groups[int(np.argmin([both[group].sum() for group in groups]))] += rest
    then, now = (np.array([counts[group].sum() for group in groups]) + 0.5 for counts in (reference, current))
    then, now = then / then.sum(), now / now.sum()
    return float(((now - then) * np.log(now / then)).sum()), (len(groups) - 1) * (1 / m + 1 / n)


class Oracle:
    """What each event was, and where it belongs."""

    def __init__(self, script):
        self.script, self.asked, self.clips = script, {}, {}
        reference, newest, bounds, self.rows = script.reference or Reference(length_us=60_000), None, None, []
        begin, whole, order = reference.from_us, False, []
        for step in script.steps:
            if isinstance(step, tuple):
                newest = step[0] // PANE if newest is None else max(newest, step[0] // PANE)
                bounds = bounds if step[1] is None else step[1]
                late = begin is not None and reference.length_us is not None and step[0] >= begin + reference.length_us
                whole |= late
                continue
            time = int(script.time[step])
            newest = time // PANE if newest is None else max(newest, time // PANE)
            self.asked[step], self.clips[step] = newest, bounds
            order.append(step)
            begin = newest * PANE if begin is None else begin
            end = math.inf if reference.length_us is None else begin + reference.length_us
            if not whole and begin <= time < end:
                self.rows.append(step)
                whole = len(self.rows) == reference.events
        self.order, self.whole, self.newest, self.bounds = order, whole, newest, bounds
        fixed = self.script.numbers[order]
        self.edges = [edges_of([x for x in fixed[:, j] if abs(x) <= 1e15][:SAMPLE]) for j in (0, 1)]

    def histograms(self, rows):
        """Of shop, user, x and y, in bins of their own."""
        script = self.script
        for column in COLUMNS:
            hashed = script.categories[rows, column.column]
            bins = np.where(hashed == NULL, CATEGORY_BINS - 1, (hashed >> np.uint64(58)).astype(np.int64))
            yield np.bincount(bins, minlength=CATEGORY_BINS)
        for j in (0, 1):
            x = script.numbers[rows, j]
            null = ~(abs(x) <= 1e15)
            bins = np.searchsorted(self.edges[j], np.where(null, 0.0, x), side="right")
            yield np.bincount(np.where(null, EDGES + 1, bins), minlength=EDGES + 2)

    def clipped(self, rows, j):
        known = [row for row in rows if abs(self.script.numbers[row, j]) <= 1e15]
        if not known or self.bounds is None or np.isnan(self.bounds[j]).any():
            return None
        beyond = 0
        for row in known:
            bounds = self.clips[row]
            beyond += bounds is not None and not bounds[j][0] <= self.script.numbers[row, j] <= bounds[j][1]
        return beyond / len(known)


@compiled
@given(scripts())
def test_equals_the_oracle(script):
    drift = script.run(new_drift(script.reference))
    oracle = Oracle(script)
    sample_is_early = all(
        sum(abs(x) <= 1e15 for x in script.numbers[oracle.rows, j]) >= SAMPLE or not oracle.whole for j in (0, 1)
    )
    now = script.steps[-1][0]
    for window_us in WINDOWS:
        for end in ("final", "provisional"):
            found = drift.window(end, window_us, now)
            last = now // PANE - 1
            panes = range(max(last - window_us // PANE + 1, oracle.newest - GRID.length + 1), last + 1)
            rows = [row for row in oracle.order if oracle.asked[row] in panes]
            assert found.reference_events == (len(oracle.rows) if oracle.whole else None)
            for j, name in enumerate(NUMBERS):
                assert found.fields[name].clipped_rate == oracle.clipped(rows, j)
            if not oracle.whole:
                assert all(figures.psi is None for figures in found.fields.values())
                continue
            scores = np.bincount([bin_of(logit) for logit in script.logit[oracle.rows]], minlength=BINS)
            assert (found.reference_scores == scores).all()
            pairs = zip(found.fields, oracle.histograms(oracle.rows), oracle.histograms(rows), strict=True)
            for name, then, now_ in pairs:
                if name in NUMBERS and not sample_is_early:
                    continue  # then edges come from another sample
                expected = psi_of(then, now_)
                if expected is None:
                    assert found.fields[name].psi is None
                else:
                    assert found.fields[name].psi == pytest.approx(expected[0], rel=1e-9, abs=1e-12)
                    assert found.fields[name].psi_expected == pytest.approx(expected[1], rel=1e-9, abs=1e-12)


def same_state(one, other):
    mine, theirs = one.ring.state(), other.ring.state()
    assert mine.keys() == theirs.keys()
    assert [key for key in mine if mine[key].tobytes() != theirs[key].tobytes()] == []


@compiled
@given(scripts(resets=True), st.lists(st.sampled_from([1, 7, 500]), min_size=1, max_size=5))
def test_is_the_same_to_the_bit_however_batches_are_cut(script, cuts):
    same_state(script.run(new_drift(script.reference)), script.run(new_drift(script.reference), cuts=cuts))


@compiled
@given(scripts(resets=True), st.floats(0, 1))
def test_restored_in_the_middle_is_the_same_to_the_bit(script, where):
    cut_at = int(where * len(script.steps))
    before = script.run(new_drift(script.reference), script.steps[:cut_at])
    restored = script.run(new_drift(script.reference), script.steps[cut_at // 2 :])  # what it held is forgotten
    restored.ring.restore(before.ring.state())
    assert restored.ring.dirty() == []
    same_state(restored, before)
    same_state(script.run(restored, script.steps[cut_at:]), script.run(new_drift(script.reference)))


@compiled
@given(scripts(resets=True), st.sets(st.floats(0, 1), max_size=6))
def test_the_latest_block_of_each_dirty_place_is_enough_to_restore(script, checkpoints):
    drift, stored, done = new_drift(script.reference), {}, 0
    for cut_at in [*sorted(int(share * len(script.steps)) for share in checkpoints), len(script.steps)]:
        script.run(drift, script.steps[done:cut_at])
        done = max(done, cut_at)
        stored |= drift.ring.header()
        for place in drift.ring.dirty():
            stored |= drift.ring.block(place)
        drift.ring.clean()
    restored = new_drift(script.reference)
    restored.ring.restore(stored)
    same_state(restored, drift)


def test_values_that_wait_no_longer_are_gone_from_the_store_too():
    script = stream(100, np.random.default_rng(1))
    drift = script.run(new_drift())
    stored = drift.ring.state()
    drift.ring.clean()
    drift.advance(60_000)  # the reference is whole, so edges come from what waits
    stored |= drift.ring.header()
    for place in drift.ring.dirty():
        stored |= drift.ring.block(place)
    restored = new_drift()
    restored.ring.restore(stored)
    same_state(restored, drift)


samples = st.one_of(
    st.lists(st.integers(0, 3), min_size=1, max_size=300),
    st.lists(st.floats(-1e15, 1e15), min_size=1, max_size=300),
    st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).zipf(1.3, SAMPLE).clip(1, 10**14)),
    st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).integers(0, 30, SAMPLE)),
    st.integers(1, 60).map(lambda many: [k // 2 if k % 2 else -k for k in range(many)] * 7),
)


@compiled
@given(samples)
def test_cells_are_of_one_size_but_for_ties_and_equal_values_are_in_one(sample):
    sample = np.sort(np.array(sample, np.float64))
    edges = np.empty(EDGES)
    cut(sample, edges)
    finite = edges[np.isfinite(edges)]
    assert finite.tolist() == edges_of(sample)
    assert (np.diff(finite) > 0).all()
    assert np.isin(finite, sample).all()
    cells = np.array([number_bin(x, edges) for x in sample])
    assert (cells == np.searchsorted(finite, sample, side="right")).all()
    counts = np.bincount(cells)
    assert (counts > 0).all()
    for cell in range(len(counts)):
        inside = sample[cells == cell]
        # without what stands at its highest value, a cell has less than its share
        assert np.count_nonzero(inside < inside[-1]) < len(sample) / CELLS


@pytest.mark.parametrize("rare", [0.5, 0.1, 0.02])
def test_a_number_of_zeros_and_ones_has_two_cells(rare):
    edges = np.empty(EDGES)
    cut(np.sort((np.random.default_rng(3).random(SAMPLE) < rare).astype(float)), edges)
    assert edges[np.isfinite(edges)].tolist() == [1.0]


def stream(count, rng, *, shift=0.0, start=0, seen=1.0):
    """Normal x, y of 0 and 1, shop of eight values in which one gives way to another by ``shift``."""
    shares = np.full(8, 1 / 8) + np.array([-shift / 8, shift / 8, *[0.0] * 6])
    shop = np.where(rng.random(count) < 0.05, NULL, (rng.choice(8, count, p=shares) << 58) + 9)
    x = np.where(rng.random(count) < seen, rng.normal(shift, 1.0, count), NAN)
    y = (rng.random(count) < 0.1).astype(float)
    time = start + np.arange(count) * (60_000 // count)
    categories = np.stack([rng.integers(0, 2**63, count), np.zeros(count, np.int64), shop], axis=1)
    return Script(time, rng.normal(-1, 1, count), categories, np.stack([x, y], axis=1))


def compared(first, second, *, reference=None):
    """The figures of the second stream against the first."""
    drift = first.run(new_drift(reference))
    drift.advance(60_000)
    second.run(drift)
    drift.advance(120_000)
    return drift.window("final", 60_000, 120_000)


def test_noise_holds_for_independent_events():
    rng, pairs = np.random.default_rng(2), 250
    found = [compared(stream(3_000, rng), stream(1_500, rng, start=60_000)) for _ in range(pairs)]
    excess = {name: [drift.fields[name].psi_excess for drift in found] for name in ("shop", "user", "x", "y")}
    for name, shown in excess.items():
        assert sum(value > 1 for value in shown) <= 3, name  # one is expected in 1,000
        assert max(shown) > 0.3, name
        mean = np.mean([drift.fields[name].psi / drift.fields[name].psi_expected for drift in found])
        assert mean == pytest.approx(1.0, abs=0.25), name


@pytest.mark.parametrize(("m", "n"), [(2_000, 2_000), (100_000, 300), (200, 50_000), (200, 200)])
@pytest.mark.parametrize("tail", [0.0, 1.2, 2.5])
def test_one_index_in_a_thousand_exceeds_the_noise(m, n, tail):
    rng, tries = np.random.default_rng(5), 10_000
    shares = np.arange(1.0, CATEGORY_BINS) ** -tail
    shares /= shares.sum()
    found = [
        field_psi(then, now)
        for then, now in zip(rng.multinomial(m, shares, tries), rng.multinomial(n, shares, tries), strict=True)
    ]
    beyond = sum(stability.psi > stability.noise for stability in found)
    assert beyond <= 25  # of 10 expected; 99.99 % of draws at this rate are below
    assert beyond >= 2


@given(st.integers(2, 100), st.integers(1, 10**9), st.integers(1, 10**9))
def test_the_quantile_is_that_of_chi_squared(groups, m, n):
    expected = chi2.ppf(0.999, groups - 1) * (1 / m + 1 / n)
    assert noise_quantile(groups, m, n) == pytest.approx(expected, rel=0.035)


def test_what_moves_is_found_and_the_rest_is_quiet():
    rng = np.random.default_rng(8)
    found = compared(stream(6_000, rng), stream(6_000, rng, shift=0.5, start=60_000)).fields
    assert found["x"].psi_excess > 3
    assert found["shop"].psi_excess > 3
    assert found["user"].psi_excess < 1
    assert found["y"].psi_excess < 1


def test_nulls_that_come_are_drift_of_a_number():
    rng = np.random.default_rng(9)
    found = compared(stream(6_000, rng), stream(6_000, rng, start=60_000, seen=0.9)).fields
    assert found["x"].psi_excess > 5
    assert found["y"].psi_excess < 1


def test_values_beyond_the_reference_are_drift_whatever_edges_say():
    rng = np.random.default_rng(10)
    first, second = stream(6_000, rng), stream(6_000, rng, start=60_000)
    second.numbers[:, 0] = 1e14
    second.categories[:, 2] = 63 << 58  # a value that never came
    found = compared(first, second).fields
    assert found["x"].psi > 5
    assert found["shop"].psi > 5


def test_the_reference_is_the_first_full_window_and_stays():
    rng = np.random.default_rng(11)
    first, second = stream(6_000, rng), stream(6_000, rng, shift=0.5, start=60_000)
    drift = first.run(new_drift())
    assert drift.window("provisional", 60_000, 60_000).reference_events is None
    drift.advance(60_000)
    assert drift.window("final", 60_000, 60_000).reference_events == 6_000
    assert drift.window("final", 60_000, 60_000).fields["x"].psi == 0.0
    second.run(drift)
    drift.advance(120_000)
    found = drift.window("final", 60_000, 120_000)
    assert found.reference_events == 6_000
    assert found.fields["x"].psi_excess > 5


@pytest.mark.parametrize("reference", [None, Reference(length_us=60_000)])
def test_the_reference_survives_a_gap_that_empties_the_ring(reference):
    script = stream(1_000, np.random.default_rng(12))
    drift = script.run(new_drift(reference))
    drift.advance(10**12)
    assert drift.window("final", 60_000, 10**12).reference_events == 1_000


def test_a_number_of_events_is_the_reference_from_that_event_on():
    rng = np.random.default_rng(13)
    drift = stream(6_000, rng).run(new_drift(Reference(events=500)), steps=list(range(499)))
    assert drift.window("provisional", 60_000, 60_000).reference_events is None
    script = stream(6_000, np.random.default_rng(13))
    script.run(drift, steps=list(range(499, 6_000)))
    found = drift.window("provisional", 60_000, 60_000)
    assert found.reference_events == 500
    assert found.fields["x"].psi_excess < 1


def test_a_range_that_has_gone_by_gives_no_figure():
    script = stream(1_000, np.random.default_rng(14), start=600_000)
    drift = script.run(new_drift(Reference(from_us=0, length_us=60_000)))
    drift.advance(660_000)
    found = drift.window("final", 60_000, 660_000)
    assert found.reference_events == 0
    assert astuple(found.fields["x"])[:3] == (None, None, None)


def test_a_reset_begins_anew_with_edges_of_its_own():
    rng = np.random.default_rng(15)
    first, second, third = (
        stream(6_000, rng, shift=shift, start=start) for shift, start in ((0.0, 0), (0.5, 60_000), (0.5, 120_000))
    )
    second.numbers[:, 0] *= 1e6  # where the former edges see nothing
    third.numbers[:, 0] *= 1e6
    drift = first.run(new_drift())
    drift.advance(60_000)
    drift.reset_reference()
    assert drift.window("final", 60_000, 60_000).reference_events is None
    second.run(drift)
    drift.advance(120_000)
    third.run(drift)
    drift.advance(180_000)
    found = drift.window("final", 60_000, 180_000)
    assert found.reference_events == 6_000
    assert all(figures.psi_excess < 1 for figures in found.fields.values())
    moved = stream(6_000, rng, shift=0.7, start=180_000)
    moved.numbers[:, 0] *= 1e6
    moved.run(drift)
    drift.advance(240_000)
    assert drift.window("final", 60_000, 240_000).fields["x"].psi_excess > 1


def test_a_reset_leaves_a_given_time_as_it_is():
    script = stream(1_000, np.random.default_rng(16))
    drift = script.run(new_drift(Reference(from_us=0, length_us=60_000)))
    drift.advance(60_000)
    before = drift.ring.state()
    drift.reset_reference()
    assert {name: array.tobytes() for name, array in drift.ring.state().items()} == {
        name: array.tobytes() for name, array in before.items()
    }


def test_the_share_that_the_model_clips():
    script = stream(4_000, np.random.default_rng(17))
    drift = script.run(new_drift(), steps=list(range(2_000)))
    assert drift.window("provisional", 60_000, 60_000).fields["x"].clipped_rate is None
    drift.advance(30_000, np.array([[-1.0, 2.0], [-math.inf, math.inf]]))
    script.run(drift, steps=list(range(2_000, 4_000)))
    found = drift.window("provisional", 20_000, 60_000).fields
    x = script.numbers[4_000 * 4 // 6 + 1 :, 0]
    assert found["x"].clipped_rate == pytest.approx(((x < -1) | (x > 2)).mean(), abs=0.001)
    assert found["y"].clipped_rate == 0.0


def test_values_of_a_window_are_told_by_their_bins():
    script = stream(1_000, np.random.default_rng(18))
    drift = script.run(new_drift())
    hashed, events = drift.values("provisional", 60_000, 60_000)["shop"]
    values, counts = np.unique(script.categories[:, 2], return_counts=True)
    assert dict(zip(hashed.tolist(), events.tolist(), strict=True)) == dict(
        zip(values.tolist(), counts.tolist(), strict=True)
    )


def test_kernels_have_one_signature_whatever_the_arrays_come_as():
    script = stream(100, np.random.default_rng(19))
    drift = script.run(new_drift())
    rows = np.arange(100) + BASE
    ops = Ops(np.full(100, SCORE, np.uint8), rows, rows - BASE, np.zeros(100, np.int8), rows)
    drift.observe(Ops(*[column[::2] for column in ops]), script.rows, np.int64(BASE), script.events)
    drift.observe(ops, script.rows, BASE, script.events._replace(numbers=np.asfortranarray(script.numbers)))
    new_drift(numbers=()).observe(ops, script.rows, BASE, script.events._replace(numbers=np.zeros((100, 0))))
    drift.advance(np.int64(60_000))
    drift.window("final", PANE, 60_000)
    called = (kernels.walk, kernels.roll, kernels.merge, kernels.close)
    assert [len(kernel.signatures) for kernel in called] == [1] * 4


def test_a_window_that_was_not_announced_is_refused():
    with pytest.raises(ValueError, match=r"no window of 30000 us, only \(10000, 20000, 60000\)"):
        new_drift().window("final", 30_000, 0)


def test_the_state_of_other_fields_is_refused():
    with pytest.raises(ValueError, match=r"the stored feature drift has \(pane us, panes, categories, numbers\)"):
        new_drift().ring.restore(new_drift(numbers=("x",)).ring.state())


@pytest.mark.parametrize("keys", [{}, {"events": 0}, {"length_us": -1}, {"from_us": 5}])
def test_a_reference_must_end(keys):
    with pytest.raises(ValueError, match="it must end"):
        Reference(**keys)
