"""Messages out of files: JSON lines and arrays as they are, CSV and Parquet rows as objects; also compressed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from riverd.errors import RiverdError
from riverd.screen.notation import volume
from riverd.start.csv_rows import csv_messages, to_rfc3339
from stream.compression import open_lines

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
LONGEST = 1 << 28  # bytes of a line: [source] max_message_bytes can't be more


def messages_of(path: Path) -> Iterator[bytes]:
    """The messages of a file, one JSON value each, without newlines.

    Lines of JSON pass through unread, whatever is in them: judging them is the decoder's part. The kind of
    file is told by its ending (``.csv``, ``.tsv``, ``.parquet``) and, for JSON, by its first character; after
    it may stand ``.gz`` or ``.zst``.

    Raises
    ------
    RiverdError
        The file can't be read, or is no such file; the message says where.
    SourceError
        The compressed file is damaged or cut.
    """
    compressed, kind = _endings(path)
    try:
        match kind:
            case ".csv":
                yield from csv_messages(path, ",")
            case ".tsv":
                yield from csv_messages(path, "\t")
            case ".parquet" | ".pq" if compressed:
                raise RiverdError(f"{path}: Parquet is read from plain files only.\n  Unpack it first.")
            case ".parquet" | ".pq":
                yield from _parquet(path)
            case ".xz" | ".bz2" | ".zip":
                raise RiverdError(f"{path} is compressed in a way that is not read.\n  Unpack it, or use gzip or zstd.")
            case _:
                yield from _json(path)
    except OSError as error:
        raise RiverdError(
            f"{path} can't be read: {error.strerror}.\n  Check the name, owner and permissions."
        ) from None


def stem(path: Path) -> str:
    """The file's name without its endings.

    >>> stem(Path("jan/visits.csv.gz")), stem(Path("visits.2024.jsonl"))
    ('visits', 'visits.2024')
    """
    return Path(path.stem).stem if _endings(path)[0] else path.stem


def _endings(path: Path) -> tuple[bool, str]:
    """Whether it is compressed, and the ending that tells its kind."""
    compressed = path.suffix.lower() in (".gz", ".zst")
    return compressed, (Path(path.stem) if compressed else path).suffix.lower()


def _json(path: Path) -> Iterator[bytes]:
    with open_lines(path) as file:
        lines = _lines(path, file)
        first = next((line for line in lines if line.removeprefix(BYTE_ORDER_MARK).strip()), b"")
        first = first.removeprefix(BYTE_ORDER_MARK)
        if first.startswith(UTF16_MARKS):
            raise RiverdError(f"{path} is text in UTF-16.\n  Save it in UTF-8.")
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
        for line in lines:
            if line.strip():
                yield line.rstrip(b"\r\n")


def _lines(path: Path, file: BinaryIO) -> Iterator[bytes]:
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            raise RiverdError(
                f"{path}, line {number:,} is longer than {volume(LONGEST)}.\n  Write one message a line; see whether "
                "newlines are missing."
            )
        yield line


def _array(path: Path) -> Iterator[bytes]:
    try:
        with open_lines(path) as file:
            text = file.read().removeprefix(BYTE_ORDER_MARK)
        values = msgspec.json.decode(text, type=list[msgspec.Raw])
    except msgspec.DecodeError as error:
        raise RiverdError(f"{path} begins like a JSON array but is none: {error}.\n  Correct it there.") from None
    for value in values:
        yield msgspec.json.format(bytes(value), indent=-1)


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
