"""Topics as folders of JSON lines: a partition is a file, a position a byte offset."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import xxhash

from stream.source import Batch, Mark, Partition, SourceError

BLOCK_BYTES = 1 << 16  # larger ones are slower: their memory is mapped anew each time
FINGERPRINT_BYTES = 1024
POLL_BYTES = 1 << 25  # a poll of many large messages stops early
KEPT_BYTES = 1 << 16  # of a message that is too long
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class FileSource:
    """The files ``<folder>/<topic>/*.jsonl``, read from their beginnings or from given marks.

    Without ``bounded`` it tails: what is appended and files that are added come in later polls. A last line
    without its newline is still being written, so it waits.

    Parameters
    ----------
    folder
        Where the topics are.
    topics
        Names of the topics' folders.
    bounded
        The sizes of now are the ends.
    max_message_bytes
        A longer line is passed over without being held in memory, and is handed on as broken.

    Raises
    ------
    SourceError
        A topic has no folder.
    """

    def __init__(self, folder: Path, topics: Sequence[str], *, bounded: bool, max_message_bytes: int = 1 << 20) -> None:
        self._folder = folder
        self._topics = tuple(topics)
        self._bounded = bounded
        self._max_message_bytes = max_message_bytes
        self._tails: dict[Partition, _Tail] = {}
        for topic in topics:
            if not (folder / topic).is_dir():
                raise SourceError(
                    f"{folder / topic} is not a folder, so topic {topic!r} has no messages.\n"
                    f"  A topic is a folder of *.jsonl files; make it, or correct [source] path and topic."
                )
        self.partitions()

    def partitions(self) -> list[Partition]:
        if self._bounded and self._tails:
            return sorted(self._tails)  # a file that comes later belongs to the next run
        for topic in self._topics:
            for path in sorted((self._folder / topic).glob("*.jsonl")):
                partition = Partition(topic, path.stem)
                if partition not in self._tails:
                    self._tails[partition] = _Tail(partition, path, self._bounded, self._max_message_bytes)
        return sorted(self._tails)

    def seek(self, marks: Mapping[Partition, Mark]) -> None:
        for partition, mark in marks.items():
            tail = self._tails.get(partition)
            if tail is None:
                raise SourceError(
                    f"{self._folder / partition.topic / partition.name}.jsonl is gone, but riverd has read "
                    f"{mark.position:,} bytes of it and needs it to go on.\n"
                    f"  Put it back, or start a new state under another [model] name."
                )
            tail.seek(mark)

    def poll(self, wanted: Collection[Partition], max_records: int) -> list[Batch]:
        batches = (self._tails[partition].poll(max_records) for partition in sorted(wanted))
        return [batch for batch in batches if batch is not None]

    def at_end(self, partition: Partition) -> bool:
        return self._tails[partition].at_end()

    def fingerprint(self, partition: Partition) -> str:
        return self._tails[partition].fingerprint()

    def progress(self) -> float | None:
        total = sum(tail.end() for tail in self._tails.values())
        return sum(tail.position for tail in self._tails.values()) / total if total else None

    def close(self) -> None:
        for tail in self._tails.values():
            tail.close()


class _Tail:
    """One file that is read forward, line by line."""

    def __init__(self, partition: Partition, path: Path, bounded: bool, max_message_bytes: int) -> None:
        self.partition = partition
        self.position = 0  # of the next line to hand out
        self._path = path
        self._file = path.open("rb")
        self._end = path.stat().st_size if bounded else None
        self._max_message_bytes = max_message_bytes
        self._kept_bytes = min(KEPT_BYTES, max_message_bytes)  # the same whatever blocks it is read in
        self._forget_read_ahead()

    def _forget_read_ahead(self) -> None:
        self._lines: list[bytes] = []  # complete lines that were read
        self._next = 0  # of them, the next to hand out
        self._rest = b""  # the beginning of a line whose end has not been read
        self._skipped = 0  # bytes of a line that is too long, read but not kept
        self._overlong: tuple[bytes, int] | None = None  # such a line, when it is next: its head and length

    def end(self) -> int:
        return self._size() if self._end is None else self._end

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            raise SourceError(
                f"{self._path} is gone, but riverd is reading it and has come to byte {self.position:,}.\n"
                f"  Put it back: a partition only grows."
            ) from None

    def seek(self, mark: Mark) -> None:
        size = self._size()
        if mark.position > size:
            raise SourceError(
                f"{self._path} has {size:,} bytes, but riverd has read {mark.position:,}: it was cut or replaced.\n"
                f"  Put the old file back, or give new data a new file name: a partition only grows."
            )
        length = int(mark.fingerprint.partition(":")[0] or 0)
        if mark.fingerprint and self._fingerprint(length) != mark.fingerprint:
            raise SourceError(
                f"{self._path} begins with other bytes than when riverd read it: it was replaced.\n"
                f"  Put the old file back, or give new data a new file name: a partition only grows."
            )
        self.position = mark.position
        self._forget_read_ahead()
        self._file.seek(mark.position)

    def fingerprint(self) -> str:
        return self._fingerprint(min(FINGERPRINT_BYTES, self.position))

    def _fingerprint(self, length: int) -> str:
        with self._path.open("rb") as file:
            return f"{length}:{xxhash.xxh3_64_hexdigest(file.read(length))}"

    def at_end(self) -> bool:
        return not self._read_ahead()

    def poll(self, max_records: int) -> Batch | None:
        messages: list[bytes] = []
        broken: dict[int, str] = {}
        begin = self._file.tell()
        while len(messages) < max_records and self._read_ahead():
            if self._overlong is not None or (messages and self._file.tell() - begin > POLL_BYTES):
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
        batch = Batch(self.partition, ends - lengths - 1, int(ends[-1]), messages, broken)
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
            block = self._file.read(self._block_bytes())
            if not block:
                self._refuse_shrunk()
                return False
            if self._skipped:
                self._skip(block)
            else:
                self._split(block)
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
            unread = sum(len(line) + 1 for line in lines[place:]) + len(self._rest)
            self._file.seek(-unread, 1)
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
            self._file.seek(-len(rest), 1)

    def _block_bytes(self) -> int:
        if self._end is None:
            return BLOCK_BYTES
        return max(0, min(BLOCK_BYTES, self._end - self._file.tell()))

    def _refuse_shrunk(self) -> None:
        size = self._size()
        if size < self.position:
            raise SourceError(
                f"{self._path} was cut below byte {self.position:,}, which riverd has read already.\n"
                f"  Put the old file back, or give new data a new file name: a partition only grows."
            )
        if size < self._file.tell():  # a half-written line was taken back, to be written anew
            self._forget_read_ahead()
            self._file.seek(self.position)

    def close(self) -> None:
        self._file.close()
