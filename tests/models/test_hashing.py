"""Hashes are pinned for ever, and no order of arrival changes one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import hashing
from models.hashing import CategoryHashes, hash_feature, hash_text
from models.kernels.encoding import mix
from models.logistic_regression import LogisticRegression
from tests.models.reference import WORD, mixed, xxh3

values = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.integers(-2, 2), st.floats(), st.text(max_size=8)
)
words = st.integers(0, WORD)


@pytest.mark.parametrize(
    ("name", "value", "golden"),
    [
        ("carrier", "UA", 0x898B93CA264F7F39),
        ("carrier", None, 0xB1F36E44834C48A9),
        ("carrier", "", 0xD65AE020C1D5E98D),
        ("", "UA", 0x79E11DF2B5A181F1),
        ("a=b", "c", 0xB32C221A30798995),
        ("a", "b=c", 0xB32C221A30798995),
        ("flight", 1545, 0x15E8305CD41E44DE),
        ("flight", -7, 0x662B7184D44F9146),
        ("flight", True, 0x4C13694AEFC1F2F7),
        ("flight", 0.5, 0x8828B077F6F11A93),
        ("flight", 1e300, 0x8AF2F7CA67005D01),
        ("city", "Köln", 0x7D22F27714C502A0),
        ("city", "東京", 0xA87A954BA1401E1F),
        ("emoji", "🛫", 0xC576B5284FBCC096),
    ],
)
def test_golden_vectors_of_features(name, value, golden):
    assert hash_feature(name, value) == golden


@pytest.mark.parametrize(
    ("first", "second", "golden"),
    [
        (0x0, 0x0, 0x8209B480FAED1B10),
        (0x0, 0x1, 0x1D60447FEA35413),
        (0x1, 0x0, 0x2D0F28C7E7E786B2),
        (0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 0x5EA9CCDDFB941507),
        (0x898B93CA264F7F39, 0x123456789ABCDEF, 0x8D79D75288A85DDD),
    ],
)
def test_golden_vectors_of_crosses(first, second, golden):
    assert mix(np.uint64(first), np.uint64(second)) == golden


def test_golden_slots_of_an_event():
    model = LogisticRegression(bits=18, crosses=[("origin", "dest")])
    event = {"dest": "IAH", "origin": "EWR", "late": True, "distance": 1400, "gust": None, "day": "Tag 1: Größe"}
    slots = model.ask(event).slots.tolist()
    assert slots == [262144, 61506, 233300, 251024, 255434, 47079, 134504, 183444]


@given(st.text(max_size=20).filter(str.isprintable))
def test_text_is_hashed_as_utf8(text):
    assert hash_text(text) == xxh3(text)


def test_a_lone_surrogate_is_hashed_too():
    assert hash_text("\ud800") == hash_text("\ud800") != hash_text("\udfff")


@given(words, words)
def test_mix_equals_the_reference(first, second):
    assert int(mix(np.uint64(first), np.uint64(second))) == mixed(first, second)


def test_mix_tells_a_pair_from_its_reverse_and_has_no_collisions_on_a_grid():
    grid = {(a, b): int(mix(np.uint64(a), np.uint64(b))) for a in range(200) for b in range(200)}
    assert len(set(grid.values())) == len(grid)


@given(st.lists(values), st.randoms())
def test_a_column_of_hashes_does_not_depend_on_its_order(column, random):
    hashes = CategoryHashes("c")
    assert list(map(hashes.__getitem__, column)) == [hash_feature("c", value) for value in column]
    shuffled = random.sample(column, len(column))
    reordered = CategoryHashes("c")
    assert [reordered[value] for value in shuffled] == [hash_feature("c", value) for value in shuffled]


@pytest.mark.parametrize("equal", [(True, 1, 1.0), (False, 0, 0.0, -0.0), (1545, 1545.0, "1545"), (2**60, 2.0**60)])
def test_equal_values_have_one_hash(equal):
    assert len({hash_feature("c", value) for value in equal}) == 1


def test_the_cache_is_bounded_and_goes_on_answering(monkeypatch):
    monkeypatch.setattr(hashing, "CACHE_SIZE", 10)
    hashes = CategoryHashes("c")
    for value in range(95):
        assert hashes[value] == hash_feature("c", value)
        assert len(hashes) <= 10
    assert list(hashes) == [90, 91, 92, 93, 94]
