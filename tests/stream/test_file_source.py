"""Files as partitions: what is read, what waits, what is refused."""

import os
from contextlib import ExitStack, closing

import pytest

from stream import tail
from stream.files import FileSource
from stream.source import Mark, Partition, SourceError

FLIGHTS = Partition("flights", "0")


@pytest.fixture
def flights(tmp_path):
    """The file of a topic's only partition, not there yet."""
    (tmp_path / "flights").mkdir()
    return tmp_path / "flights" / "0.jsonl"


@pytest.fixture
def open_source(flights):
    """Return a function that opens the topic, tailing unless told otherwise."""
    with ExitStack() as opened:
        yield lambda *, bounded=False, **limit: opened.enter_context(
            closing(FileSource(flights.parents[1], ["flights"], bounded=bounded, **limit))
        )


def append(path, data):
    with path.open("ab") as file:
        file.write(data)


def poll(source, max_records=100):
    """The messages of one poll with their positions."""
    return [
        (int(position), message)
        for batch in source.poll(source.partitions(), max_records)
        for position, message in zip(batch.positions, batch.messages, strict=True)
    ]


def test_a_position_is_where_the_message_begins_in_the_file(flights, open_source):
    flights.write_bytes(b'{"id": 1}\n\n{"id": "\xc3\xa9"}\r\n{}\n')
    (batch,) = open_source().poll([FLIGHTS], 100)
    assert batch.messages == [b'{"id": 1}', b"", b'{"id": "\xc3\xa9"}\r', b"{}"]
    assert (batch.positions.tolist(), batch.next_position) == ([0, 10, 11, 25], 28)


def test_a_poll_gives_at_most_so_many_of_each_partition(flights, open_source):
    flights.write_bytes(b"a\nb\nc\n")
    flights.with_name("1.jsonl").write_bytes(b"d\n")
    source = open_source()
    assert poll(source, 2) == [(0, b"a"), (2, b"b"), (0, b"d")]
    assert [batch.messages for batch in source.poll([FLIGHTS], 2)] == [[b"c"]]
    assert poll(source) == []


def test_a_half_written_line_waits_until_it_is_whole(flights, open_source):
    flights.write_bytes(b"a\nbc")
    source = open_source()
    assert poll(source) == [(0, b"a")]
    assert source.at_end(FLIGHTS)
    append(flights, b"d")
    assert poll(source) == []
    append(flights, b"\ne\n")
    assert not source.at_end(FLIGHTS)
    assert poll(source) == [(2, b"bcd"), (6, b"e")]


def test_a_half_written_line_may_be_taken_back_and_written_anew(flights, open_source):
    flights.write_bytes(b"a\nhalf of i")
    source = open_source()
    assert poll(source) == [(0, b"a")]
    os.truncate(flights, 2)
    assert poll(source) == []
    append(flights, b"whole\n")
    assert poll(source) == [(2, b"whole")]


def test_a_new_file_is_a_new_partition(flights, open_source):
    flights.write_bytes(b"a\n")
    source = open_source()
    assert poll(source) == [(0, b"a")]
    flights.with_name("1.jsonl").write_bytes(b"b\n")
    flights.with_name("2.json").write_bytes(b"not ours\n")
    assert source.partitions() == [FLIGHTS, Partition("flights", "1")]
    assert poll(source) == [(0, b"b")]


def test_bounded_ends_are_those_of_the_beginning(flights, open_source):
    flights.write_bytes(b"a\nb")
    source = open_source(bounded=True)
    append(flights, b"c\nd\n")
    flights.with_name("1.jsonl").write_bytes(b"e\n")
    assert poll(source) == [(0, b"a")]
    assert source.at_end(FLIGHTS)
    assert source.partitions() == [FLIGHTS]


def test_at_a_bounded_end_a_whole_object_needs_no_newline(flights, open_source, caplog):
    caplog.set_level("WARNING", "riverd")
    flights.write_bytes(b'{"id": 1}\n{"id": 2}')
    (batch,) = open_source(bounded=True).poll([FLIGHTS], 100)
    assert (batch.messages, batch.next_position) == ([b'{"id": 1}', b'{"id": 2}'], 19)
    assert poll(open_source()) == [(0, b'{"id": 1}')]  # where it may grow it waits
    assert caplog.text == ""


def test_half_an_object_waits_there_too_and_that_is_said_once(flights, open_source, caplog):
    caplog.set_level("WARNING", "riverd")
    flights.write_bytes(b'{"id": 1}\n{"id": ')
    source = open_source(bounded=True)
    assert poll(source) == [(0, b'{"id": 1}')]
    assert source.at_end(FLIGHTS)
    assert poll(source) == []
    assert [record.getMessage() for record in caplog.records] == [
        f"{flights} ends in 7 bytes without a newline that are no whole message; they are left for the next run"
    ]


def test_a_newline_that_comes_later_is_no_message(flights, open_source):
    flights.write_bytes(b'{"id": 1}')
    bounded, source = open_source(bounded=True), open_source()
    assert poll(bounded) == [(0, b'{"id": 1}')]
    source.seek({FLIGHTS: Mark(9, bounded.fingerprint(FLIGHTS))})
    assert poll(source) == []
    append(flights, b'\n{"id": 2}\n')
    assert poll(source) == [(10, b'{"id": 2}')]


def test_a_topic_without_files_is_at_its_end(flights, open_source):
    source = open_source(bounded=True)
    assert source.partitions() == []
    assert source.progress() is None
    flights.touch()
    source = open_source(bounded=True)
    assert source.at_end(FLIGHTS)
    assert poll(source) == []


def test_progress_is_the_share_of_bytes(flights, open_source):
    flights.write_bytes(b"a\nb\nc\nd\n")
    source = open_source()
    assert source.progress() == 0.0
    poll(source, 1)
    assert source.progress() == 0.25
    append(flights, b"e\nf\ng\nh\n")
    assert source.progress() == 0.125


def test_a_byte_order_mark_is_no_part_of_the_first_message(flights, open_source):
    flights.write_bytes(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n")
    assert poll(open_source()) == [(0, b"a"), (5, b"\xef\xbb\xbfb")]


def test_a_line_that_is_too_long_is_passed_over_and_said(flights, open_source):
    flights.write_bytes(b"a\n" + b"x" * 11 + b"\nb\n" + b"y" * 10 + b"\n")
    source = open_source(max_message_bytes=10)
    assert poll(source) == [(0, b"a")]
    (batch,) = source.poll([FLIGHTS], 100)
    assert batch.broken == {0: "the message has 11 bytes, more than max_message_bytes = 10"}
    assert (batch.positions.tolist(), batch.messages, batch.next_position) == ([2], [b"x" * 10], 14)
    assert poll(source) == [(14, b"b"), (16, b"y" * 10)]


def test_a_line_that_is_too_long_is_so_in_whatever_pieces_it_is_written(flights, open_source):
    flights.write_bytes(b"")
    source = open_source(max_message_bytes=10)
    for piece in (b"x" * 9, b"y" * 3):
        append(flights, piece)
        assert poll(source) == []
    append(flights, b"z\na\n")
    (batch,) = source.poll([FLIGHTS], 100)
    assert batch.broken == {0: "the message has 13 bytes, more than max_message_bytes = 10"}
    assert batch.messages == [b"xxxxxxxxxy"]
    assert poll(source) == [(14, b"a")]


def test_of_a_long_line_only_the_beginning_is_kept(flights, open_source):
    flights.write_bytes(b"x" * 9_000_000 + b"\n")
    (batch,) = open_source().poll([FLIGHTS], 1)
    assert batch.messages == [b"x" * tail.KEPT_BYTES]
    assert batch.next_position == 9_000_001
    assert "9,000,000 bytes, more than max_message_bytes = 1,048,576" in batch.broken[0]


def test_a_poll_of_many_bytes_stops_early_but_never_before_a_message(flights, open_source, monkeypatch):
    monkeypatch.setattr(tail, "BLOCK_BYTES", 4)
    monkeypatch.setattr(tail, "POLL_BYTES", 6)
    flights.write_bytes(b"a" * 9 + b"\nb\nc\nd\ne\n")
    source = open_source()
    assert poll(source) == [(0, b"a" * 9), (10, b"b")]
    assert poll(source) == [(12, b"c"), (14, b"d"), (16, b"e")]


def test_it_goes_on_at_a_mark(flights, open_source):
    flights.write_bytes(b"a\nbb\nccc\n")
    source = open_source()
    poll(source, 2)
    mark = Mark(5, source.fingerprint(FLIGHTS))
    append(flights, b"d\n")
    again = open_source()
    again.seek({FLIGHTS: mark})
    assert poll(again) == poll(source) == [(5, b"ccc"), (9, b"d")]
    again.seek({FLIGHTS: Mark(2)})
    assert poll(again, 1) == [(2, b"bb")]


@pytest.mark.parametrize("length", [8, 5000])
def test_a_file_that_begins_otherwise_is_refused(flights, open_source, length):
    flights.write_bytes(b"a\n" * length)
    source = open_source()
    poll(source, length)
    mark = Mark(2 * length, source.fingerprint(FLIGHTS))
    flights.write_bytes(b"a\n" * 3 + b"b\n" * length)
    with pytest.raises(SourceError, match=r"0\.jsonl begins with other bytes .* replaced.\n  Put the old file back"):
        open_source().seek({FLIGHTS: mark})


def test_a_file_that_shrank_is_refused(flights, open_source):
    flights.write_bytes(b"a\nb\nc\n")
    source = open_source()
    poll(source)
    flights.write_bytes(b"a\nb\n")
    with pytest.raises(SourceError, match=r"0\.jsonl was cut below byte 6, .*\n  Put the old file back"):
        poll(source)
    with pytest.raises(SourceError, match=r"0\.jsonl has 4 bytes, but riverd has read 6: .*\n  Put the old file back"):
        open_source().seek({FLIGHTS: Mark(6)})


def test_a_file_that_is_gone_is_refused(flights, open_source):
    flights.write_bytes(b"a\nb\n")
    source = open_source()
    poll(source, 1)
    mark = Mark(2, source.fingerprint(FLIGHTS))
    flights.unlink()
    with pytest.raises(SourceError, match=r"0\.jsonl is gone, but riverd has read 2 bytes .*\n  Put it back"):
        open_source().seek({FLIGHTS: mark})


def test_a_topic_without_a_folder_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"flights is not a folder, .*\n .*correct \[source\] path and topic"):
        FileSource(tmp_path, ["flights"], bounded=True)
