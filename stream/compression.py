"""Files of JSON lines, plain or compressed, as streams of plain bytes."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from stream.source import SourceError

if TYPE_CHECKING:
    from zstandard import ZstdDecompressionObj

PLAIN, GZIP, ZSTANDARD = ".jsonl", ".jsonl.gz", ".jsonl.zst"
BLOCK_BYTES = 1024  # of a Zstandard file at once: they can hold 32 MB of plain text, hardly more


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
    match path.suffix.lower():
        case ".gz":
            return cast(BinaryIO, gzip.open(path, "rb"))
        case ".zst":
            return io.BufferedReader(_Frames(path.open("rb")))
        case _:
            return path.open("rb")


def open_lines(path: Path) -> io.BufferedReader:
    """Open as ``open_plain`` does; whatever is read of it, lines too, a damaged file raises ``SourceError``."""
    return io.BufferedReader(_Checked(path), 1 << 16)


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


class _Checked(io.RawIOBase):
    """A file that is read by ``read_plain``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open_plain(path)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = read_plain(self._file, len(buffer), self._path)
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Frames(io.RawIOBase):
    """The plain text of Zstandard frames; the package's own reader takes a cut frame for the end of the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._frame: ZstdDecompressionObj | None = None  # that has begun and not ended
        self._packed = b""  # bytes that were read, of the next frame
        self._plain = io.BytesIO()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not (size := self._plain.readinto(buffer)) and (block := self._packed or self._file.read(BLOCK_BYTES)):
            self._unpack(block)
        if not size and self._frame is not None:
            raise EOFError("the file ended before its last frame did")
        return size

    def _unpack(self, block: bytes) -> None:
        from zstandard import ZstdDecompressor  # 20 ms that only its users pay

        frame = self._frame or ZstdDecompressor().decompressobj()
        self._plain, self._packed = io.BytesIO(frame.decompress(block)), frame.unused_data
        self._frame = None if frame.eof else frame

    def close(self) -> None:
        self._file.close()
        super().close()


def _damaged(path: Path, error: Exception) -> SourceError:
    return SourceError(
        f"{path} can't be decompressed: {error}.\n"
        f"  A compressed file must be whole when it appears: write it under another name and rename it."
    )
