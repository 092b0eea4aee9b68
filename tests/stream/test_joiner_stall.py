"""When labels stop coming, expiry waits for them: silence is not ten thousand negatives."""

import pytest

from stream.join_state import Policy
from stream.joiner import Joiner
from stream.merge import EVENT, LABEL
from stream.records import SCORE, SOUND
from stream.rows import RowTable

WINDOW, TICK = 100, 10
POLICY = Policy(WINDOW, 0, WINDOW, TICK, at_maturity=False, missing_is_negative=True, labelled=False)


def events(first, last, at):
    return [(EVENT, id_, at, at, 1, SOUND) for id_ in range(first, last)]


def label(id_, at, *, merged_at):
    return LABEL, id_, at, merged_at, 1, SOUND


class Certain:
    """Serves a logit of 10: almost every event is expected to be positive."""

    def __init__(self, table):
        self.table = table

    def __call__(self, step):
        scored = step.ops.row[step.ops.code & SCORE != 0]
        self.table.rows.logit[scored - self.table.base] = 10.0


@pytest.fixture
def walk(walk_through):
    table = RowTable()
    return walk_through(Joiner(POLICY, table, cells=2, quiet_us=1000), serve=Certain(table))


def resume(walk):
    """Store the joiner and its rows, and go on with what was stored; return the old joiner."""
    old, table = walk.joiner, RowTable()
    first, last = old.first_row, old.table.next
    table.restore(first, [(first, old.table.run(first, last))], old.table.status(first, last).copy())
    walk.joiner = Joiner(POLICY, table, cells=2, quiet_us=1000)
    walk.joiner.restore(old.state())
    walk.serve = Certain(table)
    return old


def pending(walk):
    return walk.joiner.fates()["pending"]


def test_expiry_stands_still_while_the_labels_that_were_expected_are_missing(walk):
    walk.take(events(0, 30, at=0), WINDOW - 1)
    assert not walk.joiner.stalled
    walk.take([], WINDOW + 50)
    assert walk.joiner.stalled
    assert pending(walk) == 30
    assert walk.joiner.decided(WINDOW + 50) == WINDOW


def test_a_few_missing_labels_are_no_stall(walk):
    walk.take(events(0, 19, at=0), WINDOW + 50)
    assert not walk.joiner.stalled
    assert walk.joiner.fates()["expired"] == 19


def test_it_goes_on_when_the_labels_that_lagged_come(walk):
    walk.take(events(0, 30, at=0), WINDOW + 50)
    lagging = [label(id_, 50, merged_at=WINDOW + 55) for id_ in range(15, 30)]
    walk.take(lagging, WINDOW + 60)
    assert not walk.joiner.stalled
    walk.take([], WINDOW + 61)
    fates = walk.joiner.fates()
    assert (fates["matched"], fates["expired"], fates["late"]) == (15, 15, 0)


def test_a_label_from_after_the_window_is_late_all_the_same(walk):
    walk.take(events(0, 30, at=0), WINDOW + 50)
    walk.take([label(1, WINDOW + 1, merged_at=WINDOW + 50)])
    assert walk.joiner.fates()["late"] == 1
    assert pending(walk) == 30


def test_it_goes_on_by_command(walk):
    walk.take([*events(0, 30, at=0), *events(30, 60, at=WINDOW)], WINDOW + 50)
    assert walk.joiner.stalled_since == WINDOW
    walk.joiner.thaw()
    walk.take([], 2 * WINDOW + 1)
    assert walk.joiner.stalled_since is None
    assert walk.joiner.fates()["expired"] == 60


def test_where_nothing_is_frozen_a_thaw_changes_nothing(walk):
    walk.take(events(0, 30, at=0), WINDOW - TICK)
    before = walk.joiner.cursor.tolist()
    walk.joiner.thaw()
    assert walk.joiner.cursor.tolist() == before
    walk.take([], WINDOW)
    assert walk.joiner.stalled


def test_a_thaw_outlives_a_lull_and_a_restart(walk):
    walk.take([*events(0, 30, at=0), *events(30, 60, at=WINDOW - TICK)], WINDOW)
    walk.joiner.thaw()
    resume(walk)
    walk.take([], 2 * WINDOW - 2 * TICK)  # the first thirty are forgotten, so that too few are left to tell
    walk.take([], 2 * WINDOW - TICK)  # and here thirty more fall due without a label
    assert not walk.joiner.stalled
    walk.take([], 2 * WINDOW)
    assert walk.joiner.fates()["expired"] == 60


def test_a_thaw_ends_after_a_window(walk):
    walk.take(events(0, 30, at=0), WINDOW)
    walk.joiner.thaw()
    walk.take(events(30, 60, at=WINDOW + 3 * TICK), 2 * WINDOW)
    assert (walk.joiner.stalled, walk.joiner.fates()["expired"]) == (False, 30)
    walk.take([], 2 * WINDOW + 3 * TICK)
    assert (walk.joiner.stalled, walk.joiner.fates()["expired"]) == (True, 30)


def test_a_thaw_ends_when_labels_flow(walk):
    walk.take([*events(0, 30, at=0), *events(30, 60, at=50), *events(60, 90, at=70)], WINDOW)
    walk.joiner.thaw()
    walk.take([label(id_, WINDOW + 5, merged_at=WINDOW + 5) for id_ in range(30, 60)], 160)
    assert not walk.joiner.stalled
    walk.take([], 170)
    assert walk.joiner.stalled_since == 170  # they flowed, and stopped again


def test_it_waits_for_another_window_and_not_for_ever(walk):
    walk.take(events(0, 30, at=0), 2 * WINDOW)
    assert walk.joiner.stalled
    walk.take([], 2 * WINDOW + 2 * TICK)
    assert not walk.joiner.stalled
    assert walk.joiner.fates()["expired"] == 30


def test_what_is_out_of_order_expires_after_the_stall_as_before(walk):
    late = [(EVENT, 99, 3, 5, 1, SOUND), (EVENT, 98, 4, 5, 1, SOUND)]
    walk.take([*events(0, 30, at=5), *late], WINDOW + 50)
    assert walk.joiner.stalled
    assert walk.joiner.decided(WINDOW + 50) == WINDOW + 3
    walk.take([(EVENT, 97, 2, WINDOW + 50, 1, SOUND), label(99, 50, merged_at=WINDOW + 50)])
    walk.joiner.thaw()
    walk.take([], WINDOW + 51)
    expired = [op[1] for op in walk.ops if "expire" in op[0]]
    assert expired == [32, 31, *range(30)]


def test_a_stall_survives_a_restart(walk):
    walk.take(events(0, 30, at=0), WINDOW + 50)
    resume(walk)
    walk.take([], 2 * WINDOW)
    assert walk.joiner.stalled
    assert pending(walk) == 30


def test_what_is_decided_is_the_same_after_a_restart(walk):
    walk.take([*events(0, 30, at=5), (EVENT, 99, 3, 5, 1, SOUND)], WINDOW + 50)
    assert walk.joiner.decided(WINDOW + 50) == WINDOW + 3
    walk.take([label(99, 50, merged_at=WINDOW + 50)])  # the oldest is answered, and no longer waited for
    old = resume(walk)
    assert walk.joiner.decided(WINDOW + 50) == old.decided(WINDOW + 50) == WINDOW + 5
