"""Shapes of real messages: fields below others, ids of several fields, words, buckets, weights, scores, values."""

import numpy as np
import pytest

from stream.decoding import EventDecoder, LabelDecoder
from stream.records import DEAD, MAX_WORDS, SOUND
from stream.schema import EventSchema, LabelSchema
from stream.source import Batch, Partition

EDGES = np.array([0.0, 10.0])


class Lengths(dict):
    """Stands for a column's hashes."""

    def __missing__(self, value):
        return len(str(value))


def decode(decoder, *messages):
    positions = np.arange(len(messages), dtype=np.int64)
    return decoder.decode(Batch(Partition("t", "0"), positions, len(messages), list(messages)), 0)


def events(*messages, **changes):
    schema = {"topic": "t", "time": "at", "id": "id"} | changes
    return decode(EventDecoder(EventSchema(**schema), now_us=lambda: 10**15), *messages)


def labels(*messages, **changes):
    schema = {"topic": "t", "time": "at", "id": "id"} | changes
    return decode(LabelDecoder(LabelSchema(**schema), now_us=lambda: 10**15), *messages)


def test_a_field_may_lie_below_others():
    paths = {"id": "after.id", "time": "source.at", "numbers": ("after.x", r"dotted\.name")}
    chunk = events(
        b'{"after": {"id": 1, "x": 2.5}, "source": {"at": 3}, "dotted.name": 4}',
        b'{"after": {"id": 1}, "source": {"at": 3}}',
        b'{"after": null, "source": {"at": 3}}',
        b'{"after": {"id": 1}}',
        b'{"after": [], "source": {"at": 3}}',
        **paths,
    )
    assert chunk.columns.flaw.tolist() == [SOUND, SOUND, DEAD, DEAD, DEAD]
    np.testing.assert_array_equal(chunk.columns.numbers[:2], [[2.5, 4.0], [np.nan, np.nan]])
    assert chunk.columns.key[0] == chunk.columns.key[1] == events(b'{"id": 1, "at": 3}').columns.key[0]
    assert chunk.reasons[2] == "after.id is missing"
    assert chunk.reasons[3].startswith("source.at is not a time")
    assert "got `array` - at `$.after`" in chunk.reasons[4]


def test_an_id_of_several_fields_needs_them_all_and_keeps_them_apart():
    messages = [b'{"a": 1, "b": 23, "at": 1}', b'{"a": 12, "b": 3, "at": 1}', b'{"a": "1", "b": "23", "at": 1}']
    dead = [b'{"a": 1, "at": 1}', b'{"b": 1, "at": 1}', b'{"a": "", "b": 1, "at": 1}']
    chunk = events(*messages, *dead, id=("a", "b"))
    key = chunk.columns.key.tolist()
    assert key[0] == key[2] != key[1]
    assert chunk.reasons == {3: "b is missing", 4: "a is missing", 5: "a is empty"}
    assert labels(*messages, id=("a", "b")).columns.key.tolist() == key[:3]


def test_words_are_hashed_one_by_one_up_to_a_limit():
    chunk = events(
        b'{"id": 1, "at": 1, "w": ["a", "bb"]}',
        b'{"id": 1, "at": 1, "w": []}',
        b'{"id": 1, "at": 1}',
        b'{"id": 1, "at": 1, "w": [%s]}' % b",".join([b'"ccc"'] * 70),
        b'{"id": 1, "at": 1, "w": "a"}',
        b'{"id": 1, "at": 1, "w": [null]}',
        words={"w": Lengths(), "v": Lengths()},
    )
    assert chunk.columns.words.shape == (6, 2 * MAX_WORDS)
    assert [row[row != 0].tolist() for row in chunk.columns.words] == [[1, 2], [], [], [3] * MAX_WORDS, [], []]
    assert chunk.columns.flaw.tolist() == [SOUND] * 4 + [DEAD] * 2


@pytest.mark.parametrize(
    ("value", "hashed"), [("-1", 1), ("0", 2), ("9.9", 2), ("10", 3), ("1e300", 3), ("null", 4), ("-1e-300", 1)]
)
def test_a_bucket_holds_its_lower_edge_and_null_has_one_of_its_own(value, hashed):
    message = b'{"id": 1, "at": 1, "x": %s}' % value.encode()
    hashes = np.array([1, 2, 3, 4], np.uint64)
    chunk = events(message, buckets={"x": (EDGES, hashes)}, categories={"c": Lengths()})
    assert chunk.columns.categories.tolist() == [[4, hashed]]  # "None" has four letters


@pytest.mark.parametrize(
    ("weight", "read"), [("2.5", 2.5), ("0", 0.0), ("null", 1.0), ("1e6", 1e6), ("-1", None), ("1e7", None)]
)
def test_a_weight_is_one_unless_it_is_said(weight, read):
    chunk = events(b'{"id": 1, "at": 1, "w": %s}' % weight.encode(), weight="w")
    assert chunk.columns.flaw.tolist() == [SOUND if read is not None else DEAD]
    if read is None:
        assert chunk.reasons[0].startswith("w is ")
    else:
        assert chunk.columns.weight.tolist() == [read]


@pytest.mark.parametrize(
    ("score", "sound"), [("0", True), ("1", True), ("0.3", True), ("1.01", False), ("null", False)]
)
def test_a_score_is_a_probability(score, sound):
    chunk = events(b'{"id": 1, "at": 1, "p": %s}' % score.encode(), score="p")
    assert chunk.columns.flaw.tolist() == [SOUND if sound else DEAD]
    if sound:
        assert chunk.columns.score.tolist() == [float(score)]
    else:
        assert "a score is a probability" in chunk.reasons[0]


def test_a_label_may_be_positive_by_its_value():
    values = [b'"won"', b'"lost"', b"3", b"3.0", b"1" + b"0" * 400, b"null", b"[]"]
    chunk = labels(
        *(b'{"id": 1, "at": 1, "v": %s}' % value for value in values), value="v", positive=frozenset({"won", 3})
    )
    assert chunk.columns.value[:5].tolist() == [1, 0, 1, 1, 0]
    assert chunk.columns.flaw.tolist() == [SOUND] * 5 + [DEAD] * 2
    assert chunk.reasons[5].startswith("v is missing")
