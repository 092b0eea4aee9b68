"""The row hash by its definition in plain Python, by the daemon over columns, and by a client over dicts."""

import math
import struct
from pathlib import Path

import numpy as np
import xxhash
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.hashing import hash_feature
from models.learner import make_settings
from models.logistic_regression import LogisticRegression
from models.stream_model import StreamModel
from stream.records import MAX_WORDS
from tests.models.reference import mixed, xxh3
from tests.models.test_stream_model import events_of

compiled = settings(deadline=None)
CATEGORIES, NUMBERS, WORDS = ("z", "a", "é"), ("n2", "m", "n1"), ("tags", "b")  # not in the order of their names
CROSSES = (("z", "a"), ("é", "z"))

category = st.sampled_from([None, "", "x", "y", "null"])
number = st.one_of(
    st.none(),
    st.sampled_from([math.nan, 0.0, -0.0, 1.0, math.inf, 2e15, -1e15, 1e-200, -1e-200, 16_777_217.0]),
    st.floats(-1e6, 1e6),
)
words = st.lists(st.sampled_from(["x", "y", ""]), max_size=3)
event = st.fixed_dictionaries(
    dict.fromkeys(CATEGORIES, category) | dict.fromkeys(NUMBERS, number) | dict.fromkeys(WORDS, words)
)


def oracle(x, *, bits):
    """The hash, from the definition alone."""
    of_text = {name: xxh3(f"{name}={'null' if x[name] is None else x[name]}") for name in CATEGORIES}
    features = [(name, [(hashed, 1.0)]) for name, hashed in of_text.items()]
    features += [(f"{a}*{b}", [(mixed(of_text[a], of_text[b]), 1.0)]) for a, b in CROSSES]
    for name in NUMBERS:
        null = x[name] is None or not abs(x[name]) <= 1e15
        features.append((name, [(xxh3(f"{name}=null"), 1.0) if null else (xxh3(name), x[name])]))
    features += [(name, [(xxh3(f"{name}={word}"), 1.0) for word in x[name][:64]]) for name in WORDS]
    pairs = [pair for _, of in sorted(features) for pair in of]
    # adding 0 turns -0 into 0
    data = [struct.pack("<If", hashed % (1 << bits), np.float32(value) + np.float32(0)) for hashed, value in pairs]
    return xxhash.xxh3_64_intdigest(b"".join(data))


def daemon(*, bits):
    learner = make_settings("mixture")
    return StreamModel(learner, bits=bits, categories=CATEGORIES, numbers=NUMBERS, crosses=CROSSES, words=WORDS)


def columns(stream):
    table = np.zeros((len(stream), len(WORDS) * MAX_WORDS), np.uint64)
    for i, x in enumerate(stream):
        for k, name in enumerate(WORDS):
            hashes = [hash_feature(name, word) for word in x[name][:MAX_WORDS]]
            table[i, k * MAX_WORDS : k * MAX_WORDS + len(hashes)] = hashes
    hashes = [[hash_feature(name, x[name]) for name in CATEGORIES] for x in stream]
    values = [[math.nan if x[name] is None else x[name] for name in NUMBERS] for x in stream]
    return events_of([])._replace(
        categories=np.array(hashes, np.uint64).reshape(len(stream), len(CATEGORIES)),
        numbers=np.array(values, np.float64).reshape(len(stream), len(NUMBERS)),
        words=table,
    )


def client(*, bits):
    """A model to which the numbers are known, as to one that has learned."""
    model = LogisticRegression(bits=bits, crosses=CROSSES)
    model.learn_one(dict.fromkeys(NUMBERS, 1.5), True)
    return model


@compiled
@given(stream=st.lists(event, min_size=1, max_size=8), bits=st.sampled_from([2, 10, 18]))
@example([dict.fromkeys(CATEGORIES) | dict.fromkeys(NUMBERS, -0.0) | dict.fromkeys(WORDS, ["x"] * 70)], 18)
def test_the_daemon_a_client_and_the_definition_agree(stream, bits):
    expected = [oracle(x, bits=bits) for x in stream]
    model = client(bits=bits)
    assert [model.row_hash(x) for x in stream] == expected
    backwards = np.arange(len(stream))[::-1].copy()
    assert daemon(bits=bits).row_hashes(columns(stream), backwards).tolist() == expected[::-1]


def test_no_events_have_no_hashes():
    assert len(daemon(bits=10).row_hashes(columns([]), np.zeros(0, np.int64))) == 0


def test_the_page_has_a_golden_value():
    model = LogisticRegression(bits=18, crosses=[("carrier", "origin")])
    golden = f"{model.row_hash({'carrier': 'UA', 'origin': 'EWR', 'distance': 733, 'delay': None}):016x}"
    assert golden == "0e4fc69e7e406304"
    assert f"`{golden}`" in (Path(__file__).parents[2] / "docs" / "concepts.md").read_text(encoding="utf-8")


def test_what_was_learned_changes_nothing():
    x = {"z": "x", "a": None, "é": "y", "n2": 2.5, "m": None, "n1": -7.0, "tags": ["x"], "b": []}
    model = client(bits=18)
    state, before = model.sha256, model.row_hash(x)
    assert model.sha256 == state
    for i in range(50):
        model.learn_one(x | {"n2": float(i)}, i % 3 == 0)
    assert model.row_hash(x) == before


def test_every_difference_shows():
    x = {"z": "x", "a": "x", "é": "y", "n2": 2.5, "m": None, "n1": -7.0, "tags": ["x", "y"], "b": []}
    others = [
        {"z": "y"}, {"a": None}, {"n2": 2500.0}, {"n2": None}, {"m": 0.0}, {"n1": 7.0}, {"n2": -7.0, "n1": 2.5},
        {"tags": ["y", "x"]}, {"tags": ["x"]}, {"tags": ["x"], "b": ["y"]},
    ]  # fmt: skip
    model = client(bits=18)
    assert len({model.row_hash(x | other) for other in [{}, *others]}) == 1 + len(others)


def test_the_order_of_keys_changes_nothing():
    x = {"z": "x", "a": "x", "é": "y", "n2": 2.5, "m": None, "n1": -7.0, "tags": ["x", "y"], "b": []}
    assert client(bits=18).row_hash(dict(reversed(x.items()))) == client(bits=18).row_hash(x)
