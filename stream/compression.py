"""Files of JSON lines, plain or compressed, as streams of plain bytes."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import BinaryIO, cast

from stream.source import SourceError

PLAIN, GZIP, ZSTANDARD = ".jsonl", ".jsonl.gz", ".jsonl.zst"


def stem_of(path: Path) -> str | None:
    """The file's name without its ending, or None if it is no file of JSON lines.

    >>> stem_of(Path("data/clicks/0.jsonl.gz")), stem_of(Path("data/clicks/notes.txt"))
    ('0', None)
    """
    for ending in (PLAIN, GZIP, ZSTANDARD):
        if path.name.endswith(ending) and len(path.name) > len(ending):
            return path.name.removesuffix(ending)
    return None


def is_compressed(path: Path) -> bool:
    return not path.name.endswith(PLAIN)


def open_plain(path: Path) -> BinaryIO:
    """Open for reading what the file says when it is not compressed; seek only forward."""
    if path.name.endswith(GZIP):
        return cast(BinaryIO, gzip.open(path, "rb"))
    if path.name.endswith(ZSTANDARD):
        import zstandard  # 20 ms that only its users pay

        return cast(BinaryIO, zstandard.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True))
    return path.open("rb")


def read_plain(file: BinaryIO, size: int, path: Path) -> bytes:
    """Read up to ``size`` bytes.

    Raises
    ------
    SourceError
        The compressed file is damaged or cut.
    """
    try:
        return file.read(size)
    except (OSError, EOFError, ValueError, RuntimeError) as error:
        raise _damaged(path, error) from None
    except Exception as error:  # zlib.error and ZstdError have no common parent
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> SourceError:
    return SourceError(
        f"{path} can't be decompressed: {error}.\n"
        f"  A compressed file must be whole when it appears: write it under another name and rename it."
    )
