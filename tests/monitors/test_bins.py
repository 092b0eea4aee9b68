"""Score bins against plain Python: nothing lost, nothing overflowing, the same however a stream is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.bins import tally
from monitors.kernels import BINS, bin_of, collect, judge

compiled = settings(deadline=None)  # whichever test comes first waits for numba

outcomes = st.lists(st.tuples(st.floats(-1e4, 1e4), st.integers(0, 1)), max_size=100)


@compiled
@given(outcomes)
def test_sums_equal_numpys_stable_formulas(stream):
    logit, label = np.array([s for s, _ in stream]), np.array([y for _, y in stream], dtype=int)
    judged = tally(logit=logit, label=label)
    assert judged.events == judged.labelled == len(stream)
    assert judged.positives == label.sum()
    assert judged.sums[:, 0].sum() == pytest.approx(np.exp(-np.logaddexp(0, -logit)).sum(), rel=1e-12)
    assert judged.sums[:, 1].sum() == pytest.approx(np.logaddexp(0, logit * (1 - 2 * label)).sum(), rel=1e-12)


@compiled
@given(st.floats(allow_nan=False))
def test_a_bin_holds_a_sixteenth_of_a_logit_and_the_outer_ones_the_rest(logit):
    place = bin_of(logit)
    assert 0 <= place < BINS
    assert logit < -16 + (place + 1) / 16 or place == BINS - 1
    assert logit >= -16 + place / 16 - 1e-12 or place == 0  # logit + 16 rounds


def test_not_a_number_stays_within_the_bins():
    assert bin_of(float("nan")) == 0


def test_a_confident_mistake_costs_its_logit():
    judged = tally(logit=[-1e4, 1e4, 800.0], label=[1, 0, 1])
    assert judged.sums[:, 1].sum() == 2e4


@compiled
@given(outcomes, st.integers(0, 100))
def test_equals_one_pass_however_the_stream_is_cut(stream, cut):
    whole = tally(logit=[s for s, _ in stream], label=[y for _, y in stream])
    counts, sums = np.zeros((BINS, 2), dtype=np.int64), np.zeros((BINS, 2))
    for part in (stream[:cut], stream[cut:]):
        collect(np.array([s for s, _ in part]), np.array([y for _, y in part], dtype=np.int8), counts, sums)
    assert counts.tobytes() == whole.counts.tobytes()
    assert sums.tobytes() == whole.sums.tobytes()


def test_mismatched_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(2,\) and labels of shape \(1,\)"):
        tally(logit=[0.1, 0.2], label=[1])


def test_kernels_have_one_signature_whatever_the_arrays_come_as():
    everything = np.random.default_rng(0).normal(size=(10, 4))
    tally(logit=everything[:, 1], label=everything[:, 2] > 0)
    tally(logit=everything[::2, 0].astype(np.float32), label=[0, 1, 0, 1, 1])
    tally(logit=[], label=[])
    assert len(collect.signatures) == 1
    assert len(judge.signatures) <= 1  # none when its caller came from numba's cache
