"""Reads the messages of a Kafka batch in one compiled pass, where kafka-python makes several objects of each.

Kafka-python keeps the books as before: checksums, transactions, positions, what to fetch next. For a batch it is
given a single record, whose value is the ``Run`` of all messages. A batch that is not plainly sound it reads by
itself, message by message, and raises what it raises.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain, groupby
from operator import itemgetter
from types import SimpleNamespace
from typing import Any

import kafka
import numpy as np
from kafka import KafkaConsumer, TopicPartition
from numba import njit
from numpy.typing import NDArray

from stream.kafka_client import NO_TIME

try:
    from kafka.consumer.fetcher import CompletedFetch, Fetcher
    from kafka.consumer.subscription_state import SubscriptionState
    from kafka.record import MemoryRecordsBuilder
    from kafka.record.default_records import DefaultRecord

    _TheirPartitionRecords: Any = Fetcher.PartitionRecords
except (ImportError, AttributeError):  # none of this is promised
    _TheirPartitionRecords = object

log = logging.getLogger("riverd")

FEW = 4  # with fewer messages in a batch the pass does not pay
SHORTEST = 7  # bytes of a record
FURTHEST_MS = 1 << 62  # no sum of two times below it overflows
_ROW = itemgetter(3, 4, 7)  # offset, timestamp and value of a ConsumerRecord


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive messages of one partition, n of them."""

    offsets: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    values: list[bytes]  # b"" is a tombstone

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, part: slice) -> Run:
        return Run(self.offsets[part], self.times_ms[part], self.values[part])


def read_in_runs(consumer: KafkaConsumer) -> None:
    """Have what this consumer fetches read in runs, if that works: what it polls is for ``run_of`` alone then."""
    if works() and isinstance(getattr(consumer, "_fetcher", None), Fetcher):
        consumer._fetcher.PartitionRecords = PartitionRecords


@cache
def works() -> bool:
    """Whether this release of kafka-python does with a run what it should: here, return it in two parts."""
    try:
        batch = MemoryRecordsBuilder(2, 0, 1 << 10)
        for _ in range(FEW + 2):
            batch.append(0, None, b"")
        batch.close()
        partition, subscriptions = TopicPartition("", 0), SubscriptionState("none")
        subscriptions.assign_from_user([partition])
        subscriptions.seek(partition, 1)
        fetcher = Fetcher(SimpleNamespace(_manager=SimpleNamespace(_net=None)), subscriptions)
        fetcher.PartitionRecords = PartitionRecords
        answer = {"error_code": 0, "high_watermark": -1, "preferred_read_replica": -1, "records": batch.buffer()}
        data = SimpleNamespace(**answer, aborted_transactions=None, diverging_epoch=None)
        fetcher._completed_fetches.append(CompletedFetch(partition, 1, 12, data, None))
        polled = [fetcher.fetched_records(at_most)[0][partition] for at_most in (2, FEW)]
        found = [run_of(records).offsets.tolist() for records in polled] == [[1, 2], [*range(3, FEW + 2)]]
        found &= all(isinstance(record.value, Run) for records in polled for record in records)
    except Exception:  # there is no telling what another release makes of it
        found = False
    if not found:
        log.info("kafka-python %s is not as riverd knows it: messages are read one by one", kafka.__version__)
    return found


def run_of(records: Iterable[Any]) -> Run:
    """What was polled of a partition, be it runs or single messages."""
    runs: list[Run] = []
    for in_runs, group in groupby(records, lambda record: isinstance(record.value, Run)):
        alike = list(group)
        runs += [record.value for record in alike] if in_runs else [_run_of_singles(alike)]
    if len(runs) == 1:
        return runs[0]
    return Run(
        np.concatenate([run.offsets for run in runs]),
        np.concatenate([run.times_ms for run in runs]),
        list(chain.from_iterable(run.values for run in runs)),
    )


def _run_of_singles(records: list[Any]) -> Run:
    offsets, times, values = zip(*map(_ROW, records), strict=True)
    return Run(
        np.array(offsets, np.int64),
        # None before Kafka 0.10; and deltas can lead beyond what an int64 holds
        np.array([NO_TIME if time is None or time.bit_length() > 63 else time for time in times], np.int64),
        [value or b"" for value in values],
    )


class PartitionRecords(_TheirPartitionRecords):
    """What was fetched of one partition: kafka-python's own, but with runs among its records.

    Its ``records_read`` counts a run as one; only metrics read that.
    """

    _rest: Any = None  # of a run that was too long for the last ``take``

    def _unpack_records(self, tp: TopicPartition, records: Any, *deserializers: Any) -> Iterator[Any]:
        return super()._unpack_records(tp, _Batches(records, self.fetch_offset), *deserializers)

    def take(self, n: int | None = None) -> _Taken:
        """At most ``n`` messages; what is raised behind them comes with the next call."""
        self._maybe_raise_next_inline_exception()
        taken, at_most = _Taken(), sys.maxsize if n is None else n
        records = self.record_iterator
        try:
            while len(taken) < at_most:
                record = next(records, None) if self._rest is None else self._rest
                if record is None:
                    break
                self._rest = None
                if isinstance(record.value, Run):
                    self._take_run(record, taken, at_most - len(taken))
                else:
                    taken.add(record, 1)
        except Exception as error:
            if not taken.records:
                raise
            self._next_inline_exception = error
        return taken

    def _take_run(self, record: Any, taken: _Taken, room: int) -> None:
        run = record.value
        if len(run) > room:
            self._rest = record._replace(value=run[room:])
            run = run[:room]
            record = record._replace(value=run, offset=int(run.offsets[-1]), timestamp=int(run.times_ms[-1]))
        self.next_fetch_offset = int(run.offsets[-1]) + 1
        taken.add(record, len(run))


class _Taken:
    """Records that count for as many as there are messages in them."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self._messages = 0

    def add(self, record: Any, messages: int) -> None:
        self.records.append(record)
        self._messages += messages

    def __len__(self) -> int:
        return self._messages

    def __iter__(self) -> Iterator[Any]:
        return iter(self.records)


class _Batches:
    """Kafka-python's batches, of which those of many messages come in runs."""

    def __init__(self, records: Any, begin: int) -> None:
        self._records = records
        self._begin = begin

    def next_batch(self) -> Any:
        batch = self._records.next_batch()
        if batch is None or batch.magic != 2 or batch.is_control_batch or batch.records_count < FEW:
            return batch
        return _Batch(batch, self._begin)


class _Batch:
    """A batch with a run for its records, or with two: before ``begin`` kafka-python drops them."""

    def __init__(self, batch: Any, begin: int) -> None:
        self._batch = batch
        self._begin = begin

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        singles = iter(self._batch)  # decompresses it
        found = _read(self._batch)
        if found is None:
            yield from singles
            return
        run, size = found
        cut = int(np.searchsorted(run.offsets, self._begin)) if run.offsets[0] < self._begin else 0
        for part in (run[:cut], run[cut:]) if 0 < cut < len(run) else (run,):
            last, last_ms = int(part.offsets[-1]), int(part.times_ms[-1])
            yield DefaultRecord(size, last, last_ms, self._batch.timestamp_type, None, part, [])
            size = 0


def _read(batch: Any) -> tuple[Run, int] | None:
    """All messages of a batch that was decompressed, and their bytes; None if it is not plainly sound."""
    count = batch.records_count
    if count > len(batch._buffer) // SHORTEST:
        return None
    offsets, times_ms = np.empty((2, count), np.int64)
    starts, ends = np.empty((2, count), np.int64)
    data = np.frombuffer(batch._buffer, np.uint8)
    size = scan(data, batch._pos, batch.base_offset, batch.first_timestamp, offsets, times_ms, starts, ends)
    if size < 0:
        return None
    if batch.timestamp_type == batch.LOG_APPEND_TIME:
        times_ms[:] = batch.max_timestamp
    text = bytes(batch._buffer)
    values = [text[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    return Run(offsets, times_ms, values), size


@njit(cache=True)
def scan(
    data: NDArray[np.uint8],
    at: int,
    base: int,
    first_ms: int,
    offsets: NDArray[np.int64],
    times_ms: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> int:
    """Find the n records of a batch in ``data`` from ``at`` to its end, and where the value of each begins and ends.

    Returns how many bytes they have. If anything is odd that is -1, and what was found is worth nothing.
    The format: https://kafka.apache.org/documentation/#record.
    """
    if not -FURTHEST_MS < first_ms < FURTHEST_MS:
        return -1
    total = 0
    before = base - 1
    for i in range(len(offsets)):
        size, at = _number(data, at, len(data))
        end = at + size
        if end > len(data):
            return -1
        total += size
        _, at = _number(data, at, end)  # attributes, of which there are none
        delta_ms, at = _number(data, at, end)
        delta, at = _number(data, at, end)
        size, at = _number(data, at, end)
        at += max(size, 0)  # the key; the size of null is negative
        size, at = _number(data, at, end)
        starts[i] = at
        at += max(size, 0)
        ends[i] = at
        at = _behind_headers(data, at, end)
        offset = base + delta
        if at != end or offset <= before:
            return -1
        offsets[i] = before = offset
        times_ms[i] = first_ms + delta_ms
    return total if at == len(data) else -1


@njit(cache=True)
def _number(data: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """A varint of at most 63 bits and where it ends. That is behind ``end`` if it does not end there or before."""
    number = 0
    for shift in range(0, 63, 7):
        if at >= end:
            break
        byte = int(np.int64(data[at]))
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
    return 0, end + 1


@njit(cache=True)
def _behind_headers(data: NDArray[np.uint8], at: int, end: int) -> int:
    """Where the headers end. That is behind ``end`` if they are not plainly sound."""
    headers, at = _number(data, at, end)
    if headers < 0:
        return end + 1
    for _ in range(headers):
        size, name = _number(data, at, end)
        at = name + max(size, 0)
        if size < 0 or at > end:
            return end + 1
        for i in range(name, at):
            if data[i] >= 0x80:  # kafka-python takes nothing but UTF-8
                return end + 1
        size, at = _number(data, at, end)
        at += max(size, 0)
    return at
