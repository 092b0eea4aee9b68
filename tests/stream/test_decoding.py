"""Each kind of message by hand: whether it is sound, why not, and what its columns say."""

from datetime import datetime

import numpy as np
import pytest

from stream.decoding import EventDecoder, LabelDecoder
from stream.records import DEAD, SOUND, TOMBSTONE
from stream.schema import EventSchema, LabelSchema
from stream.source import Batch, Partition

NOW_US = 1_700_000_000_000_000
HOURS = np.arange(100, 124, dtype=np.uint64)
GOLDEN = [  # key and check of 7, three times, "flight 1", "é", -5 and 2**70
    "4c291414e7a1d6db 05d1ee06",
    "4c291414e7a1d6db 05d1ee06",
    "4c291414e7a1d6db 05d1ee06",
    "b347590b9ff3aca3 516980ec",
    "3a7918ab70693290 000a94f7",
    "94cf357af1a03773 5974f9ff",
    "2f30fec6b762ab2a af5a6adf",
]
MESSAGES = {
    "event": b'{"id": %s, "at": 3600, "carrier": "UA", "distance": 719}',
    "label": b'{"id": %s, "at": 3600, "late": true}',
}


class Hashes(dict):
    """Stands for a column's hashes: a number per value, in order of appearance."""

    def __missing__(self, value):
        self[value] = len(self) + 1
        return self[value]


def event_decoder(**changes):
    fields = {"id": "id", "categories": {"carrier": Hashes()}, "numbers": ("distance", "temp")}
    return EventDecoder(EventSchema(topic="flights", time="at", **(fields | changes)), now_us=lambda: NOW_US)


def label_decoder(value="late"):
    return LabelDecoder(LabelSchema(topic="arrivals", id="id", time="at", value=value), now_us=lambda: NOW_US)


def batch(*messages, broken=()):
    positions = np.cumsum([0, *(len(message) + 1 for message in messages)], dtype=np.int64)
    return Batch(Partition("flights", "0"), positions[:-1], int(positions[-1]), list(messages), dict(broken))


def fate(decoder, message):
    """The flaw of one message and its reason, between two sound neighbours."""
    neighbour = MESSAGES["event" if isinstance(decoder, EventDecoder) else "label"] % b'"neighbour"'
    whole = batch(neighbour, message, neighbour)
    chunk = decoder.decode(whole, 0)
    assert chunk.columns.flaw[[0, 2]].tolist() == [SOUND, SOUND]
    assert set(chunk.reasons) <= {len(neighbour) + 1}
    return int(chunk.columns.flaw[1]), chunk.reasons.get(len(neighbour) + 1)


def test_an_event_becomes_a_row_of_columns():
    message = b'{"id": 7, "at": "1970-01-01T05:30:00Z", "carrier": "UA", "distance": 719, "temp": null, "more": [{}]}'
    chunk = event_decoder(time_parts=((3_600_000_000, HOURS),)).decode(batch(b"", message), 3)
    events = chunk.columns
    assert events.time[1] == events.order[1] == 19_800_000_000
    assert events.partition.tolist() == [3, 3]
    assert events.position.tolist() == [0, 1]
    assert events.label.tolist() == [-1, -1]
    assert events.categories[1].tolist() == [2, 105]  # the blank one's null came first; five o'clock
    np.testing.assert_array_equal(events.numbers[1], [719.0, np.nan])
    assert chunk.next_position == 1 + len(message) + 1
    assert chunk.messages == [b"", message]


def test_a_labelled_event_brings_its_label_and_needs_no_id():
    decoder = event_decoder(id=None, label="late", categories={}, numbers=())
    events = decoder.decode(batch(b'{"at": 1, "late": false}', b'{"at": 1, "late": 1}', b'{"at": 1}'), 0).columns
    assert events.label.tolist() == [0, 1, 0]
    assert events.flaw.tolist() == [SOUND, SOUND, DEAD]
    assert events.categories.shape == events.numbers.shape == (3, 0)


def test_without_a_value_field_a_label_means_positive():
    labels = label_decoder(value=None).decode(batch(b'{"id": 1, "at": 1, "late": false}'), 0).columns
    assert labels.value.tolist() == [1]


@pytest.mark.parametrize("kind", ["event", "label"])
@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b'{"id": 1, "at": 3600', "truncated"),
        (b'{"id": 1, "at": 3600} {}', "trailing characters"),
        (b'\xef\xbb\xbf{"id": 1, "at": 3600}', "invalid character"),  # a byte order mark amid the file
        (b'{"id": "\xff", "at": 3600}', "utf-8"),
        (b'{"id": "\\ud800", "at": 3600}', "surrogate"),
        (b'{"id": "\xed\xa0\x80", "at": 3600}', "utf-8"),
        (b"[" * 100_000, "Expected `object`"),
        (b'{"more": ' + b"[" * 100_000, "recursion"),
        (b'{"more": ' + b"[" * 100_000 + b"]" * 100_000 + b', "id": 1, "at": 3600}', "recursion"),
        (b"7", "Expected `object`"),
        (b"null", "Expected `object`"),
        (b"\x00", "invalid character"),
        (b'{"at": 3600}', "missing required field `id`"),
        (b'{"id": null, "at": 3600, "late": true}', "id"),
        (b'{"id": 7.0, "at": 3600}', "got `float` - at `$.id`"),
        (b'{"id": true, "at": 3600}', "got `bool` - at `$.id`"),
        (b'{"id": [1], "at": 3600}', "got `array` - at `$.id`"),
        (b'{"id": 1' + b"0" * 5000 + b', "at": 3600}', "out of range - at `$.id`"),
        (b'{"id": "", "at": 3600, "late": true}', "id is empty"),
        (b'{"id": 1, "late": true}', "at is not a time"),
        (b'{"id": 1, "at": null, "late": true}', "at is not a time"),
        (b'{"id": 1, "at": -1, "late": true}', "at is not a time"),
        (b'{"id": 1, "at": 1e300, "late": true}', "at is not a time"),
        (b'{"id": 1, "at": 1' + b"0" * 400 + b', "late": true}', "at is not a time"),
        (b'{"id": 1, "at": "1969-12-31T23:59:59Z", "late": true}', "at is not a time"),
        (b'{"id": 1, "at": "9999-12-31T23:59:59-14:00", "late": true}', "at is not a time"),
        (b'{"id": 1, "at": true}', "got `bool` - at `$.at`"),
        (b'{"id": 1, "at": 1e400}', "out of range - at `$.at`"),
        (b'{"id": 1, "at": NaN}', "invalid character"),
        (b'{"id": 1, "at": "yesterday"}', "Invalid RFC3339"),
        (b'{"id": 1, "at": 4070908800, "late": true}', "at is 2099-01-01T00:00:00Z, 75 years ahead of this machine"),
        (b'{"id": 1, "at": 1700000601, "late": true}', "at is 2023-11-14T22:23:21Z, 10 minutes ahead"),
    ],
)
def test_it_is_dead_and_says_why(kind, message, reason):
    flaw, why = fate(event_decoder() if kind == "event" else label_decoder(), message)
    assert flaw == DEAD
    assert reason in why


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (b'"distance": NaN', "invalid character"),
        (b'"distance": -Infinity', "invalid character"),
        (b'"distance": 1e400', "out of range - at `$.distance`"),
        (b'"distance": 1' + b"0" * 400, "out of range - at `$.distance`"),
        (b'"distance": true', "got `bool` - at `$.distance`"),
        (b'"distance": "719"', "got `str` - at `$.distance`"),
        (b'"carrier": ["UA"]', "got `array` - at `$.carrier`"),
        (b'"carrier": {}', "got `object` - at `$.carrier`"),
        (b'"carrier": "\xc3"', "utf-8"),
    ],
)
def test_a_feature_of_the_wrong_kind_is_dead(fields, reason):
    flaw, why = fate(event_decoder(), b'{"id": 1, "at": 3600, %s}' % fields)
    assert flaw == DEAD
    assert reason in why


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"2", "late is 2; a label is true or false, 1 or 0"),
        (b"-1", "late is -1; a label is true or false, 1 or 0"),
        (b"0.5", "late is 0.5; a label"),
        (b"null", "late is missing; a label"),
        (b'"1"', "got `str` - at `$.late`"),
        (b"1e400", "out of range - at `$.late`"),
        (b"1" + b"0" * 400, "out of range - at `$.late`"),
        (b"[]", "got `array` - at `$.late`"),
    ],
)
def test_a_label_is_zero_or_one(value, reason):
    assert fate(label_decoder(), b'{"id": 1, "at": 3600, "late": %s}' % value)[0] == DEAD
    assert reason in fate(label_decoder(), b'{"id": 1, "at": 3600, "late": %s}' % value)[1]


@pytest.mark.parametrize("value", [b"true", b"1", b"1.0", b"false", b"0", b"-0.0"])
def test_true_false_one_and_zero_are_labels(value):
    chunk = label_decoder().decode(batch(b'{"id": 1, "at": 3600, "late": %s}' % value), 0)
    assert chunk.columns.flaw.tolist() == [SOUND]
    assert chunk.columns.value.tolist() == [value in (b"true", b"1", b"1.0")]


@pytest.mark.parametrize("message", [b"", b" \t\r", b"\n"])
@pytest.mark.parametrize("decoder", [event_decoder(), label_decoder()])
def test_an_empty_message_is_a_tombstone(decoder, message):
    assert fate(decoder, message) == (TOMBSTONE, "empty")


def test_what_the_source_could_not_deliver_is_dead_for_the_source_s_reason():
    sound = MESSAGES["event"] % b"1"
    chunk = event_decoder().decode(batch(sound, sound, b"", broken={0: "too long", 2: "checksum"}), 0)
    assert chunk.columns.flaw.tolist() == [DEAD, SOUND, DEAD]
    assert chunk.reasons == {0: "too long", 2 * len(sound) + 2: "checksum"}


def test_of_a_field_that_comes_twice_the_last_counts():
    labels = label_decoder().decode(batch(b'{"id": 1, "id": 2, "at": 1, "at": 2, "late": 0, "late": 1}'), 0).columns
    once = label_decoder().decode(batch(b'{"id": 2, "at": 2, "late": 1}'), 0).columns
    assert (labels.key, labels.time, labels.value) == (once.key, once.time, once.value)


def test_ten_minutes_ahead_of_the_clock_are_not_too_much():
    at = NOW_US // 1_000_000 + 600
    assert fate(label_decoder(), b'{"id": 1, "at": %d, "late": 1}' % at)[0] == SOUND
    late = datetime.fromtimestamp(at).astimezone().isoformat().encode()
    assert fate(label_decoder(), b'{"id": 1, "at": "%s", "late": 1}' % late)[0] == SOUND


def test_an_id_is_its_text_and_its_hash_is_pinned_for_ever():
    ids = [b"7", b'"7"', b'"\\u0037"', b'"flight 1"', b'"\xc3\xa9"', b"-5", b"1180591620717411303424"]
    for kind, decoder in (("event", event_decoder()), ("label", label_decoder())):
        columns = decoder.decode(batch(*(MESSAGES[kind] % id_ for id_ in ids)), 0).columns
        hashes = zip(columns.key.tolist(), columns.check.tolist(), strict=True)
        assert [f"{key:016x} {check:08x}" for key, check in hashes] == GOLDEN
