"""Messages out of files: JSON lines and arrays as they are, CSV and Parquet rows as objects with typed values."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from riverd.errors import RiverdError

Convert = Callable[[str], Any]

TRUTHS = {"true": True, "false": False}
NULLS = {"", "nan", "null", "none", "na", "n/a"}
SMALLEST_INT, LARGEST_INT = -(2**63), 2**64
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def messages_of(path: Path) -> Iterator[bytes]:
    """The messages of a file, one JSON value each, without newlines.

    Lines of JSON pass through unread, whatever is in them: judging them is the decoder's part. The kind of
    file is told by its ending (``.csv``, ``.tsv``, ``.parquet``) and, for JSON, by its first character.

    Raises
    ------
    RiverdError
        The file can't be read, or is no such file; the message says where.
    """
    try:
        match path.suffix.lower():
            case ".csv":
                yield from _csv(path, ",")
            case ".tsv":
                yield from _csv(path, "\t")
            case ".parquet" | ".pq":
                yield from _parquet(path)
            case ".gz" | ".zst" | ".xz" | ".bz2" | ".zip":
                raise RiverdError(f"{path} is compressed.\n  Unpack it first, for example:  gzip -dk '{path}'")
            case _:
                yield from _json(path)
    except OSError as error:
        raise RiverdError(
            f"{path} can't be read: {error.strerror}.\n  Check the name, owner and permissions."
        ) from None


def _json(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        first = next((line for line in file if line.removeprefix(BYTE_ORDER_MARK).strip()), b"")
        first = first.removeprefix(BYTE_ORDER_MARK)
        if first.lstrip().startswith(b"["):
            yield from _array(path)
            return
        if first.strip() == b"{":
            raise RiverdError(
                f"{path} begins with an object that is spread over lines.\n"
                f"  Write one message a line, for example:  jq -c . '{path}' > messages.jsonl"
            )
        if first:
            yield first.rstrip(b"\r\n")
        for line in file:
            if line.strip():
                yield line.rstrip(b"\r\n")


def _array(path: Path) -> Iterator[bytes]:
    try:
        values = msgspec.json.decode(path.read_bytes().removeprefix(BYTE_ORDER_MARK), type=list[msgspec.Raw])
    except msgspec.DecodeError as error:
        raise RiverdError(f"{path} begins like a JSON array but is none: {error}.\n  Correct it there.") from None
    for value in values:
        yield msgspec.json.format(bytes(value), indent=-1)


def _csv(path: Path, delimiter: str) -> Iterator[bytes]:
    names = _header(path, delimiter)
    converts = [_conversion(column) for column in _columns(path, delimiter, names)]
    encode = msgspec.json.Encoder().encode
    for row in _rows(path, delimiter, names):
        yield encode({name: convert(text) for name, convert, text in zip(names, converts, row, strict=True)})


def _header(path: Path, delimiter: str) -> list[str]:
    names = [name.strip() for name in next(_lines(path, delimiter), (1, []))[1]]
    twice = next((name for name in names if names.count(name) > 1), None)
    if not names or "" in names or twice is not None:
        wrong = f"names the column {twice!r} twice" if twice else "does not name every column"
        raise RiverdError(f"{path}: the first line {wrong}.\n  Put a header there, one name for each column.")
    return names


def _rows(path: Path, delimiter: str, names: Sequence[str]) -> Iterator[list[str]]:
    for number, row in islice(_lines(path, delimiter), 1, None):
        if not row:
            continue
        if len(row) != len(names):
            raise RiverdError(
                f"{path}, line {number}: {len(row)} fields, but the header names {len(names)}.\n"
                "  Quote fields that hold the separator, or correct the line."
            )
        yield row


def _lines(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each row with the number of its last line."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        try:
            for row in reader:
                yield reader.line_num, row
        except (UnicodeDecodeError, csv.Error) as error:
            raise RiverdError(
                f"{path}, near line {reader.line_num + 1}: {error}.\n  Save it as CSV in UTF-8."
            ) from None


class _Kind:
    """What all values of a column could be, so far."""

    __slots__ = ("number", "seen", "time", "truth", "whole")

    def __init__(self) -> None:
        self.truth = self.whole = self.number = self.time = True
        self.seen = False

    def see(self, text: str) -> None:
        text = text.strip()
        if text.lower() in NULLS:
            return
        self.seen = True
        self.truth = self.truth and text.lower() in TRUTHS
        self.whole = self.whole and _is_whole(text)
        self.number = self.number and _is_number(text)
        self.time = self.time and _is_time(text)


def _columns(path: Path, delimiter: str, names: Sequence[str]) -> list[_Kind]:
    """Look at the whole file: the last line may hold the first text in a column of numbers."""
    kinds = [_Kind() for _ in names]
    for row in _rows(path, delimiter, names):
        for kind, text in zip(kinds, row, strict=True):
            kind.see(text)
    return kinds


def _conversion(kind: _Kind) -> Convert:
    def or_null(convert: Convert) -> Convert:
        return lambda text: None if text.strip().lower() in NULLS else convert(text.strip())

    if not kind.seen:
        return lambda _: None
    if kind.truth:
        return or_null(lambda text: TRUTHS[text.lower()])
    if kind.whole:
        return or_null(int)
    if kind.number:
        return or_null(_finite)
    if kind.time:
        return or_null(lambda text: to_rfc3339(datetime.fromisoformat(text)))
    return lambda text: text or None  # "NA" may be a country


def _is_whole(text: str) -> bool:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or (digits[0] == "0" and len(digits) > 1):
        return False  # 007 is a code, not a number
    return len(digits) < 21 and SMALLEST_INT <= int(text) < LARGEST_INT


def _is_number(text: str) -> bool:
    digits = text.lstrip("+-")
    if "_" in text or (len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()):
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _is_time(text: str) -> bool:
    if len(text) < 10 or text[4] != "-":  # 20130101 is a number
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def to_rfc3339(time: datetime) -> str:
    """A time as messages carry it; without a zone it is UTC.

    >>> to_rfc3339(datetime(2013, 1, 1, 5, 30))
    '2013-01-01T05:30:00Z'
    """
    time = (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    return time.isoformat().replace("+00:00", "Z")


def _parquet(path: Path) -> Iterator[bytes]:
    try:
        from pyarrow import ArrowException  # pyrefly: ignore
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise RiverdError(
            f"{path} is a Parquet file, and pyarrow, which reads those, is not installed.\n"
            "  Install it:  pip install 'riverd[import]'"
        ) from None
    encode = msgspec.json.Encoder(enc_hook=str).encode
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=8192):
                for row in batch.to_pylist():
                    yield encode({name: _plain(value) for name, value in row.items()})
    except ArrowException as error:
        raise RiverdError(f"{path} is not a Parquet file that can be read: {error}.\n  Write it anew.") from None


def _plain(value: Any) -> Any:
    """A value as JSON has it; what is not a number is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return to_rfc3339(value)
    if isinstance(value, date):
        return f"{value.isoformat()}T00:00:00Z"
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
