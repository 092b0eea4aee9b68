"""Where the fields of a message may stand, and what they may be."""

import json

import numpy as np
import pytest

from models.hashing import CategoryHashes
from stream.columns import hash_ids
from stream.decoding import EventDecoder, LabelDecoder
from stream.records import DEAD, MAX_WORDS, SOUND
from stream.schema import EventSchema, LabelSchema
from stream.source import Batch, Partition


def decode(schema, *messages):
    """The columns, and why each message is dead."""
    raw = [m if isinstance(m, bytes) else json.dumps(m).encode() for m in messages]
    decoder = (EventDecoder if isinstance(schema, EventSchema) else LabelDecoder)(schema, now_us=lambda: 2 * 10**15)
    batch = Batch(Partition(schema.topic, "0"), np.arange(len(raw)), len(raw), raw)
    chunk = decoder.decode(batch, 0)
    return chunk.columns, chunk.reasons


def test_fields_are_found_by_path():
    schema = EventSchema(
        topic="orders",
        time="ts_ms",
        id="after.id",
        categories={"after.shop": CategoryHashes("after.shop"), "op": CategoryHashes("op")},
        numbers=("after.amount", "source.lag"),
    )
    whole = {
        "op": "c",
        "ts_ms": 1_700_000_000_000,
        "after": {"id": 7, "shop": "x", "amount": 2.5},
        "source": {"lag": 1},
    }
    events, reasons = decode(
        schema, whole, whole | {"source": None}, {"ts_ms": 1_700_000_000_000, "after": None, "op": "d"}
    )
    assert reasons == {2: "after.id is missing"}
    assert events.flaw.tolist() == [SOUND, SOUND, DEAD]
    assert events.key[0] == hash_ids(iter(["7"]), 1)[0][0]
    assert events.categories[0].tolist() == [CategoryHashes("after.shop")["x"], CategoryHashes("op")["c"]]
    np.testing.assert_array_equal(events.numbers[:2], [[2.5, 1.0], [2.5, np.nan]])


def test_a_wrong_type_below_a_path_is_named_by_its_path():
    schema = EventSchema(topic="e", time="t", id="a.id", numbers=("a.b.c",))
    _, reasons = decode(
        schema, {"t": 1, "a": {"id": 1, "b": {"c": "x"}}}, {"t": 1, "a": [1]}, {"t": 1, "a": {"id": 1, "b": {}}}
    )
    assert reasons == {
        0: "Expected `float | null`, got `str` - at `$.a.b.c`",
        1: "Expected `object | null`, got `array` - at `$.a`",
    }


def test_a_dot_in_a_key_is_written_with_a_backslash():
    schema = EventSchema(topic="e", time="t", id=r"user\.id")
    events, reasons = decode(schema, {"t": 1, "user.id": "a"}, {"t": 1, "user": {"id": "a"}})
    assert reasons == {1: r"user\.id is missing"}
    assert events.key[0] == hash_ids(iter(["a"]), 1)[0][0]


def test_several_fields_are_one_id():
    event = EventSchema(topic="e", time="t", id=("day", "flight.number"))
    label = LabelSchema(topic="l", time="t", id=("date", "no"))
    events, bad = decode(
        event,
        {"t": 1, "day": "2013-01-01", "flight": {"number": 15}},
        {"t": 1, "day": "2013-01-011", "flight": {"number": 5}},
        {"t": 1, "day": "2013-01-01"},
        {"t": 1, "day": "", "flight": {"number": 15}},
    )
    labels, _ = decode(label, {"t": 1, "date": "2013-01-01", "no": "15"})
    assert bad == {2: "flight.number is missing", 3: "day is empty"}
    assert (events.key[0], events.check[0]) == (labels.key[0], labels.check[0])
    assert events.key[0] != events.key[1]


@pytest.mark.parametrize(
    ("positive", "values", "expected"),
    [
        ({"converted"}, ["converted", "open", "", 1, True], [1, 0, 0, 0, 0]),
        ({"a", "b"}, ["a", "b", "c"], [1, 1, 0]),
        ({5}, [5, 5.0, "5", 4], [1, 1, 0, 0]),
    ],
)
def test_a_label_is_positive_when_its_value_is_among_those(positive, values, expected):
    schema = LabelSchema(topic="l", time="t", id="id", value="state", positive=frozenset(positive))
    labels, reasons = decode(schema, *({"t": 1, "id": i, "state": value} for i, value in enumerate(values)))
    assert labels.value.tolist() == expected
    assert reasons == {}
    _, reasons = decode(schema, {"t": 1, "id": 1}, {"t": 1, "id": 1, "state": None})
    assert list(reasons.values()) == ["state is missing; without a value there is no label"] * 2


def test_labels_without_a_value_are_clicks():
    labels, reasons = decode(LabelSchema(topic="l", time="t", id="id"), {"t": 1, "id": 1})
    assert (labels.value.tolist(), reasons) == ([1], {})


def test_a_weight_is_finite_and_not_negative():
    schema = EventSchema(topic="e", time="t", weight="w")
    events, reasons = decode(schema, *({"t": 1, "w": w} for w in (0, 2.5, None, -1, 1e7)), {"t": 1})
    assert events.weight.tolist() == [0.0, 2.5, 1.0, 0.0, 0.0, 1.0]
    assert reasons == {
        3: "w is -1; a weight lies between 0 and 1e+06",
        4: "w is 1e+07; a weight lies between 0 and 1e+06",
    }


def test_a_score_is_a_probability():
    schema = EventSchema(topic="e", time="t", score="p")
    events, reasons = decode(schema, *({"t": 1, "p": p} for p in (0, 1, 0.25, 1.01, None)))
    assert events.score[:3].tolist() == [0.0, 1.0, 0.25]
    assert reasons == {
        3: "p is 1.01; a score is a probability between 0 and 1",
        4: "p is missing; a score is a probability between 0 and 1",
    }


def test_words_are_hashed_each_and_bounded():
    hashes = CategoryHashes("tags")
    schema = EventSchema(topic="e", time="t", words={"tags": hashes, "more": CategoryHashes("more")})
    many = [f"w{i}" for i in range(MAX_WORDS + 5)]
    events, reasons = decode(
        schema,
        {"t": 1, "tags": ["a", "b", "a"]},
        {"t": 1, "more": ["a"]},
        {"t": 1, "tags": many},
        {"t": 1, "tags": [1]},
    )
    assert events.words.shape == (4, 2 * MAX_WORDS)
    assert events.words[0, :4].tolist() == [hashes["a"], hashes["b"], hashes["a"], 0]
    assert events.words[1, MAX_WORDS] == CategoryHashes("more")["a"]
    assert not events.words[1, :MAX_WORDS].any()
    assert events.words[2, MAX_WORDS - 1] == hashes[f"w{MAX_WORDS - 1}"]
    assert reasons == {3: "Expected `str`, got `int` - at `$.tags[0]`"}


def test_buckets_are_half_open_and_null_is_one():
    edges = np.array([0.0, 10.0])
    hashes = np.array([1, 2, 3, 4], np.uint64)
    schema = EventSchema(topic="e", time="t", numbers=("x",), buckets={"x": (edges, hashes)})
    events, _ = decode(schema, *({"t": 1, "x": x} for x in (-1, 0, 9.99, 10, 1e300, None)))
    assert events.categories[:, 0].tolist() == [1, 2, 2, 3, 3, 4]
