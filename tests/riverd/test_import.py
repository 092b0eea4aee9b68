"""Files of all kinds become topics, with the types that their values have."""

import gzip
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from riverd.errors import RiverdError
from riverd.start.importing import import_files, import_topic
from riverd.start.tabular import messages_of


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file and gives its path."""

    def write_one(name, text):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_one


def rows(path):
    return [json.loads(message) for message in messages_of(path)]


def test_json_lines_pass_through_whatever_is_in_them(write):
    path = write("a.jsonl", b'\xef\xbb\xbf{"a":  1}\r\n\n{broken\n  \n{"b": NaN}')
    assert list(messages_of(path)) == [b'{"a":  1}', b"{broken", b'{"b": NaN}']


def test_an_array_becomes_a_message_for_each_entry(write):
    path = write("a.json", ' [{"a": 1.50, "b": [1, 2]},\n {"a": "x\\ny"}]')
    assert list(messages_of(path)) == [b'{"a":1.50,"b":[1,2]}', b'{"a":"x\\ny"}']


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "[1, 2", "begins like a JSON array but is none"),
        ("a.json", "{\n  1\n}", "spread over lines"),
        ("a.csv", "a,b,a\n1,2,3\n", "names the column 'a' twice"),
        ("a.csv", "a,,b\n", "does not name every column"),
        ("a.csv", "a,b\n1,2\n1,2,3\n", r"line 3: 3 fields, but the header names 2"),
        ("a.csv", b"a,b\n1,\xff\n", "Save it as CSV in UTF-8"),
        ("a.jsonl.bz2", b"", "use gzip or zstd"),
        ("a.parquet", b"none", "is not a Parquet file"),
    ],
)
def test_a_broken_file_is_explained(write, name, text, message):
    with pytest.raises(RiverdError, match=message) as fault:
        list(messages_of(write(name, text)))
    assert "\n  " in str(fault.value)


def test_compressed_files_are_read_as_their_text(write):
    text = b"id,on\n1,true\n2,false\n"
    for name, packed in (("a.csv.gz", gzip.compress(text)), ("b.csv.zst", zstandard.compress(text))):
        assert rows(write(name, packed)) == [{"id": 1, "on": True}, {"id": 2, "on": False}]


def test_a_line_without_end_is_refused_by_its_number(write, monkeypatch):
    monkeypatch.setattr("riverd.start.tabular.LONGEST", 100)
    assert len(list(messages_of(write("a.jsonl", f"1\n{'2' * 99}\n3")))) == 3
    with pytest.raises(RiverdError, match=r"a\.jsonl, line 2 is longer than 100 B\.\n  Write one message a line"):
        list(messages_of(write("a.jsonl", f"1\n{'2' * 101}\n3")))


def test_a_missing_file_is_explained(tmp_path):
    with pytest.raises(RiverdError, match=r"none\.csv can't be read: No such file"):
        list(messages_of(tmp_path / "none.csv"))


def test_csv_keeps_types(write):
    path = write(
        "a.csv",
        "id,zip,on,x,when,country,empty,mixed\n"
        "1,01234,true,1.5,2024-03-04 08:00,NA,,1\n"
        '-2,99999,FALSE,NaN,2024-03-04T09:30:00+01:00,"D,E",,x\n'
        "3,00000,,1e3,,,,\n",
    )
    assert rows(path) == [
        {"id": 1, "zip": "01234", "on": True, "x": 1.5, "when": "2024-03-04T08:00:00Z", "country": "NA",
         "empty": None, "mixed": "1"},
        {"id": -2, "zip": "99999", "on": False, "x": None, "when": "2024-03-04T08:30:00Z", "country": "D,E",
         "empty": None, "mixed": "x"},
        {"id": 3, "zip": "00000", "on": None, "x": 1000.0, "when": None, "country": None, "empty": None,
         "mixed": None},
    ]  # fmt: skip


def test_the_last_line_decides_the_type_as_much_as_the_first(write):
    assert rows(write("a.csv", "x\n1\n2\n2.5\n")) == [{"x": 1}, {"x": 2}, {"x": 2.5}]
    assert rows(write("d.csv", "x\n2.5\n1\n")) == [{"x": 2.5}, {"x": 1}]
    assert rows(write("b.csv", "x\n1\n2\nnine\n")) == [{"x": "1"}, {"x": "2"}, {"x": "nine"}]
    assert rows(write("c.tsv", "x\ty\n1\ta,b\n")) == [{"x": 1, "y": "a,b"}]


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63)), min_size=1))
def test_whole_numbers_come_back(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "whole.csv"
    path.write_text("x,y\n" + "".join(f"{'' if value is None else value},\n" for value in values), encoding="utf-8")
    assert [row["x"] for row in rows(path)] == values


@given(st.lists(st.floats(allow_infinity=False, allow_nan=False), min_size=1))
def test_numbers_come_back(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "numbers.csv"
    path.write_text("x\n" + "".join(f"{value!r}\n" for value in values), encoding="utf-8")
    assert [row["x"] for row in rows(path)] == values


def test_parquet_keeps_types(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    table = pyarrow.table(
        {
            "id": [1, 2],
            "at": [datetime(2024, 3, 4, 8, tzinfo=UTC), None],
            "day": [date(2024, 3, 4), None],
            "price": [Decimal("1.25"), None],
            "x": [float("nan"), 0.5],
            "tags": [["a", "b"], None],
            "on": [True, None],
        }
    )
    parquet.write_table(table, path)
    first = {"id": 1, "at": "2024-03-04T08:00:00Z", "day": "2024-03-04T00:00:00Z", "price": 1.25, "x": None}
    assert rows(path) == [
        first | {"tags": ["a", "b"], "on": True},
        dict.fromkeys(first) | {"id": 2, "x": 0.5, "tags": None, "on": None},
    ]


times = st.lists(st.one_of(st.none(), st.integers(0, 50)), min_size=1, max_size=60)


@given(times)
def test_sorting_is_stable_and_keeps_every_message(tmp_path_factory, seconds):
    folder = tmp_path_factory.mktemp("sorted")
    lines = [{"n": n, "at": {"s": None if s is None else 1_700_000_000 + s}} for n, s in enumerate(seconds)]
    path = folder / "a.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    if not any(s is not None for s in seconds):
        with pytest.raises(RiverdError, match=r"no message has a time in 'at\.s'"):
            import_topic([path], folder / "t", sort="at.s")
        return
    [imported] = import_topic([path], folder / "t", sort="at.s")
    written = [json.loads(line) for line in imported.path.read_text(encoding="utf-8").splitlines()]
    assert written == sorted(lines, key=lambda line: -1 if line["at"]["s"] is None else line["at"]["s"])
    assert imported.messages == len(lines)
    assert imported.sorted == (written != lines)


def test_all_files_appear_or_none(write, tmp_path):
    good, bad = write("good.jsonl", "{}\n"), write("bad.csv", "a,a\n")
    with pytest.raises(RiverdError, match="twice"):
        import_topic([good, bad], tmp_path / "topic")
    assert list((tmp_path / "topic").iterdir()) == []
    with pytest.raises(RiverdError, match="holds no messages"):
        import_topic([write("empty.jsonl", "\n")], tmp_path / "topic")


def test_a_partition_that_is_there_is_not_replaced(write, tmp_path):
    path = write("a.csv", "x\n1\n")
    import_topic([path], tmp_path / "topic")
    with pytest.raises(RiverdError, match=r"a\.jsonl exists already, and a partition only grows"):
        import_topic([path], tmp_path / "topic")
    other = tmp_path / "other"
    other.mkdir()
    twin = other / "a.json"
    twin.write_text("[1]", encoding="utf-8")
    with pytest.raises(RiverdError, match="two files would both become"):
        import_topic([path, twin], tmp_path / "second")


def test_what_is_said(write, tmp_path, capsys):
    path = write("a.csv", "x,at\n1,20\n2,10\n")
    assert import_files([path], "topic", to=tmp_path, sort="at", as_json=False) == 0
    assert capsys.readouterr().out == (
        f"Imported {path} as {tmp_path}/topic/a.jsonl: 2 messages, 32 B, put in order of at.\n"
    )
    assert import_files([path], "again", to=tmp_path, sort=None, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["imported"] == [{"path": f"{tmp_path}/again/a.jsonl", "messages": 2, "bytes": 32, "sorted": False}]
    with pytest.raises(RiverdError, match="is not a name"):
        import_files([Path("a")], "../up", to=tmp_path, sort=None, as_json=False)
