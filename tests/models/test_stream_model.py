"""The daemon's model over columns and rows equals LogisticRegression over dicts, to the bit, and survives its store."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.hashing import hash_feature
from models.learner import make_settings
from models.logistic_regression import LogisticRegression
from models.prediction import Prediction
from models.state import BLOCK_SLOTS
from models.stream_model import StreamModel
from stream.records import DROP, LEARN, NEVER, RESOLVE, SCORE, Events, Ops, Rows

compiled = settings(deadline=None)
CATEGORIES, NUMBERS = ("z", "a", "hour"), ("n2", "m", "n1")  # not in the order of their names
CROSSES = (("z", "a"), ("hour", "z"))
BASE = 700  # number of the first row

category = st.sampled_from([None, "", "x", "y", "null"])
number = st.one_of(
    st.sampled_from([math.nan, 0.0, 1.0, math.inf, 2e15, -1e15, 1e-200, 3e-162]),
    st.floats(-50, 50),
)
event = st.tuples(*[category] * len(CATEGORIES), *[number] * len(NUMBERS))
fates = st.sampled_from(["learn", "drop", "pending", "at once"])
stories = st.lists(st.tuples(event, fates, st.booleans(), st.integers(0, 5)), min_size=1, max_size=30)


def dict_of(event):
    return dict(zip(CATEGORIES + NUMBERS, event, strict=True))


def events_of(events):
    n, k = len(events), len(CATEGORIES)
    none = np.zeros(0, np.int64)
    hashes = [[hash_feature(name, e[i]) for i, name in enumerate(CATEGORIES)] for e in events]
    return Events(
        key=none.astype(np.uint64),
        check=none.astype(np.uint32),
        time=none,
        order=none,
        partition=none.astype(np.int32),
        position=none,
        flaw=none.astype(np.uint8),
        label=none.astype(np.int8),
        categories=np.array(hashes, np.uint64).reshape(n, k),
        numbers=np.array([e[k:] for e in events], np.float64).reshape(n, len(NUMBERS)),
        weight=np.ones(n, np.float32),
        score=np.zeros(n),
        words=np.zeros((n, 0), np.uint64),
        slices=np.zeros((n, 0), np.uint64),
    )


def rows_for(n, model):
    return Rows(
        key=np.zeros(n, np.uint64),
        check=np.zeros(n, np.uint32),
        content=np.zeros(n, np.uint32),
        time=np.zeros(n, np.int64),
        status=np.zeros(n, np.uint8),
        logit=np.full(n, np.nan),
        reference=np.full(n, np.nan, np.float32),
        weight=np.ones(n, np.float32),
        said=np.full((n, model.said), np.nan, np.float32),
        start=np.zeros(n, np.int64),
        size=np.zeros(n, np.uint16),
        cell=np.zeros(n * model.cells, np.uint32),
        used=np.zeros(2, np.int64),
        slices=np.zeros((n, 0), np.uint8),
    )


def ops_of(steps):
    code, row, record, label = zip(*steps, strict=True) if steps else ((), (), (), ())
    return Ops(
        np.array(code, np.uint8),
        np.array(row, np.int64) + BASE,
        np.array(record, np.int64),
        np.array(label, np.int8),
        np.full(len(code), NEVER),
    )


def script(stories):
    """Ops (code, row, record, label): each event is scored in turn, and its fate follows some events later."""
    steps, due = [], []
    for row, (_, fate, label, delay) in enumerate(stories):
        for _, op in sorted(pair for pair in due if pair[0] <= row):
            steps.append(op)
        due = [pair for pair in due if pair[0] > row]
        if fate == "at once":
            steps.append((SCORE | RESOLVE | LEARN, row, row, label))
            continue
        steps.append((SCORE, row, row, -1))
        if fate == "learn":
            due.append((row + delay, (RESOLVE | LEARN, row, -1, label)))
        elif fate == "drop":
            due.append((row + delay, (DROP, row, -1, -1)))
    return steps


KINDS = ({"expert": "mixture"}, {"expert": "mixture", "l2": 0.1}, {"expert": "ftrl"}, {"expert": "ftrl", "l1": 0.3})


def new_pair(*, bits=10, expert="mixture", **constants):
    settings = make_settings(expert, **constants)
    stream_model = StreamModel(settings, bits=bits, categories=CATEGORIES, numbers=NUMBERS, crosses=CROSSES)
    return stream_model, LogisticRegression(bits=bits, expert=expert, crosses=CROSSES, **constants)


@compiled
@given(stories=stories, cut=st.integers(1, 12), bits=st.sampled_from([1, 2, 10]), kind=st.sampled_from(KINDS))
def test_equals_logistic_regression_however_the_ops_are_cut(stories, cut, bits, kind):
    stream_model, model = new_pair(bits=bits, **kind)
    events = [event for event, *_ in stories]
    rows, steps = rows_for(len(events), stream_model), script(stories)
    for at in range(0, len(steps), cut):
        part = steps[at : at + cut]
        first = min((record for _, _, record, _ in part if record >= 0), default=0)
        batch = [(code, row, record - first if record >= 0 else -1, label) for code, row, record, label in part]
        stream_model.run(ops_of(batch), rows, BASE, events_of(events[first:]))

    asked = {}
    for code, row, record, label in steps:
        if code & SCORE:
            asked[row] = model.ask(dict_of(events[record]))
        if code & LEARN:
            model.learn(asked[row], label)
        if code & DROP:
            model.drop(asked[row])

    assert rows.logit.tolist() == [asked[row].logit for row in range(len(events))]
    assert stream_model.sha256 == model.sha256
    assert rows.used[0] - rows.used[1] == rows.size.sum()


def test_pending_rows_keep_their_features():
    stream_model, model = new_pair()
    stories = [(("x", None, "y", 1.0, math.nan, 3.0), fate, True, 0) for fate in ("learn", "pending", "drop", "learn")]
    rows = rows_for(4, stream_model)
    stream_model.run(ops_of(script(stories)), rows, BASE, events_of([event for event, *_ in stories]))
    assert rows.size.tolist() == [0, stream_model.cells, 0, stream_model.cells]  # the last is due after the end
    kept = slice(rows.start[1], rows.start[1] + rows.size[1])
    asked = model.ask(dict_of(stories[0][0]))
    kept = Prediction(0.0, 1, rows.said, rows.cell[kept], stream_model._plan.entries, asked.bias)
    assert kept.slots.tolist() == asked.slots.tolist()
    assert kept.values[:3].tolist() == asked.values[:3].tolist()


def test_events_without_categories_or_numbers_are_fine():
    for categories, numbers in (((), ("n",)), (("c",), ()), ((), ())):
        stream_model = StreamModel(make_settings("ftrl"), bits=8, categories=categories, numbers=numbers, crosses=())
        events = events_of([])._replace(
            categories=np.full((1, len(categories)), 5, np.uint64), numbers=np.full((1, len(numbers)), 2.0)
        )
        rows = rows_for(1, stream_model)
        stream_model.run(ops_of([(SCORE | LEARN, 0, 0, 1)]), rows, BASE, events)
        assert stream_model.whole_state()["weights"][-1].tolist() == [-0.5, 0.25]


def busy_model(stream_model, count, seed):
    rng = np.random.default_rng(seed)
    events = [(*rng.choice(list("uvwxyz"), 3), *rng.normal(size=3)) for _ in range(count)]
    rows = rows_for(count, stream_model)
    steps = [(SCORE | LEARN, i, i, int(rng.random() < 0.4)) for i in range(count)]
    stream_model.run(ops_of(steps), rows, BASE, events_of(events))
    return rows.logit


def test_the_dirty_blocks_and_the_small_state_are_the_whole_model():
    original, _ = new_pair(bits=18)
    stored = {}
    for seed in range(3):  # three checkpoints, each with what changed since the last
        busy_model(original, 2, seed)
        numbers = original.take_dirty()
        stored |= {number: original.block(number) for number in numbers}
        assert (1 << 18) // BLOCK_SLOTS in numbers  # the bias
    assert original.take_dirty() == []
    assert 10 < len(stored) < 65  # some were never written
    restored, _ = new_pair(bits=18)
    busy_model(restored, 50, seed=99)  # whatever it was before
    restored.restore(original.small_state(), stored)
    assert restored.sha256 == original.sha256
    np.testing.assert_array_equal(busy_model(restored, 20, seed=4), busy_model(original, 20, seed=4))


def test_what_did_not_reach_the_store_is_dirty_again():
    stream_model, _ = new_pair(bits=14)
    busy_model(stream_model, 1, seed=0)
    dirty = stream_model.take_dirty()
    stream_model.mark_dirty(dirty[:1])
    assert stream_model.take_dirty() == dirty[:1]


def test_what_is_given_out_is_a_copy():
    stream_model, _ = new_pair()
    busy_model(stream_model, 5, seed=0)
    before = stream_model.sha256
    for copy in (
        *stream_model.block(0).values(),
        *stream_model.small_state().values(),
        *stream_model.whole_state().values(),
    ):
        copy[:] = 77
    assert stream_model.sha256 == before


@pytest.mark.parametrize("change", ["statistics", "sample", "sampled", "random", "mixing", "counters", "weights"])
def test_the_digest_sees_every_part(change):
    stream_model, _ = new_pair()
    busy_model(stream_model, 5, seed=0)
    before = stream_model.sha256
    getattr(stream_model._state, change).flat[0] += 1
    assert stream_model.sha256 != before
