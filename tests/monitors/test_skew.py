"""The window of served scores against a deque, and when two scores are one."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.skew import AGREED, COMPARED, RESULTS, UNREADABLE, WINDOW, SkewWindow, differs

AGE_US = 5_000
# mostly agreed, so that differences leave the window one by one
runs = st.lists(st.tuples(st.integers(AGREED, UNREADABLE), st.integers(1, 400)), min_size=1, max_size=12)


class Plain:
    """The same, one result at a time."""

    def __init__(self):
        self.last, self.counts = deque(maxlen=WINDOW), dict.fromkeys(range(len(RESULTS)), 0)

    def observe(self, result, at):
        self.counts[result] += 1
        if result < COMPARED:
            self.last.append([result != AGREED, at])
        return self.recent

    def forget(self, now_us):
        for one in self.last:
            if one[1] <= now_us - AGE_US:
                one[0] = False

    @property
    def recent(self):
        return sum(different for different, _ in self.last)


@settings(deadline=None)
@given(runs, st.lists(st.integers(0, 3000), max_size=4), st.integers(1, 5))
def test_equals_a_deque_however_the_stream_is_cut(lengths, cuts, spacing):
    results = np.concatenate([np.full(length, result, np.uint8) for result, length in lengths])
    at = spacing * np.arange(len(results))
    window, plain = SkewWindow(age_us=AGE_US), Plain()
    for part in np.split(np.arange(len(results)), sorted(cuts)):
        expected = [plain.observe(int(results[i]), int(at[i])) for i in part]
        assert window.observe(results[part], at[part]).tolist() == expected
        if len(part):
            window.forget(int(at[part[-1]]))
            plain.forget(int(at[part[-1]]))
        assert window.recent == plain.recent
        again = SkewWindow(age_us=AGE_US)
        again.restore(window.state())
        window = again
    assert dict(enumerate(window.counts.tolist())) == plain.counts


def test_a_copy_of_the_state_stays_as_it_is():
    window = SkewWindow(age_us=AGE_US)
    state = window.state()
    window.observe(np.array([1, 1]), np.array([1, 2]))
    window.forget(0)
    assert not any(array.any() for array in state.values())


@pytest.mark.parametrize("logit", [-30.0, -16.0, -9.0, -1.0, 0.0, 1.0, 9.0, 16.0, 30.0, 700.0])
def test_what_float32_rounds_is_no_difference(logit):
    own = 1.0 / (1.0 + np.exp(-logit))
    assert not differs(np.array([own, np.float32(own)]), np.array([logit] * 2), tolerance=1e-3).any()


@pytest.mark.parametrize("logit", [-12.0, -5.0, 0.0, 5.0, 12.0])
def test_more_than_the_tolerance_is_one(logit):
    served = 1.0 / (1.0 + np.exp(-(logit + np.array([0.9e-3, -0.9e-3, 0.05, -0.05]))))
    apart = differs(served, np.full(4, logit), tolerance=1e-3).tolist()
    assert apart == [False, False, True, True]


def test_certainty_can_differ_too():
    assert differs(np.array([0.0, 1.0, 0.0, 1.0]), np.array([-40.0, 40.0, 0.0, 5.0]), tolerance=1e-3).tolist() == [
        False, False, True, True,
    ]  # fmt: skip
