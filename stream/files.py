"""Topics as folders of JSON lines: a partition is a file, a position a byte of its plain text."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from math import inf
from pathlib import Path

import xxhash

from stream.compression import is_compressed, stem_of
from stream.source import Batch, Mark, Partition, SourceError
from stream.tail import GONE, Tail


class FileSource:
    """The files ``<folder>/<topic>/*.jsonl``, plain, ``.gz`` or ``.zst``, from their beginnings or given marks.

    Without ``bounded`` it tails: what is appended and files that are added come in later polls. A partition is
    known by its name and its first kilobyte: a file that was rotated, compressed or both is not read twice, and
    a new file under the old name is a partition of its own, ``name@`` and a digest of its beginning.

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
        self._tails: dict[Partition, Tail] = {}
        self._gone: dict[Partition, Mark] = {}  # read whole, and no more
        self._known: set[tuple[int, ...]] = set()  # files that need no second look
        self._discovered = False
        for topic in topics:
            if not (folder / topic).is_dir():
                raise SourceError(
                    f"{folder / topic} is not a folder, so topic {topic!r} has no messages.\n"
                    f"  A topic is a folder of *.jsonl files; make it, or correct [source] path and topic."
                )
        self.partitions()

    def partitions(self) -> list[Partition]:
        if not (self._bounded and self._discovered):  # a file that comes later belongs to the next run
            for topic in self._topics:
                for path in self._new_files(topic):
                    self._take(topic, path)
            self._discovered = True
        return sorted([*self._tails, *self._gone])

    def _new_files(self, topic: str) -> Iterator[Path]:
        # plain files first: of a file and its compressed copy the plain one is read
        paths = [path for path in (self._folder / topic).iterdir() if stem_of(path) is not None]
        for path in sorted(paths, key=lambda path: (is_compressed(path), path.name)):
            try:
                if _identity(path) not in self._known:
                    yield path
            except FileNotFoundError:  # renamed just now
                continue

    def _take(self, topic: str, path: Path) -> None:
        """Make a file a partition, unless it is one that is known already."""
        stem = stem_of(path)
        assert stem is not None
        tail = Tail(Partition(topic, stem), path, bounded=self._bounded, max_message_bytes=self._max_message_bytes)
        copied = self._copied(topic, tail)
        if copied is not None:
            tail.close()
            if copied.vanished():
                copied.move(path)
        elif tail.partition not in self._tails and tail.partition not in self._gone:
            self._tails[tail.partition] = tail
        elif tail.head:
            tail.partition = Partition(topic, f"{stem}@{xxhash.xxh3_64_hexdigest(tail.head)[:8]}")
            self._tails[tail.partition] = tail
        else:  # a new file under an old name, still empty: what it will be shows when it has a beginning
            tail.close()
            return
        self._known.add(_identity(path))

    def _copied(self, topic: str, new: Tail) -> Tail | None:
        """The partition of which a new file is the rotated or compressed copy."""
        for partition, tail in self._tails.items():
            length = min(len(tail.head), len(new.head))
            same = length and tail.head[:length] == new.head[:length]
            if partition.topic == topic and same and (is_compressed(new.path) or tail.vanished()):
                return tail
        return None

    def seek(self, marks: Mapping[Partition, Mark]) -> dict[Partition, int]:
        found = {partition: self._find(partition, mark) for partition, mark in marks.items()}
        for partition, tail in found.items():
            if tail is not None:
                tail.seek(marks[partition])
        others = [tail for tail in self._tails.values() if tail not in found.values()]
        self._tails = {}
        for partition, tail in found.items():
            if tail is None:
                self._gone[partition] = marks[partition]
            else:
                tail.partition = partition
                self._tails[partition] = tail
        for tail in others:  # under a name of their own, where theirs is that of a rotated file
            if tail.partition in self._tails or tail.partition in self._gone:
                digest = xxhash.xxh3_64_hexdigest(tail.head)[:8]
                tail.partition = Partition(tail.partition.topic, f"{tail.partition.name}@{digest}")
            self._tails[tail.partition] = tail
        return {partition: mark.position for partition, mark in marks.items()}

    def _find(self, partition: Partition, mark: Mark) -> Tail | None:
        """The file that a mark was made of, whatever it is called by now."""
        named = self._tails.get(partition)
        if named is not None and (not mark.fingerprint or named.begins_like(mark)):
            return named
        if mark.position:
            for tail in self._tails.values():
                if tail.partition.topic == partition.topic and tail.begins_like(mark):
                    return tail
        if named is not None:
            return named  # `seek` says what is wrong with it
        if mark.fingerprint.endswith(f":{GONE}"):
            return None
        raise SourceError(
            f"{self._folder / partition.topic / partition.name}.jsonl is gone, but riverd has read "
            f"{mark.position:,} bytes of it and needs it to go on.\n"
            f"  Put it back, or start a new state under another [model] name."
        )

    def poll(self, wanted: Collection[Partition], max_records: int) -> list[Batch]:
        batches = (self._tails[partition].poll(max_records) for partition in sorted(wanted) if partition in self._tails)
        return [batch for batch in batches if batch is not None]

    def at_end(self, partition: Partition) -> bool:
        return partition in self._gone or self._tails[partition].at_end()

    def looked_s(self) -> float:
        return inf

    def look_soon(self) -> None:
        pass

    def fingerprint(self, partition: Partition) -> str:
        gone = self._gone.get(partition)
        return gone.fingerprint if gone is not None else self._tails[partition].fingerprint()

    def commit(self, positions: Mapping[Partition, int]) -> None:
        pass

    def progress(self) -> float | None:
        total = sum(tail.end() for tail in self._tails.values())
        return sum(tail.position for tail in self._tails.values()) / total if total else None

    def close(self) -> None:
        for tail in self._tails.values():
            tail.close()


def _identity(path: Path) -> tuple[int, ...]:
    stat = path.stat()
    # a plain file stays open, so nobody else gets its inode; a compressed copy may not
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns if is_compressed(path) else 0
