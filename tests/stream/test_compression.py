"""Compressed files are read as their plain text, and one that was cut anywhere is not taken for whole."""

import gzip

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from stream.compression import open_lines, open_plain, read_plain
from stream.source import SourceError

TEXT = b"".join(b'{"i": %d, "square": %d}\n' % (i, i * i) for i in range(4000))
PACK = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor(write_content_size=False).compress}


@pytest.fixture(params=PACK, scope="module")
def packed(request, tmp_path_factory):
    """Where to write, and two members or frames one after another."""
    pack = PACK[request.param]
    return tmp_path_factory.mktemp("packed") / f"a.csv{request.param}", [pack(TEXT), pack(TEXT[:1000])]


def test_the_plain_text_comes_back(packed):
    path, members = packed
    path.write_bytes(b"".join(members))
    with open_plain(path) as file:
        assert read_plain(file, 1 << 20, path) == TEXT + TEXT[:1000]
    with open_lines(path) as lines:
        assert list(lines) == (TEXT + TEXT[:1000]).splitlines(keepends=True)


@given(st.data())
def test_a_cut_file_is_refused(packed, data):
    path, members = packed
    whole = b"".join(members)
    cut = data.draw(st.integers(1, len(whole) - 1).filter(lambda size: size != len(members[0])))
    path.write_bytes(whole[:cut])
    with open_lines(path) as lines, pytest.raises(SourceError, match=r"can't be decompressed: .*\n  A compressed file"):
        list(lines)


@given(st.binary(min_size=8, max_size=64))
def test_what_is_not_compressed_is_refused(packed, noise):
    path, _ = packed
    path.write_bytes(b"#" + noise)
    with open_lines(path) as lines, pytest.raises(SourceError, match="can't be decompressed"):
        list(lines)
