"""The labelled sample against a plain-Python oracle; cuts and restarts don't show."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors import labelled_sample_kernels as kernels
from monitors.labelled_sample import LabelledSample
from monitors.labelled_sample_kernels import KEPT, WAITING
from monitors.traffic import CategoryColumn
from stream.records import CORRECT, DROP, EXPIRE, LEARN, RESOLVE, SCORE, Events, Ops

compiled = settings(deadline=None)
COLUMNS = (CategoryColumn("shop", 1, 7),)
NAN = math.nan


def new_sample():
    return LabelledSample(categories=COLUMNS, numbers=("x", "y"))


def events_of(count):
    """Each holds its own number."""
    none, own = np.zeros(0), np.arange(count)
    categories = np.stack([own + 5, own, own + 9], axis=1).astype(np.uint64)
    return Events(*[none] * 10, categories, np.stack([own * 1.0, np.where(own % 3, own, NAN)], axis=1), none, none)


def ops_of(steps):
    code, row, label = (np.array([step[k] for step in steps], np.int64) for k in range(3))
    return Ops(code.astype(np.uint8), row, np.where(code & SCORE, row, -1), label.astype(np.int8), row)


def run(sample, steps, cuts=(10**9,), *, events=None):
    done, k = 0, 0
    events = events or events_of(max((step[1] for step in steps), default=0) + 1)
    while done < len(steps):
        sample.observe(ops_of(steps[done : done + cuts[k % len(cuts)]]), events)
        done, k = done + cuts[k % len(cuts)], k + 1
    return sample


@st.composite
def scripts(draw):
    """Thousands of events, each answered after a while, at once, or never."""
    count, seed = draw(st.sampled_from([10, 3_000, 20_000])), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    delay = rng.exponential(draw(st.sampled_from([1.0, 100.0, 9_000.0])), count).astype(int)
    positive = rng.random(count) < draw(st.sampled_from([0.01, 0.5]))
    fate = rng.choice(3, count, p=draw(st.sampled_from([(1, 0, 0), (0.5, 0.5, 0), (0.6, 0.2, 0.2)])))
    due = [(2 * row, (SCORE, row, -1)) for row in range(count)]
    for row in range(count):
        if fate[row] == 0:
            due.append((2 * (row + int(delay[row])) + 1, (RESOLVE | LEARN, row, int(positive[row]))))
            if row % 7 == 0:
                due.append((2 * (row + int(delay[row])) + 3, (CORRECT, row, 1 - int(positive[row]))))
        elif fate[row] == 1:
            due.append((2 * (row + 500) + 1, (DROP | EXPIRE, row, -1)))
    return [step for _, step in sorted(due)]


def oracle(steps):
    """By class the rows that are kept."""
    waiting, kept = {}, ([], [])
    for code, row, label in steps:
        if code & SCORE and row % WAITING not in waiting:
            waiting[row % WAITING] = row
        if code & (RESOLVE | EXPIRE) and waiting.get(row % WAITING) == row:
            del waiting[row % WAITING]
            if code & RESOLVE:
                kept[label].append(row)
    return [rows[-KEPT:] for rows in kept]


@compiled
@given(scripts())
def test_equals_the_oracle(steps):
    sample = run(new_sample(), steps)
    negatives, positives = oracle(steps)
    rows = sorted([*negatives, *positives])
    assert sample.columns["shop"].tolist() == rows
    assert sample.columns["x"].tolist() == rows
    assert np.isnan(sample.columns["y"]).tolist() == [row % 3 == 0 for row in rows]
    assert sample.labels.tolist() == [row in {*positives} for row in rows]


def same_state(one, other):
    mine, theirs = one.ring.state(), other.ring.state()
    assert mine.keys() == theirs.keys()
    assert all(mine[key].tobytes() == theirs[key].tobytes() for key in mine)


@compiled
@given(scripts(), st.lists(st.sampled_from([1, 50, 3_000]), min_size=1, max_size=4))
def test_is_the_same_to_the_bit_however_batches_are_cut(steps, cuts):
    steps = steps[:6_000]
    same_state(run(new_sample(), steps), run(new_sample(), steps, cuts))


@compiled
@given(scripts(), st.sets(st.floats(0, 1), max_size=5))
def test_the_latest_block_of_each_dirty_place_is_enough_to_restore(steps, checkpoints):
    sample, stored, done = new_sample(), {}, 0
    events = events_of(max(row for _, row, _ in steps) + 1)
    for cut in [*sorted(int(share * len(steps)) for share in checkpoints), len(steps)]:
        run(sample, steps[done:cut], events=events)
        done = max(done, cut)
        stored |= sample.ring.header()
        for place in sample.ring.dirty():
            stored |= sample.ring.block(place)
        sample.ring.clean()
    restored = new_sample()
    restored.ring.restore(stored)
    same_state(restored, sample)


def test_rare_positives_are_kept_as_long_as_others():
    steps = [(SCORE | RESOLVE, row, int(row % 1000 == 0)) for row in range(100_000)]
    labels = run(new_sample(), steps).labels
    assert np.count_nonzero(labels) == 100
    assert np.count_nonzero(~labels) == KEPT


def test_labels_that_take_longer_than_there_is_room_come_in_all_the_same():
    late = 50_000
    due = [(row, 0, SCORE, row, -1) for row in range(400_000)]
    due += [(row + late, 1, RESOLVE, row, row % 2) for row in range(400_000 - late)]
    sample = run(new_sample(), [step[2:] for step in sorted(due)])
    assert np.count_nonzero(sample.labels) == np.count_nonzero(~sample.labels) == KEPT
    assert sample.columns["x"].min() > 400_000 - 3 * late


def test_kernels_have_one_signature_whatever_the_arrays_come_as():
    events = events_of(100)
    sample = run(new_sample(), [(SCORE | RESOLVE, row, row % 2) for row in range(100)], events=events)
    sample.observe(
        Ops(*[column[::2] for column in ops_of([(SCORE, row, -1) for row in range(100)])]),
        events._replace(numbers=np.asfortranarray(events.numbers)),
    )
    assert len(kernels.walk.signatures) == 1


def test_the_state_of_other_fields_is_refused():
    other = LabelledSample(categories=(), numbers=("x", "y"))
    with pytest.raises(ValueError, match="the stored labelled sample has"):
        new_sample().ring.restore(other.ring.state())
