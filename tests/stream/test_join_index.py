"""The open-addressing index against a dict, with ids that want the same place or share their 64 bits."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.join_index import find, insert, rebuild, remove, slot_of

SIZE = 16
MASK = np.int64(SIZE - 1)


def keys_at_home(home, count):
    """The first keys whose probing begins at this place."""
    keys = (np.uint64(key) for key in range(100_000))
    at_home = (key for key in keys if slot_of(key, MASK) == home)
    return [next(at_home) for _ in range(count)]


# homes at the end of the table, so that probing wraps round it
KEYS = [*keys_at_home(SIZE - 1, 3), *keys_at_home(SIZE - 2, 2), *keys_at_home(0, 2), *keys_at_home(1, 1)]
IDS = [(key, np.uint32(check)) for key in KEYS for check in (0, 1)]
MAX_KNOWN = 13  # a full table would probe for ever; the joiner keeps it under 0.6


def get(table, id_, checks, base):
    return int(find(table, *id_, checks, base, -1))


@settings(deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(0, len(IDS) - 1), max_size=60))
@example(0, list(range(13)) + list(range(13)))
def test_it_finds_what_a_dict_would(base, toggled):
    """Each id is put in, or taken out if it is there; places rise and never come again."""
    table = np.zeros((SIZE, 2), np.uint64)
    keys, checks = np.zeros(len(toggled), np.uint64), np.zeros(len(toggled), np.uint32)
    known = {}
    for i, number in enumerate(toggled):
        id_ = IDS[number]
        keys[i], checks[i] = id_
        if id_ in known:
            remove(table, id_[0], known.pop(id_))
        elif len(known) < MAX_KNOWN:
            known[id_] = base + i
            insert(table, id_[0], base + i)
        assert {other: get(table, other, checks, base) for other in IDS} == {
            other: known.get(other, -1) for other in IDS
        }
        assert np.count_nonzero(table[:, 1]) == len(known)


@settings(deadline=None)
@given(st.integers(0, 1000), st.lists(st.sampled_from(IDS), max_size=12, unique=True), st.integers(0, 12))
def test_a_rebuilt_index_knows_the_rows_from_the_first(base, ids, gone):
    keys = np.array([key for key, _ in ids], np.uint64)
    checks = np.array([check for _, check in ids], np.uint32)
    first = base + min(gone, len(ids))
    table = np.zeros((2 * SIZE, 2), np.uint64)
    rebuild(table, keys, first, base + len(ids), base)
    for i, id_ in enumerate(ids):
        assert get(table, id_, checks, base) == (base + i if base + i >= first else -1)


def test_places_of_a_ring_wrap_round():
    """Waiting labels lie at ``place & (size - 1)``; the place itself goes on rising."""
    ring = np.array([8, 5, 6, 7], np.uint32)  # the checks of places 4 to 7, of which 4 was overwritten by 8
    table = np.zeros((SIZE, 2), np.uint64)
    for place in range(5, 9):
        insert(table, np.uint64(1), place)
    assert [int(find(table, np.uint64(1), np.uint32(check), ring, 0, 3)) for check in (5, 6, 7, 8, 4)] == [
        5,
        6,
        7,
        8,
        -1,
    ]
