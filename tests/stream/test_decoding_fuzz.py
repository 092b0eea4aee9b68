"""Whatever bytes come: nothing raises, and a message decodes as it would alone."""

import json
from collections import Counter
from datetime import datetime

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.decoding import EventDecoder, LabelDecoder
from stream.records import DEAD, SOUND, TOMBSTONE
from stream.schema import EventSchema, LabelSchema
from stream.source import Batch, Partition
from stream.timestamps import INVALID

NOW_US = 1_700_000_000_000_000


class Hashes(dict):
    """A hash that does not depend on what was asked before."""

    def __missing__(self, value):
        return sum(repr(value).encode())


SCHEMA = EventSchema(
    topic="flights",
    id="id",
    time="at",
    categories={"carrier": Hashes(), "origin": Hashes()},
    numbers=("distance", "temp"),
    time_parts=((3_600_000_000, np.arange(24, dtype=np.uint64)),),
)
DECODERS = (
    EventDecoder(SCHEMA, now_us=lambda: NOW_US),
    EventDecoder(EventSchema(topic="flights", time="at", label="late", numbers=("temp",)), now_us=lambda: NOW_US),
    EventDecoder(
        EventSchema(
            topic="flights",
            time="at",
            id=("id", "carrier"),
            label="late",
            positive=frozenset({1, "yes"}),
            weight="distance",
            score="temp",
            words={"more": Hashes()},
            buckets={"deep.x": (np.array([0.0, 1.0]), np.arange(4, dtype=np.uint64))},
            numbers=("deep.x", "deep.y.z"),
        ),
        now_us=lambda: NOW_US,
    ),
    LabelDecoder(LabelSchema(topic="arrivals", id="id", time="at", value="late"), now_us=lambda: NOW_US),
)


def rfc3339(time):
    return time.isoformat() + "Z"


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, 3600, 10**11, 4_070_908_800, 10**400, -(10**400), 2**64])
    | st.floats()  # json writes NaN and Infinity, which are not JSON
    | st.text(max_size=5)
    | st.sampled_from(["", "1", "2013-01-01T00:00:00Z", "2013-01-01T00:00:00", "2099-01-01T00:00:00+01:00"])
)
sound = st.fixed_dictionaries(
    {
        "id": st.integers(0, 9) | st.text("abé", min_size=1, max_size=3),
        "at": st.integers(0, 10**9) | st.datetimes(datetime(1970, 1, 1), datetime(2020, 1, 1)).map(rfc3339),
        "late": st.booleans() | st.sampled_from([0, 1, 1.0]),
        "carrier": st.integers() | st.text(min_size=1, max_size=2) | st.none(),
        "distance": st.none() | st.floats(0, 1e6) | st.floats(-1e6, 1e6) | st.integers(-(10**300), 10**300),
        "temp": st.floats(0, 1),
        "more": st.none() | st.lists(st.text(max_size=2), max_size=3),
        "deep": st.none() | st.fixed_dictionaries({}, optional={"x": st.floats(-2, 2), "y": st.just({"z": 1})}),
    }
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(0, 9) | st.text(min_size=1, max_size=3) | scalars,
        "at": st.integers(0, 2 * 10**9) | st.datetimes().map(rfc3339) | scalars,
        "late": st.booleans() | scalars,
        "carrier": scalars | st.lists(scalars, max_size=2),
        "origin": st.text(max_size=2) | scalars,
        "distance": st.floats(-1e6, 1e6) | scalars,
        "temp": scalars,
        "deep": scalars | st.dictionaries(st.sampled_from("xy"), scalars, max_size=2),
        "more": st.recursive(scalars, lambda inner: st.lists(inner, max_size=2), max_leaves=4),
    },
)
valid = st.builds(lambda record, escaped: json.dumps(record, ensure_ascii=escaped), sound | fields, st.booleans()).map(
    lambda text: text.encode("utf-8", "surrogatepass")
)


@st.composite
def damaged(draw):
    """A message cut, or with bytes put in, or both."""
    message = bytearray(draw(valid))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(message)))
        to = draw(st.integers(at, min(len(message), at + 3)))
        message[at:to] = draw(st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"\\u", b"\xff", b"1e9", b"\n"]))
    return bytes(message)


messages = st.lists(valid | damaged() | st.binary(max_size=30) | st.sampled_from([b"", b"\r"]), min_size=1, max_size=12)


def decode(decoder, given_messages):
    lengths = np.array([len(message) + 1 for message in given_messages], dtype=np.int64)
    ends = np.cumsum(lengths)
    return decoder.decode(Batch(Partition("t", "0"), ends - lengths, int(ends[-1]), given_messages), 5)


def test_a_message_decodes_as_it_would_alone():
    seen = Counter()

    @settings(max_examples=300, deadline=None)
    @given(messages)
    def check(stream):
        for number, decoder in enumerate(DECODERS):
            chunk = decode(decoder, stream)
            columns = chunk.columns
            for i, message in enumerate(stream):
                alone = decode(decoder, [message])
                for name, column in columns._asdict().items():
                    if name != "position":
                        np.testing.assert_array_equal(column[i : i + 1], getattr(alone.columns, name), err_msg=name)
                assert chunk.reasons.get(int(columns.position[i])) == alone.reasons.get(0)
                seen[number, int(columns.flaw[i])] += 1
            assert len(chunk.reasons) == np.count_nonzero(columns.flaw)
            assert not (columns.time[columns.flaw == SOUND] == INVALID).any()
            assert columns.flaw.dtype == np.uint8
            for column in columns:
                assert column.flags.c_contiguous
                assert len(column) == len(stream)

    check()
    assert all(seen[number, flaw] >= 20 for number in range(len(DECODERS)) for flaw in (SOUND, DEAD, TOMBSTONE)), seen


@settings(deadline=None)
@given(sound | fields)
def test_it_agrees_with_the_json_module_on_what_is_sound(record):
    events = decode(DECODERS[0], [json.dumps(record).encode()]).columns
    if events.flaw[0] != SOUND:
        return
    numbers = [np.nan if record.get(name) is None else float(record[name]) for name in ("distance", "temp")]
    np.testing.assert_array_equal(events.numbers[0], numbers)
    hashes = [Hashes()[record.get(name)] for name in ("carrier", "origin")]
    assert events.categories[0, :2].tolist() == hashes
    assert events.categories[0, 2] == events.time[0] // 3_600_000_000 % 24
