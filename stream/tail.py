"""One file of lines that is read forward, and outlives being renamed, compressed or deleted."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec
import numpy as np
import xxhash

from stream.compression import is_compressed, open_plain, read_plain
from stream.source import Batch, Mark, Partition, SourceError

log = logging.getLogger("riverd")

BLOCK_BYTES = 1 << 16  # larger ones are slower: their memory is mapped anew each time
FINGERPRINT_BYTES = 1024
POLL_BYTES = 1 << 25  # a poll of many large messages stops early
KEPT_BYTES = 1 << 16  # of a message that is too long
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
GONE = "gone"  # ends the fingerprint of a file that was read whole and is no more


class Tail:
    """Hands out the lines of a file; positions are bytes of its plain text.

    A last line without its newline may still be written to, so it waits. Where the end is fixed, one that is a whole
    JSON object is handed out all the same, since no beginning of an object is one. A compressed file is closed: it
    is read to its end. A plain file that was deleted or renamed is read to its end as well, through the open handle.
    """

    def __init__(self, partition: Partition, path: Path, *, bounded: bool, max_message_bytes: int) -> None:
        self.partition = partition
        self.path = path
        self.position = 0  # of the next line to hand out
        self._bounded = bounded
        self._max_message_bytes = max_message_bytes
        self._kept_bytes = min(KEPT_BYTES, max_message_bytes)  # the same whatever blocks it is read in
        self._open(path)

    def _open(self, path: Path) -> None:
        self.path = path
        try:
            self._stat = path.stat()
            self._file = open_plain(path)
        except OSError as error:
            raise SourceError(
                f"{path} can't be opened: {error.strerror}.\n"
                f"  Each partition is a file that stays open: see its permissions, and `ulimit -n`."
            ) from None
        self._compressed = is_compressed(path)
        self._end = self._stat.st_size if self._bounded and not self._compressed else None
        self._head = self._read_head()
        self._read = 0  # bytes that have left the file
        self._forget_read_ahead()

    def _forget_read_ahead(self) -> None:
        self._lines: list[bytes] = []  # complete lines that were read
        self._next = 0  # of them, the next to hand out
        self._unread = b""  # bytes to be read again
        self._rest = b""  # the beginning of a line whose end has not been read
        self._skipped = 0  # bytes of a line that is too long, read but not kept
        self._overlong: tuple[bytes, int] | None = None  # such a line, when it is next: its head and length
        self._finished = False  # it has been read to its end, and that will not move
        self._open_ended = False  # the last line that was read has no newline
        self._in_line = False  # the line before was handed out when its newline had not come

    def _read_head(self) -> bytes:
        with open_plain(self.path) as file:
            return read_plain(file, FINGERPRINT_BYTES, self.path)

    @property
    def head(self) -> bytes:
        """The first kilobyte, or as much as there is by now."""
        if len(self._head) < FINGERPRINT_BYTES and not self._compressed:
            self._head = os.pread(self._file.fileno(), FINGERPRINT_BYTES, 0)
        return self._head

    def end(self) -> int:
        """Bytes up to which it will be read, as far as is known."""
        if self._compressed:
            return self.position if self._finished else max(self.position, self.path.stat().st_size)
        return self._size() if self._end is None else self._end

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def vanished(self) -> bool:
        """Its name is gone, or stands for another file by now."""
        try:
            return not os.path.samestat(self.path.stat(), self._stat)  # open, so nobody else gets its inode
        except FileNotFoundError:
            return True

    def begins_like(self, mark: Mark) -> bool:
        """Whether this is the file that the mark was made of."""
        length, _, digest = mark.fingerprint.removesuffix(f":{GONE}").partition(":")
        return bool(digest) and xxhash.xxh3_64_hexdigest(self.head[: int(length)]) == digest

    def seek(self, mark: Mark) -> None:
        if mark.fingerprint and not self.begins_like(mark):
            raise SourceError(
                f"{self.path} begins with other bytes than when riverd read it: it was replaced.\n"
                f"  Put the old file back, or give new data a new file name: a partition only grows."
            )
        if not self._compressed and mark.position > self._size():
            raise SourceError(
                f"{self.path} has {self._size():,} bytes, but riverd has read {mark.position:,}: it was cut or "
                f"replaced.\n  Put the old file back, or give new data a new file name: a partition only grows."
            )
        self.position = mark.position
        self._go_to(mark.position)

    def move(self, path: Path) -> None:
        """Go on at the same position in another file with the same text: it was rotated and compressed."""
        self._file.close()
        self._open(path)
        self._go_to(self.position)

    def _go_to(self, position: int) -> None:
        self._forget_read_ahead()
        before = b"\n"  # the byte before
        if self._compressed:
            left = position - self._read
            while left > 0 and (block := read_plain(self._file, min(left, BLOCK_BYTES), self.path)):
                left -= len(block)
                before = block[-1:]
            if left > 0:
                raise SourceError(
                    f"{self.path} has fewer than the {position:,} bytes that riverd has read of it: it was cut.\n"
                    f"  Put the whole file back: a partition only grows."
                )
        elif position:
            self._file.seek(position - 1)
            before = self._file.read(1)
        else:
            self._file.seek(0)
        self._in_line = before != b"\n"
        self._read = position

    def fingerprint(self) -> str:
        length = min(FINGERPRINT_BYTES, self.position)
        text = f"{length}:{xxhash.xxh3_64_hexdigest(self.head[:length])}"
        return f"{text}:{GONE}" if self.vanished() and self.at_end() else text

    def at_end(self) -> bool:
        return not self._read_ahead()

    def poll(self, max_records: int) -> Batch | None:
        messages: list[bytes] = []
        broken: dict[int, str] = {}
        begin = self._read
        while len(messages) < max_records and self._read_ahead():
            if self._overlong is not None or (messages and self._read - begin > POLL_BYTES):
                break
            taken = self._lines[self._next : self._next + max_records - len(messages)]
            self._next += len(taken)
            messages += taken
        lengths = np.fromiter(map(len, messages), np.int64, len(messages))
        if self._overlong is not None and not messages:
            head, length = self._overlong
            messages, lengths = [head], np.array([length])
            broken[0] = f"the message has {length:,} bytes, more than max_message_bytes = {self._max_message_bytes:,}"
            self._overlong = None
        if not messages:
            return None
        ends = self.position + np.cumsum(lengths + 1)
        at_last = self._open_ended and self._next == len(self._lines) and self._overlong is None
        next_position = int(ends[-1]) - at_last
        batch = Batch(self.partition, ends - lengths - 1, next_position, messages, broken)
        if self.position == 0 and messages[0].startswith(BYTE_ORDER_MARK):
            messages[0] = messages[0][len(BYTE_ORDER_MARK) :]
        self.position = batch.next_position
        return batch

    def _read_ahead(self) -> bool:
        """See that a line is there to hand out; False if the file has no whole one yet."""
        if self._next < len(self._lines) or self._overlong is not None:
            return True
        self._lines, self._next = self._lines[:0], 0
        while not self._lines and self._overlong is None:
            block = self._block()
            if not block:
                return self._last_line()
            if self._skipped:
                self._skip(block)
            else:
                self._split(block)
        return True

    def _block(self) -> bytes:
        if self._unread:
            block, self._unread = self._unread, b""
            return block
        size = BLOCK_BYTES if self._end is None else max(0, min(BLOCK_BYTES, self._end - self._read))
        block = read_plain(self._file, size, self.path) if self._compressed else self._file.read(size)
        self._read += len(block)
        if self._in_line and block:
            self._in_line = False
            if block.startswith(b"\n"):  # it belongs to what was handed out
                self.position += 1
                return block[1:] or self._block()
        return block

    def _last_line(self) -> bool:
        """At the end of what is there: whether a line is handed out that has no newline."""
        if not self._compressed:
            self._refuse_shrunk()
        if self._finished or not (self._compressed or self._bounded):
            return False
        self._finished = True
        size = self._skipped or len(self._rest)
        if not size:
            return False
        if not self._compressed and (size > self._max_message_bytes or not _is_object(self._rest)):
            if self._rest.strip():
                log.warning(
                    "%s ends in %d bytes without a newline that are no whole message; they are left for the next run",
                    self.path, size,
                )  # fmt: skip
            return False
        self._open_ended = True
        self._skip(b"\n") if self._skipped else self._split(b"\n")
        return True

    def _split(self, block: bytes) -> None:
        text = self._rest + block
        lines = text.split(b"\n")
        self._rest = lines.pop()
        limit = self._max_message_bytes
        if len(text) > limit and max(map(len, lines), default=0) > limit:
            place = next(i for i, line in enumerate(lines) if len(line) > limit)
            self._lines = lines[:place]
            if not place:
                self._overlong = (lines[0][: self._kept_bytes], len(lines[0]))
                lines = lines[1:]
            # a long line is handed out alone, so what follows it is read again
            self._unread = b"\n".join([*lines[place:], self._rest])
            self._rest = b""
            return
        self._lines = lines
        if not lines and len(self._rest) > limit:
            self._skipped = len(self._rest)
            self._rest = self._rest[: self._kept_bytes]

    def _skip(self, block: bytes) -> None:
        tail, newline, rest = block.partition(b"\n")
        self._skipped += len(tail)
        if newline:
            self._overlong = (self._rest, self._skipped)
            self._skipped, self._rest = 0, b""
            self._unread = rest

    def _refuse_shrunk(self) -> None:
        size = self._size()
        if size < self.position:
            raise SourceError(
                f"{self.path} was cut below byte {self.position:,}, which riverd has read already.\n"
                f"  Put the old file back, or give new data a new file name: a partition only grows."
            )
        if size < self._read:  # a half-written line was taken back, to be written anew
            self._forget_read_ahead()
            self._file.seek(self.position)
            self._read = self.position

    def close(self) -> None:
        self._file.close()


def _is_object(text: bytes) -> bool:
    """Whether it is a JSON object from its beginning to its end."""
    try:
        msgspec.json.decode(text.removeprefix(BYTE_ORDER_MARK), type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
