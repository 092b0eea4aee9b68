"""Times by which a source notes when a message was sent: as the event time, and as the clock that judges it."""

import numpy as np
import pytest

from stream.decoding import EventDecoder, LabelDecoder
from stream.records import DEAD, SOUND
from stream.schema import EventSchema, LabelSchema
from stream.source import Batch, Partition
from stream.timestamps import INVALID

NOW_US = 1_800_000_000_000_000
SENT_US = 1_700_000_000_000_000  # long ago
MINUTE_US = 60_000_000


def decode(messages, stamps, *, time):
    """Times and reasons of events, and that labels have the same."""
    count = len(messages)
    times = None if stamps is None else np.array(stamps, np.int64)
    batch = Batch(Partition("clicks", "0"), np.arange(count), count, messages, times=times)
    events = EventDecoder(EventSchema("clicks", time, id="id"), now_us=lambda: NOW_US).decode(batch, 0)
    labels = LabelDecoder(LabelSchema("clicks", "id", time), now_us=lambda: NOW_US).decode(batch, 0)
    assert labels.reasons == events.reasons
    assert labels.columns.time.tolist() == events.columns.time.tolist()
    assert ((events.columns.flaw == DEAD) == [i in events.reasons for i in range(count)]).all()
    return events


def at(time_us):
    return b'{"id": 1, "at": %d}' % (time_us // 1_000_000)


def test_without_a_field_the_stamp_is_the_time():
    chunk = decode([b'{"id": 1}'] * 3, [SENT_US, INVALID, NOW_US + 11 * MINUTE_US], time=None)
    assert chunk.columns.time[0] == SENT_US
    assert chunk.columns.flaw[0] == SOUND
    assert chunk.reasons == {
        1: "the message has no timestamp, and the config names no field of the time",
        2: "the message's timestamp is 2027-01-15T08:11:00Z, 11 minutes ahead of this machine's clock",
    }


def test_without_a_field_and_without_stamps_there_is_no_time():
    assert len(decode([b'{"id": 1}'] * 2, None, time=None).reasons) == 2


@pytest.mark.parametrize(("ahead", "sound"), [(-9999, True), (0, True), (10, True), (11, False)])
def test_a_time_is_judged_by_its_stamp(ahead, sound):
    chunk = decode([at(SENT_US + ahead * MINUTE_US)], [SENT_US], time="at")
    assert (chunk.columns.flaw[0] == SOUND) == sound
    if not sound:
        assert "11 minutes ahead of the message's timestamp" in chunk.reasons[0]


def test_a_stamp_that_is_missing_or_lies_is_no_clock():
    messages = [at(NOW_US + 9 * MINUTE_US), at(NOW_US + 11 * MINUTE_US)] * 2
    stamps = [INVALID, INVALID, NOW_US * 2, NOW_US * 2]
    chunk = decode(messages, stamps, time="at")
    assert chunk.reasons.keys() == {1, 3}
    assert all("11 minutes ahead of this machine's clock" in reason for reason in chunk.reasons.values())
