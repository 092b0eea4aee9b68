"""A partition outlives being renamed, compressed and deleted, and is never read twice."""

import gzip

import pytest
import zstandard

from stream.files import FileSource
from stream.source import Mark, Partition, SourceError

ZERO = Partition("clicks", "0")
COMPRESS = {"gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress}


@pytest.fixture
def topic(tmp_path):
    (tmp_path / "clicks").mkdir()
    return tmp_path / "clicks"


@pytest.fixture
def open_source(topic):
    opened = []

    def open_it(*, bounded=False):
        opened.append(FileSource(topic.parent, ["clicks"], bounded=bounded))
        return opened[-1]

    yield open_it
    for source in opened:
        source.close()


def poll(source, max_records=100):
    batches = source.poll(source.partitions(), max_records)
    return {batch.partition.name: batch.messages for batch in batches}


@pytest.fixture(params=COMPRESS)
def kind(request):
    return request.param


def test_a_compressed_file_is_read_like_a_plain_one(topic, open_source, kind):
    (topic / f"0.jsonl.{kind}").write_bytes(COMPRESS[kind](b"a\nb\n") + COMPRESS[kind](b"c\nlast"))
    for bounded in (True, False):
        source = open_source(bounded=bounded)
        assert source.poll([ZERO], 2)[0].positions.tolist() == [0, 2]
        assert poll(source) == {"0": [b"c", b"last"]}
        assert source.at_end(ZERO)
        assert source.progress() == 1.0


def test_it_goes_on_at_a_mark_in_a_compressed_file(topic, open_source, kind):
    (topic / f"0.jsonl.{kind}").write_bytes(COMPRESS[kind](b"a\nb\nc\n"))
    source = open_source()
    source.poll([ZERO], 2)
    mark = Mark(4, source.fingerprint(ZERO))
    again = open_source()
    again.seek({ZERO: mark})
    assert poll(again) == {"0": [b"c"]}


def test_it_goes_on_behind_a_last_line_without_a_newline(topic, open_source, kind):
    (topic / f"0.jsonl.{kind}").write_bytes(COMPRESS[kind](b"a\nlast"))
    source = open_source()
    (batch,) = source.poll([ZERO], 10)
    mark = Mark(batch.next_position, source.fingerprint(ZERO))
    again = open_source()
    again.seek({ZERO: mark})
    assert again.at_end(ZERO)


def test_a_file_that_got_its_last_newline_when_it_was_compressed(topic, open_source, kind):
    (topic / "0.jsonl").write_bytes(b'{"a": 1}')
    source = open_source(bounded=True)
    assert poll(source) == {"0": [b'{"a": 1}']}
    mark = Mark(8, source.fingerprint(ZERO))
    (topic / "0.jsonl").unlink()
    (topic / f"0.jsonl.{kind}").write_bytes(COMPRESS[kind](b'{"a": 1}\nb\n'))
    again = open_source()
    again.seek({ZERO: mark})
    assert poll(again) == {"0": [b"b"]}


def test_a_file_that_is_compressed_while_it_is_read_goes_on(topic, open_source, kind):
    (topic / "0.jsonl").write_bytes(b"a\nb\n")
    source = open_source()
    assert poll(source, 1) == {"0": [b"a"]}
    (topic / f"0.jsonl.{kind}").write_bytes(COMPRESS[kind](b"a\nb\nc\n"))
    assert source.partitions() == [ZERO]  # both are there for a moment
    (topic / "0.jsonl").unlink()
    assert poll(source) == {"0": [b"b"]}
    assert source.partitions() == [ZERO]


def test_a_file_that_was_compressed_since_is_not_read_twice(topic, open_source, kind):
    (topic / "0.jsonl").write_bytes(b"a\nb\n")
    source = open_source()
    assert poll(source, 1) == {"0": [b"a"]}
    mark = Mark(2, source.fingerprint(ZERO))
    (topic / "0.jsonl").unlink()
    (topic / f"0.jsonl.{kind}").write_bytes(COMPRESS[kind](b"a\nb\n"))
    again = open_source()
    again.seek({ZERO: mark})
    assert poll(again) == {"0": [b"b"]}


@pytest.mark.parametrize("live", [True, False])
def test_rotation_starts_a_new_partition_under_the_old_name(topic, open_source, live):
    (topic / "0.jsonl").write_bytes(b"a\nb\n")
    source = open_source()
    assert poll(source, 1) == {"0": [b"a"]}
    mark = Mark(2, source.fingerprint(ZERO))
    (topic / "0.jsonl").rename(topic / "0-old.jsonl")
    (topic / "0.jsonl").write_bytes(b"")
    if not live:
        source = open_source()
        source.seek({ZERO: mark})
    assert poll(source) == {"0": [b"b"]}
    (topic / "0.jsonl").write_bytes(b"c\n")
    (new,) = set(source.partitions()) - {ZERO}
    assert new.name.startswith("0@")
    assert poll(source) == {new.name: [b"c"]}
    assert poll(source) == {}


def test_a_file_that_was_read_whole_may_be_deleted(topic, open_source):
    (topic / "0.jsonl").write_bytes(b"a\n")
    source = open_source()
    assert poll(source) == {"0": [b"a"]}
    (topic / "0.jsonl").unlink()
    assert poll(source) == {}
    mark = Mark(2, source.fingerprint(ZERO))
    again = open_source()
    again.seek({ZERO: mark})
    assert again.partitions() == [ZERO]
    assert again.at_end(ZERO)
    assert again.fingerprint(ZERO) == mark.fingerprint


def test_two_plain_files_that_begin_alike_are_two_partitions(topic, open_source):
    (topic / "0.jsonl").write_bytes(b"a\n")
    (topic / "1.jsonl").write_bytes(b"a\n")
    assert poll(open_source()) == {"0": [b"a"], "1": [b"a"]}


def test_a_damaged_compressed_file_is_explained(topic, open_source, kind):
    whole = COMPRESS[kind](b"".join(b"%d\n" % i for i in range(100_000)))
    (topic / f"0.jsonl.{kind}").write_bytes(whole[: len(whole) // 2] + b"\0" * 100 + whole[len(whole) // 2 :])
    source = open_source()
    with pytest.raises(
        SourceError, match=rf"0\.jsonl\.{kind} can't be decompressed: .*\n  A compressed file must be whole"
    ):
        [poll(source) for _ in range(10_000)]
