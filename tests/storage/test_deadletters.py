"""Dead letters are found, deleted one by one, and forgotten with time."""

import pytest

from storage.checkpoint import Checkpoint
from storage.errors import NoSuchDeadLetter
from storage.snapshots import NewSnapshot
from stream.records import DeadLetter

DAY_US = 86_400_000_000


def letter(position, reason="bad"):
    return DeadLetter("events", "0", position, reason, b"{")


@pytest.fixture
def clock():
    return [100 * DAY_US]


@pytest.fixture
def store(open_store, clock):
    return open_store(now=lambda: clock[0], keep_dead_letters_us=30 * DAY_US)


def commit(store, *letters, snapshots=()):
    store.commit(Checkpoint(b"", dead_letters=letters, snapshots=snapshots))


def places(store, **asked):
    return [found.letter.position for found in store.dead_letters(limit=None, **asked)]


def test_by_a_part_of_the_reason(store):
    commit(store, letter(1, "at is not a time"), letter(2, "100% wrong"), letter(3, "At all_wrong"))
    assert places(store, reason="AT ") == [3, 1]
    assert places(store, reason="%") == [2]  # no wildcards
    assert places(store, reason="_") == [3]
    assert places(store) == [3, 2, 1]
    assert store.dead_letter_count() == 3


def test_by_number(store):
    commit(store, letter(7))
    [found] = store.dead_letters(limit=1)
    assert store.dead_letter(found.id) == found
    with pytest.raises(NoSuchDeadLetter, match=r"no dead letter 99: kept are some from 1 to 1\.\n  See"):
        store.dead_letter(99)


def test_models_do_not_see_each_other(store, open_store):
    commit(store, letter(1))
    other = open_store("other")
    with pytest.raises(NoSuchDeadLetter, match="there are none"):
        other.dead_letter(1)
    assert other.delete_dead_letters([1]) == 0
    assert other.purge_dead_letters() == 0
    assert places(store) == [1]


def test_deleting(store):
    commit(store, *(letter(position) for position in range(1200)))
    numbers = [found.id for found in store.dead_letters(limit=None)]
    assert store.delete_dead_letters([*numbers[:1100], 10**9]) == 1100  # more than fit into one statement
    assert store.dead_letter_count() == 100
    assert store.purge_dead_letters() == 100
    assert places(store) == []


def test_purging_needs_no_lease_and_goes_by_the_time_of_storing(store, open_store, clock):
    commit(store, letter(1))
    clock[0] += DAY_US
    commit(store, letter(2))
    assert open_store(ready=False).purge_dead_letters(before=clock[0]) == 1
    assert places(store) == [2]
    commit(store, letter(3))  # the holder of the lease goes on


def test_old_ones_are_forgotten_with_new_ones_and_with_snapshots(store, clock):
    commit(store, letter(1))
    clock[0] += 31 * DAY_US
    commit(store)
    assert places(store) == [1]  # it is not worth a look at each checkpoint
    commit(store, letter(2))
    assert places(store) == [2]
    clock[0] += 31 * DAY_US
    commit(store, snapshots=[NewSnapshot(0, "periodic", {}, b"")])
    assert places(store) == []


def test_without_a_limit_they_stay(open_store, clock):
    store = open_store(now=lambda: clock[0])
    commit(store, letter(1))
    clock[0] += 3000 * DAY_US
    commit(store, letter(2))
    assert places(store) == [2, 1]
