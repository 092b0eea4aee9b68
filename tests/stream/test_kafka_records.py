"""Runs against kafka-python's own reading, message by message: the same messages, positions and errors."""

import importlib.util
import struct
import sys
import tracemalloc
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import TopicPartition, codec, errors
from kafka.consumer.fetcher import CompletedFetch, Fetcher
from kafka.consumer.subscription_state import SubscriptionState
from kafka.record import MemoryRecordsBuilder
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import calc_crc32c

from stream import kafka_python, kafka_records
from stream.kafka_client import NO_TIME
from stream.kafka_python import _corrupt, _fetched
from stream.kafka_records import FEW, Run, read_in_runs, run_of, scan, works
from stream.source import Partition
from tests.system.kafka import drain, messages, reading

ZERO, ONE = TopicPartition("clicks", 0), TopicPartition("clicks", 1)
CODECS = [number for number, name in enumerate(["gzip", "snappy", "lz4", "zstd"], 1) if getattr(codec, f"has_{name}")()]
CONTROL, APPENDED = 0x20, 0x08  # attributes
ANSWER = {"error_code": 0, "high_watermark": 99, "diverging_epoch": None, "preferred_read_replica": -1}
HEADER = DefaultRecordBatch.HEADER_STRUCT


def sealed(data, **fields):
    """A batch of version 2 with fields of its header changed, its length and checksum put right."""
    names = "base length epoch magic crc attributes last first_ms max_ms producer producer_epoch sequence count"
    found = dict(zip(names.split(), HEADER.unpack_from(data), strict=True))
    data = bytearray(data)
    HEADER.pack_into(data, 0, *(found | {"length": len(data) - 12} | fields).values())
    data[17:21] = struct.pack(">I", calc_crc32c(memoryview(data)[21:]))
    return bytes(data)


def batch(records, *, base=0, codec=0, producer=-1, marker=None, appended_ms=None, tail=0, epoch=3):
    """Records are (gap before it, ms, key, value, headers); ``tail`` more at the end were compacted away."""
    known = {"producer_id": producer, "producer_epoch": 0, "base_sequence": 0} if producer >= 0 else {}
    builder = MemoryRecordsBuilder(2, codec, 1 << 20, transactional=producer >= 0, **known)
    if marker is not None:
        records = [(0, 7, struct.pack(">hh", 0, marker), bytes(6), [])]
    for gap, ms, key, value, headers in records:
        builder.skip(gap)
        builder.append(ms, key, value, headers)
    builder.close()
    attributes, last, _, max_ms = struct.unpack_from(">hiqq", builder.buffer(), 21)
    attributes |= CONTROL * (marker is not None) | APPENDED * (appended_ms is not None)
    max_ms = max_ms if appended_ms is None else appended_ms
    return sealed(builder.buffer(), base=base, epoch=epoch, attributes=attributes, last=last + tail, max_ms=max_ms)


def legacy(magic, codec=0):
    builder = MemoryRecordsBuilder(magic, codec, 1 << 20)
    for i in range(6):
        builder.append(1000 + i, None, b"%d" % i if i else None)
    builder.close()
    return bytes(builder.buffer())


def six(gaps=(0,) * 6, key=None, headers=()):
    return [(gap, 1000 + i, key, b"%d" % i, list(headers)) for i, gap in enumerate(gaps)]


def told(offsets, values="012345", times=range(1000, 1006)):
    return [(offset, ms, value.encode()) for offset, ms, value in zip(offsets, times, values, strict=False)]


def varint(number):
    sevens, number = [], 2 * number if number >= 0 else -2 * number - 1
    while number > 0x7F:
        sevens.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*sevens, number])


def record(delta, *, size=None, key=-1, value=1, headers=b"\0", attributes=b"\0"):
    body = attributes + varint(0) + varint(delta) + varint(key) + varint(value) + b"v" + headers
    return varint(len(body) if size is None else size) + body


def written(third, *, behind=b""):
    """A batch of five records, the third of which is given."""
    parts = [record(0), record(1), third, record(3), record(4)]
    return sealed(batch(six())[: HEADER.size] + b"".join(parts) + behind, count=5, last=4)


class Reader:
    """Kafka-python's fetcher, handed a broker's answer for each of two partitions; with riverd's runs or without."""

    def __init__(self, data, *, start=0, aborted=(), in_runs):
        self.data = {ZERO: data, ONE: batch(six(), base=20)}
        self.aborted = [SimpleNamespace(producer_id=producer, first_offset=first) for producer, first in aborted]
        self.subscriptions = SubscriptionState("none")
        self.subscriptions.assign_from_user([ZERO, ONE])
        nowhere = SimpleNamespace(_manager=SimpleNamespace(_net=None))
        self.fetcher = Fetcher(nowhere, self.subscriptions, isolation_level="read_committed")
        self.in_runs = in_runs
        if in_runs:
            read_in_runs(SimpleNamespace(_fetcher=self.fetcher))
        self.drained, drain = [], self.fetcher._on_partition_records_drain
        self.fetcher._on_partition_records_drain = lambda part: self.drained.append(part.bytes_read) or drain(part)
        self.polled = []  # kafka-python's records, or what it took for them
        self.seek(start)
        self.seek(20, ONE)

    def seek(self, offset, partition=ZERO):
        self.subscriptions.seek(partition, offset)
        answer = SimpleNamespace(**ANSWER, records=self.data[partition], aborted_transactions=self.aborted)
        self.fetcher._completed_fetches.append(CompletedFetch(partition, offset, 12, answer, None))

    def poll(self, at_most):
        """What came of each partition and by whose clock; and the books: positions, turns, whether there is more."""
        polled = self.fetcher.fetched_records(at_most)[0]
        self.polled += chain.from_iterable(polled.values())
        came = {partition: self.plain(partition, records) for partition, records in polled.items()}
        return came, self.positions(), [*self.subscriptions.assignment], bool(self.fetcher._next_partition_records)

    def positions(self):
        return [self.subscriptions.assignment[partition].position for partition in (ZERO, ONE)]

    def plain(self, partition, records):
        if self.in_runs:
            _, offsets, times_ms, values, appended = _fetched(partition, records)
            assert offsets.dtype == times_ms.dtype == np.int64
            assert all(type(value) is bytes for value in values)
            return list(zip(offsets.tolist(), times_ms.tolist(), values, strict=True)), appended
        rows = [(record.offset, record.timestamp, record.value or b"") for record in records]
        fits = [(offset, NO_TIME if ms is None or abs(ms) >> 63 else ms, value) for offset, ms, value in rows]
        return fits, records[-1].timestamp_type == 1

    def run(self, steps):
        """What each poll of so many gave; between them are seeks, "pause" and "resume". An error is the last."""
        for step in [*steps, *[100] * 9]:
            try:
                if isinstance(step, tuple):
                    self.seek(*step)
                elif isinstance(step, str):
                    getattr(self.subscriptions, step)(ZERO)
                else:
                    yield self.poll(step)
            except Exception as error:
                yield type(error), str(error), self.positions()
                return


def both(data, steps=(), **options):
    """Polls the same with runs and without; returns the former's reader, and all that came of partition ZERO."""
    ours, theirs = (Reader(data, in_runs=in_runs, **options) for in_runs in (True, False))
    found = list(ours.run(steps))
    assert found == list(theirs.run(steps))
    assert ours.drained == theirs.drained or not all(isinstance(step, int) for step in steps)
    return ours, [row for came, *_ in found if isinstance(came, dict) for row in came.get(ZERO, [[]])[0]]


def test_the_installed_kafka_python_is_read_in_runs(kafka, monkeypatch):
    """If it fails after an upgrade: messages are read one by one, and more than ten times slower."""
    polled = []
    monkeypatch.setattr(kafka_python, "run_of", lambda records: polled.extend(records) or run_of(records))
    topic = kafka.topic()
    kafka.send(topic, [b"%d" % i for i in range(1000)])
    with reading("kafka-python", kafka.address, topic, bounded=True) as source:
        assert messages(drain(source)) == [b"%d" % i for i in range(1000)]
    assert works()
    alone = sum(not isinstance(record.value, Run) for record in polled)
    assert alone < 10  # a producer that is just connected may send a batch of one or two
    assert len(polled) < 100


ROWS = told(range(100, 106))
DATA = batch(six(), base=100)
WIDE = six(key=bytes(99))  # compresses well
TITLED = six(key=b"key", headers=[("name", b"value"), ("", None), ("n" * 200, bytes(300))])
HOLES, LEFT = batch(six(gaps=(1, 0, 2, 0, 0, 3)), base=100, tail=5), told([101, 102, 105, 106, 107, 111])
EMPTY = batch([], base=106, tail=8) + batch([], base=115, tail=4)
LONG = sealed(batch(six(key=bytes(4)), base=94, producer=1), attributes=CONTROL)
TOMBSTONES = batch([(0, 1, None, None, [])] * 40, codec=1)  # as short as records can be
LATE = (1 << 63) - 3  # two milliseconds before the end of all time
MARKERS = batch([], base=99, producer=1, marker=1), batch([], base=106, producer=2, marker=0)
PLAIN = record(2, key=0, headers=varint(1) + varint(1) + b"n" + varint(-1))
SOUND = {  # what lies there, from where it is read, what comes, and where that ends
    "two batches": (DATA + batch(six(), base=106), 100, ROWS + told(range(106, 112)), 112),
    "from the middle": (DATA, 104, ROWS[4:], 106),
    "what lies before": (batch(six(), base=90) + DATA, 97, ROWS, 106),
    "the broker's clock": (batch(six(), base=100, appended_ms=5), 100, told(range(100, 106), times=[5] * 6), 106),
    "no time": (batch([(0, -1, None, b"x", [])] * 6), 0, told(range(6), values="xxxxxx", times=[-1] * 6), 6),
    "compacted": (HOLES, 100, LEFT, 117),
    "compacted, from a hole": (HOLES, 103, LEFT[2:], 117),
    "compacted, from behind the last": (HOLES, 114, [], 117),
    "all compacted away": (DATA + EMPTY, 100, ROWS, 120),
    "tombstones": (TOMBSTONES, 0, told(range(40), values=[""] * 40, times=[1] * 40), 40),
    "keys and headers": (batch(TITLED, base=100), 100, ROWS, 106),
    "cut off by the end of the answer": (DATA + batch(six(), base=106)[:-1], 100, ROWS, 106),
    "a marker of many records": (LONG + DATA, 94, ROWS, 106),
    "written by hand": (written(PLAIN), 0, told(range(5), values="vvvvv", times=[1000] * 5), 5),
    "markers": (MARKERS[0] + DATA + MARKERS[1], 99, ROWS, 107),
}
SOUND |= {f"codec {codec}": (batch(WIDE, base=100, codec=codec), 102, ROWS[2:], 106) for codec in CODECS}


@pytest.mark.parametrize("case", SOUND)
@pytest.mark.parametrize("steps", [[100], [1] * 20, [2, 3] * 5, [4] * 5, [6] * 4])
def test_what_is_sound_is_read_in_runs(case, steps):
    data, start, expected, end = SOUND[case]
    reader, found = both(data, steps, start=start)
    assert found == expected
    assert reader.subscriptions.assignment[ZERO].position == (end, "", 3)
    assert all(isinstance(record.value, Run) for record in reader.polled)


def test_compressed_batches_are_compressed():
    assert len({len(batch(WIDE, codec=codec)) for codec in (0, *CODECS)}) == 1 + len(CODECS)
    assert {1, 3, 4} <= set(CODECS)  # of gzip, snappy, lz4 and zstd, those that riverd brings


@pytest.mark.parametrize("steps", [[100], [1] * 20, [4] * 5])
def test_what_was_aborted_is_passed_over(steps):
    begun = batch(six(), base=100, producer=1) + batch(six(), base=106, producer=2)
    again = batch([], base=112, producer=1, marker=0) + batch(six(), base=113, producer=1)
    ended = batch([], base=119, producer=2, marker=1) + batch([], base=120, producer=1, marker=1)
    reader, found = both(begun + again + ended, steps, start=100, aborted=[(1, 100)])
    assert found == told(range(106, 112)) + told(range(113, 119))
    assert reader.subscriptions.assignment[ZERO].position.offset == 121


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (batch(six()[: FEW - 1]), told(range(FEW - 1))),
        (batch(six(headers=[("é", b"")])), told(range(6))),
        (legacy(0), told(range(6), values=["", *"12345"], times=[NO_TIME] * 6)),
        (legacy(1), told(range(6), values=["", *"12345"])),
        (legacy(1, codec=1), told(range(6), values=["", *"12345"])),
        (sealed(batch(six()), first_ms=LATE), told(range(6), times=[LATE, LATE + 1, LATE + 2] + [NO_TIME] * 3)),
    ],
    ids=["few", "a header's name of more than ASCII", "version 0", "version 1", "version 1, gzip", "beyond all time"],
)
def test_what_is_read_one_by_one_comes_between_runs(data, expected):
    for before in ([], six()):
        whole = (batch(before) if before else b"") + data
        reader, found = both(whole, [2, 3, 100])
        assert found == (told(range(6)) if before else []) + expected
        assert any(not isinstance(record.value, Run) for record in reader.polled)


def test_a_checksum_that_does_not_fit_is_told_with_its_place():
    data = bytearray(DATA + MARKERS[1] + batch(six(), base=107))
    data[-1] ^= 1
    assert both(data, [4, 1, 1], start=100)[1] == ROWS
    *_, (kind, text, _) = Reader(data, start=100, in_runs=True).run([])
    assert kind is errors.CorruptRecordError
    corrupt = _corrupt(kind(text))
    assert (corrupt.partition, corrupt.batch) == (Partition("clicks", "0"), 107)


MALICIOUS = {
    "a value longer than its record": written(record(2, value=5)),
    "a value of 2 GB": written(record(2, value=(1 << 31) - 1)),
    "a value that ends before all": written(record(2, value=(1 << 62) - 1)),
    "a value whose size no 64 bits hold": written(record(2, value=1 + (1 << 63))),
    "a record longer than the batch": written(record(2, size=500)),
    "a record longer than it says": written(record(2, size=6)),
    "a record shorter than it says": written(record(2, size=8)),
    "a record of a negative size": written(record(2, size=-8)),
    "a record of 4 EB": written(record(2, size=(1 << 62) - 1)),
    "a key longer than its record": written(record(2, key=5)),
    "a negative number of headers": written(record(2, headers=varint(-1))),
    "more headers than there are": written(record(2, headers=varint(1 << 40))),
    "a header without a name": written(record(2, headers=varint(1) + varint(-1) + varint(-1))),
    "a header's name longer than its record": written(record(2, headers=varint(1) + varint(50))),
    "a header's value longer than its record": written(record(2, headers=varint(1) + varint(0) + varint(50))),
    "a header's name that is not UTF-8": written(record(2, headers=varint(1) + varint(1) + b"\xff\1")),
    "attributes without an end": written(record(2, attributes=b"\x80" * 12 + b"\0")),
    "an offset that goes back": written(record(0)),
    "an offset before the batch": written(record(-5)),
    "bytes behind the last record": written(record(2), behind=b"\0"),
    "bytes that are missing at the end": sealed(written(record(2))[:-1]),
    "fewer records than there are": sealed(written(record(2)), count=4),
    "more records than there are": sealed(written(record(2)), count=6),
    "as many records as can be": sealed(written(record(2)), count=(1 << 31) - 1),
}


def scan_in_python(data, *found):
    """Where an index behind the end is an error."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_number", "_behind_headers"):
            patch.setattr(kafka_records, name, getattr(kafka_records, name).py_func)
        return scan.py_func(data, 0, 5, 1000, *found)


@pytest.mark.parametrize("case", MALICIOUS)
def test_what_is_odd_is_left_to_kafka_python(case):
    tracemalloc.start()
    for steps in ([], [1] * 8, [2, 3]):
        reader, _ = both(MALICIOUS[case], steps)
        assert not any(isinstance(record.value, Run) for record in reader.polled if record.partition == 0)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
    scan_in_python(np.array(bytearray(MALICIOUS[case][HEADER.size :])), *np.zeros((4, 6), np.int64))


rows = st.tuples(
    st.integers(0, 2),
    st.integers(990, 1010),
    st.none() | st.binary(max_size=3),
    st.none() | st.binary(max_size=70),
    st.lists(st.tuples(st.sampled_from(["", "name", "é"]), st.none() | st.binary(max_size=3)), max_size=2),
)
batches = st.fixed_dictionaries(
    {"records": st.lists(rows, max_size=10), "codec": st.sampled_from([0, *CODECS]), "tail": st.integers(0, 2)},
    optional={"producer": st.integers(1, 2), "appended_ms": st.integers(0, 9), "epoch": st.integers(-1, 2)},
)


@settings(deadline=None)  # the first call compiles
@given(
    st.lists(batches | st.tuples(st.integers(1, 2), st.integers(0, 1)), max_size=5),
    st.integers(0, 40),
    st.lists(st.tuples(st.integers(1, 2), st.integers(0, 40)), max_size=3),
    st.lists(st.integers(1, 9) | st.sampled_from(["pause", "resume"]), max_size=9).map(
        lambda steps: [*steps, "resume"]
    ),
    st.integers(0, 70),
)
def test_equals_kafka_python_however_it_is_polled(contents, start, aborted, steps, cut):
    data, base = b"", 0
    for content in contents:
        if isinstance(content, tuple):
            data += batch([], base=base, producer=content[0], marker=content[1])
            base += 1
        else:
            data += batch(base=base, **content)
            base += sum(row[0] + 1 for row in content["records"]) + content["tail"] + 1
    both(data[: len(data) - cut], [*steps, "resume"], start=start, aborted=aborted)


@settings(deadline=None, max_examples=400)
@given(
    st.lists(rows, min_size=FEW, max_size=10),
    st.lists(st.tuples(st.integers(21, 400), st.integers(0, 255)), max_size=3),
    st.binary(max_size=3),
    st.integers(0, 3),
    st.lists(st.integers(1, 5), max_size=5),
)
def test_equals_kafka_python_whatever_the_bytes_are(records, changes, behind, cut, steps):
    data = bytearray(batch(records))
    for place, byte in changes:
        data[21 + (place - 21) % (len(data) - 21)] = byte
    data = bytes(data) + behind
    both(batch(six()) + sealed(data[: len(data) - cut]), steps)


@settings(deadline=None)
@given(st.lists(rows, min_size=1, max_size=4), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255))), st.data())
def test_the_scan_looks_at_nothing_behind_the_batch(records, changes, drawn):
    data = bytearray(batch(records)[HEADER.size :])
    for place, byte in changes:
        data[place % len(data)] = byte
    data = np.array(data[: drawn.draw(st.integers(0, len(data)))], np.uint8)
    compiled, found = np.zeros((2, 4, len(records)), np.int64)
    size = scan_in_python(data, *found)
    assert scan(data, 0, 5, 1000, *compiled) == size
    assert size == -1 or (found == compiled).all()
    assert size == -1 or (found[2:].min() >= 0 and found[2:].max() <= len(data))
    assert len(scan.signatures) == 1


def test_an_unknown_kafka_python_is_left_as_it_is(monkeypatch, caplog):
    caplog.set_level("INFO")

    def unpack(self, tp, records, *_):
        yield from (record for batch in records for record in batch)

    with monkeypatch.context() as patch:
        patch.setattr(Fetcher.PartitionRecords, "_unpack_records", unpack)
        assert not works.__wrapped__()
    assert "is not as riverd knows it: messages are read one by one" in caplog.text
    monkeypatch.setattr(kafka_records, "works", lambda: False)
    reader, found = both(batch(six()))
    assert reader.fetcher.PartitionRecords is Fetcher.PartitionRecords
    assert found == told(range(6))


def test_a_kafka_python_of_another_build_is_left_as_it_is(monkeypatch):
    monkeypatch.delattr(Fetcher, "PartitionRecords")
    spec = importlib.util.spec_from_file_location("anew", kafka_records.__file__)
    anew = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "anew", anew)
    spec.loader.exec_module(anew)
    assert not anew.works()
    anew.read_in_runs(SimpleNamespace())
