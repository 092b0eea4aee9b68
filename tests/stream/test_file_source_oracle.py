"""A file read in any pieces, against its content split by newline."""

import json
from collections import Counter
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream import tail
from stream.files import FileSource
from stream.source import Mark, Partition
from stream.tail import BYTE_ORDER_MARK

LINES = Partition("lines", "0")
LIMIT = 12

line = st.binary(max_size=8) | st.binary(min_size=LIMIT - 1, max_size=LIMIT + 2) | st.binary(min_size=30, max_size=60)
# what a last line without a newline may be: whole objects, of which the last is too long, and beginnings of some
OBJECTS = [b"{}", b'{"a": 1}', b' {"a":[1]} ', b'{"a": "\xc3\xa9"}', b'{"a": "0123456789"}']
rests = st.binary(max_size=40) | st.sampled_from([*OBJECTS, b'{"a": 1', b'{"a": {}', b'{"a": "}', b"[1]", b"12", b" "])
contents = st.builds(
    lambda start, lines, rest: start + b"".join(one.replace(b"\n", b"\r") + b"\n" for one in lines) + rest,
    st.sampled_from([b"", BYTE_ORDER_MARK]),
    st.lists(line, max_size=12),
    rests,
)


def is_object(text):
    try:
        return isinstance(json.loads(text.decode()), dict)
    except ValueError:
        return False


def expected(content, *, bounded, position=0):
    """(position, message or its beginning, its length if it is too long) of each line that is handed out."""
    *lines, rest = content[position:].split(b"\n")
    if bounded and len(rest) <= LIMIT and is_object(rest.removeprefix(BYTE_ORDER_MARK)):
        lines.append(rest)
    for text in lines:
        message = text.removeprefix(BYTE_ORDER_MARK) if position == 0 else text
        if len(text) > LIMIT:
            yield position, text[:LIMIT].removeprefix(BYTE_ORDER_MARK) if position == 0 else text[:LIMIT], len(text)
        else:
            yield position, message, None
        position += len(text) + 1


def read(source, polls):
    """What comes until the end in polls of these sizes, in the form of ``expected``."""
    got = []
    while not source.at_end(LINES):
        size = next(polls)
        (batch,) = source.poll([LINES], size)
        assert 0 < len(batch.messages) <= size
        for i, (position, message) in enumerate(zip(batch.positions.tolist(), batch.messages, strict=True)):
            reason = batch.broken.get(i)
            got.append((position, message, None if reason is None else int(reason.split()[3].replace(",", ""))))
        assert batch.positions.dtype == np.int64
        assert batch.next_position > batch.positions[-1]
    assert source.poll([LINES], 5) == []
    return got


def sizes(numbers):
    while True:
        yield from numbers


# what is written behind a last line, with its newline or in its place
LATER = [b"", b"\n", b"\n{}\n", b"{}\n", b"\n\n", b'}\n{"a": 2}\n']


def go_on_tailing(path, content, end, later, turns):
    """A run that does not end goes on where one that did has ended."""
    with closing(FileSource(path.parents[1], ["lines"], bounded=False, max_message_bytes=LIMIT)) as source:
        source.seek({LINES: Mark(end)})
        assert read(source, turns) == []
        with path.open("ab") as file:
            file.write(later)
        grown = content + later
        in_line = end > 0 and not grown[:end].endswith(b"\n")
        begin = end + (in_line and grown[end:].startswith(b"\n"))
        assert read(source, turns) == list(expected(grown, bounded=False, position=begin))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "lines"
    folder.mkdir()
    return folder / "0.jsonl"


def test_any_blocks_and_polls_give_the_lines(path):
    seen = Counter()

    @settings(max_examples=400, deadline=None)
    @given(
        contents,
        st.integers(1, 40),
        st.lists(st.integers(1, 5), min_size=1, max_size=4),
        st.lists(st.integers(0, 400), max_size=5),
        st.booleans(),
        st.data(),
    )
    def check(content, block_bytes, polls, cuts, bounded, data):
        cuts = sorted(min(cut, len(content)) for cut in cuts)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tail, "BLOCK_BYTES", block_bytes)
            patch.setattr(tail, "POLL_BYTES", data.draw(st.sampled_from([1, 50, 10_000])))
            pieces = [content] if bounded else np.split(np.frombuffer(content, np.uint8), cuts)
            path.write_bytes(bytes(pieces[0]))
            opened = FileSource(path.parents[1], ["lines"], bounded=bounded, max_message_bytes=LIMIT)
            with closing(opened) as source:
                turns = sizes(polls)
                got = read(source, turns)
                for piece in pieces[1:]:
                    with path.open("ab") as file:
                        file.write(bytes(piece))
                    got += read(source, turns)
                lines = list(expected(content, bounded=bounded))
                assert got == lines

                place = data.draw(st.integers(0, len(lines)))
                open_ended = len(lines) > content.count(b"\n")
                end = len(content) if open_ended else content.rfind(b"\n") + 1
                source.seek({LINES: Mark(lines[place][0] if place < len(lines) else end)})
                assert read(source, turns) == lines[place:]
            if bounded:
                go_on_tailing(path, content, end, data.draw(st.sampled_from(LATER)), turns)
                seen["open-ended"] += open_ended
                seen["left"] += not open_ended and not content.endswith(b"\n")
            too_long = sum(length is not None for *_, length in lines)
            seen["too long"] += too_long
            seen["too long in pieces"] += too_long and len(pieces) > 1
            seen["marked"] += bool(lines) and content.startswith(BYTE_ORDER_MARK)

    check()
    assert seen["too long"] > 100
    assert seen["too long in pieces"] > 20
    assert seen["marked"] > 10
    assert seen["open-ended"] > 10
    assert seen["left"] > 10
