"""The rows of CSV as JSON objects, in which a column has the type that all its values fit."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from riverd.errors import RiverdError
from stream.compression import open_lines

Convert = Callable[[str], Any]

TRUTHS = {"true": True, "false": False}
NULLS = {"", "nan", "null", "none", "na", "n/a"}
SMALLEST_INT, LARGEST_INT = -(2**63), 2**64


def csv_messages(path: Path, delimiter: str) -> Iterator[bytes]:
    """Each row as a message; the file is read twice, once for the types.

    Raises
    ------
    RiverdError
        It is no such table; the message names the line.
    """
    names = _header(path, delimiter)
    converts = [_conversion(column) for column in _columns(path, delimiter, names)]
    encode = msgspec.json.Encoder().encode
    for row in _rows(path, delimiter, names):
        yield encode({name: convert(text) for name, convert, text in zip(names, converts, row, strict=True)})


def _header(path: Path, delimiter: str) -> list[str]:
    header = next(_lines(path, delimiter), None)
    if header is None:
        raise RiverdError(f"{path} is empty.\n  Check that it is the right file.")
    names = [name.strip() for name in header[1]]
    other = next((mark for mark in ";\t|," if len(names) == 1 and mark in names[0]), None)
    if other:
        raise RiverdError(
            f"{path}: the first line separates fields by {other!r}, not by {delimiter!r}.\n"
            "  Save it with commas, or with tabs as .tsv."
        )
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
    with io.TextIOWrapper(open_lines(path), encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        last = 0
        try:
            for row in reader:
                last = reader.line_num
                yield last, row
        except UnicodeDecodeError as error:
            raise RiverdError(
                f"{path}, near line {reader.line_num + 1}: {error}.\n  Save it as CSV in UTF-8."
            ) from None
        except csv.Error as error:
            raise RiverdError(
                f"{path}, the row after line {last:,}: {error}.\n  See whether a quote is missing there."
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
