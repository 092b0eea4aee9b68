"""What Kafka does to its readers, done to riverd's by a real broker."""

import logging
import struct
import time
from itertools import pairwise

import pytest

from stream.source import Mark, Partition, SourceError
from tests.system.kafka import CLIENTS, LIMIT, drain, eventually, messages, places, poll_until, reading

pytestmark = pytest.mark.system

TEN = [b"message %d" % i for i in range(10)]


@pytest.fixture(params=CLIENTS)
def client(request):
    return request.param


def transaction(kafka, topic, written, *, end):
    producer = kafka.producer(transactional_id=f"{topic}-{written[0].decode()}")
    producer.init_transactions()
    producer.begin_transaction()
    for message in written:
        producer.produce(topic, message, partition=0)
    producer.flush()
    if end == "commit":
        producer.commit_transaction()
    elif end == "abort":
        producer.abort_transaction()
    return producer


def test_what_was_aborted_is_passed_over_and_the_end_is_reached(kafka, client):
    topic = kafka.topic()
    transaction(kafka, topic, [b"one", b"two"], end="commit")
    transaction(kafka, topic, [b"never"] * 3, end="abort")
    zero = Partition(topic, "0")
    with reading(client, kafka.address, topic, bounded=True) as source:
        batches = drain(source)
        assert messages(batches) == [b"one", b"two"]
        assert places(batches, zero) == [0, 1]
        assert source.at_end(zero)  # though the last offset is 6: that of a marker
        assert source.progress() == 1.0


def test_a_transaction_that_is_open_is_waited_for_but_holds_nobody_up(kafka, client):
    topic = kafka.topic()
    kafka.send(topic, [b"before"])
    producer = transaction(kafka, topic, [b"open"], end=None)
    zero = Partition(topic, "0")
    with reading(client, kafka.address, topic, bounded=True) as bounded:
        assert messages(drain(bounded)) == [b"before"]
    with reading(client, kafka.address, topic) as source:
        assert messages(drain(source)) == [b"before"]
        assert source.at_end(zero)
        producer.commit_transaction()
        assert messages(poll_until(source, lambda batches: batches)) == [b"open"]


def test_a_compacted_topic_has_holes(kafka, client):
    topic = kafka.topic(cleanup_policy="compact", min_cleanable_dirty_ratio=0.001, segment_bytes=1 << 20)
    producer = kafka.producer()
    for value in range(200):
        producer.produce(topic, b"%d" % value + b"x" * 8000, key=b"the same", partition=0)
    producer.flush()
    producer.produce(topic, b"last", key=b"other", partition=0)
    producer.flush()
    zero = Partition(topic, "0")

    def read():
        with reading(client, kafka.address, topic, bounded=True) as source:
            batches = drain(source)
            assert source.at_end(zero)
            return batches

    offsets = places(eventually(lambda: (found := read()) and len(messages(found)) < 201 and found), zero)
    assert offsets[-1] == 200
    assert max(b - a for a, b in pairwise([-1, *offsets])) > 1


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd", "snappy"])
def test_codecs(kafka, client, codec):
    topic = kafka.topic()
    kafka.send(topic, TEN, compression_type=codec)
    with reading(client, kafka.address, topic, bounded=True) as source:
        if (client, codec) == ("kafka-python", "snappy"):
            with pytest.raises(SourceError, match=r"codec .*\n  Install it \(for snappy: pip install python-snappy\)"):
                drain(source)
        else:
            assert messages(drain(source)) == TEN


def test_messages_as_large_as_the_broker_takes_them(kafka, client):
    topic = kafka.topic()
    large = bytes(LIMIT - 1000)
    kafka.send(topic, [b"before", large, b"after"])
    with reading(client, kafka.address, topic, bounded=True, max_message_bytes=LIMIT) as source:
        assert messages(drain(source)) == [b"before", large, b"after"]
    with reading(client, kafka.address, topic, bounded=True) as source:
        batches = drain(source)
    assert [reason for batch in batches for reason in batch.broken.values()] == [
        "the message has 3,144,728 bytes, more than max_message_bytes = 1,048,576"
    ]
    assert [len(message) for message in messages(batches)] == [6, 1 << 16, 5]


def batches_in(log):
    """The bytes and the offsets of each batch in a file of the broker."""
    text, at = log.read_bytes(), 0
    while at < len(text):
        base, length = struct.unpack_from(">qi", text, at)
        last = base + struct.unpack_from(">i", text, at + 23)[0]
        yield range(at, at + 12 + length), range(base, last + 1)
        at += 12 + length


def test_batches_with_a_bad_checksum_are_passed_over(kafka, client):
    topic = kafka.topic(partitions=2)
    for batch in range(5):
        kafka.send(topic, [b"batch %d message %d" % (batch, i) for i in range(10)])
    kafka.send(topic, TEN, 1)
    log = kafka.log_file(topic)
    damaged = [log.read_bytes().index(text) for text in (b"batch 1 message 4", b"batch 3 message 9")]
    with log.open("r+b") as file:
        for place in damaged:
            file.seek(place)
            file.write(b"B")
    expected, reasons = [], []
    for where, offsets in batches_in(log):
        if any(place in where for place in damaged):
            expected.append(offsets[0])
            reasons.append(f"offsets {offsets[0]} to {offsets[-1]} can't be read and were passed over: its checksum")
        else:
            expected += offsets
    with reading(client, kafka.address, topic, bounded=True) as source:
        read = drain(source)
    assert places(read, Partition(topic, "0")) == expected
    assert messages(read, Partition(topic, "1")) == TEN  # which must not be passed over with them
    said = [reason for batch in read for reason in batch.broken.values()]
    assert [reason.removesuffix(" (CRC) does not fit") for reason in said] == reasons
    assert len(reasons) == 2
    assert messages(read).count(b"") == 2


def mark_after(client, kafka, topic, count):
    """A mark of partition 0 with so many messages behind it."""
    zero = Partition(topic, "0")
    with reading(client, kafka.address, topic, bounded=True) as source:
        batches = poll_until(source, lambda batches: len(messages(batches)) >= count, 1)
        return {zero: Mark(batches[-1].next_position, source.fingerprint(zero))}


def expire(kafka, topic, offset):
    from kafka import TopicPartition

    kafka.admin.delete_records({TopicPartition(topic, 0): offset})


def test_expired_positions_are_refused_until_the_loss_is_accepted(kafka, client, caplog):
    topic = kafka.topic()
    kafka.send(topic, TEN)
    mark = mark_after(client, kafka, topic, 3)
    expire(kafka, topic, 7)
    with reading(client, kafka.address, topic) as source, pytest.raises(SourceError) as refused:
        source.seek(mark)
    assert str(refused.value) == (
        "Kafka no longer holds what riverd has to read next.\n"
        f"  topic {topic}, partition 0: wanted offset 3, the oldest is 7 (4 offsets lost)\n"
        "  Accept the loss and go on with the oldest message there is:  riverd run --accept-loss earliest\n"
        "  Accept it and go on with the next one that comes:            riverd run --accept-loss latest"
    )
    zero = Partition(topic, "0")
    with reading(client, kafka.address, topic, accept_loss="earliest") as source:
        assert source.seek(mark) == {zero: 7}
        assert messages(drain(source)) == TEN[7:]
    assert "loss accepted: " in caplog.text
    with reading(client, kafka.address, topic, accept_loss="latest") as source:
        assert source.seek(mark) == {zero: 10}
        assert drain(source) == []
        kafka.send(topic, [b"new"])
        assert messages(poll_until(source, lambda batches: batches)) == [b"new"]


def test_what_expired_before_it_was_first_seen_is_no_loss(kafka, client):
    topic = kafka.topic()
    kafka.send(topic, TEN)
    expire(kafka, topic, 4)
    zero = Partition(topic, "0")
    with reading(client, kafka.address, topic, bounded=True) as source:
        mark = {zero: Mark(0, source.fingerprint(zero))}  # of a run that ended before a message was released
    with reading(client, kafka.address, topic, bounded=True) as source:
        source.seek(mark)
        assert messages(drain(source)) == TEN[4:]
    expire(kafka, topic, 6)
    with reading(client, kafka.address, topic) as source, pytest.raises(SourceError, match="wanted offset 4, the old"):
        source.seek(mark)


def test_what_expires_while_it_is_read_is_refused(kafka, client):
    topic = kafka.topic()
    kafka.send(topic, TEN)
    with reading(client, kafka.address, topic, interval_s=60.0) as source:  # so that it does not know yet
        expire(kafka, topic, 7)
        source._lanes[Partition(topic, "0")].fetched = 3  # as if it had come so far before
        source._assign()
        with pytest.raises(SourceError, match="wanted offset 3, the oldest is 7"):
            poll_until(source, lambda batches: batches)


def test_a_topic_that_was_created_anew_is_refused(kafka, client):
    topic = kafka.topic()
    kafka.send(topic, TEN)
    mark = mark_after(client, kafka, topic, 5)
    kafka.admin.delete_topics([topic])
    eventually(lambda: kafka.admin.describe_topics([topic])[0]["error_code"])
    kafka.topic(name=topic)
    kafka.send(topic, TEN + TEN)
    with reading(client, kafka.address, topic) as source, pytest.raises(SourceError) as refused:
        source.seek(mark)
    assert "wanted offset 5, but the topic was deleted and created anew; it has offsets 0 to 20" in str(refused.value)
    with reading(client, kafka.address, topic, bounded=True, accept_loss="earliest") as source:
        source.seek(mark)
        assert messages(drain(source)) == TEN + TEN


def test_a_topic_that_does_not_exist_is_waited_for_or_refused(kafka, client, caplog):
    caplog.set_level(logging.WARNING)
    with pytest.raises(SourceError, match=r"topic 'comes-late.*' does not exist at .*\n  Create it, or correct"):
        reading(client, kafka.address, f"comes-late-{client}", bounded=True).__enter__()
    with reading(client, kafka.address, f"comes-late-{client}") as source:
        assert source.poll(source.partitions(), 10) == []
        kafka.topic(name=f"comes-late-{client}")
        kafka.send(f"comes-late-{client}", TEN)
        assert messages(poll_until(source, lambda batches: len(messages(batches)) == 10)) == TEN
    assert caplog.text.count("does not exist at") == 1


def test_nobody_answers_at_the_start(client):
    began_s = time.monotonic()
    with pytest.raises(
        SourceError, match=r"no Kafka broker at 127.0.0.1:1 has answered within 1 s: .*\n  Start it, or"
    ):
        reading(client, "127.0.0.1:1", "x", start_timeout_s=1.0).__enter__()
    assert time.monotonic() - began_s < 5


def test_what_is_not_wanted_is_held_back(kafka, client):
    topic = kafka.topic(partitions=2)
    for partition in (0, 1):
        kafka.send(topic, [b"x" * 100] * 60_000, partition)
    zero, one = Partition(topic, "0"), Partition(topic, "1")
    with reading(client, kafka.address, topic, bounded=True) as source:
        batches = []
        while not source.at_end(one):
            batches += source.poll([one], 1000)
        assert len(messages(batches, one)) == 60_000
        assert source._lanes[zero].records < 30_000
        batches += drain(source)
    assert places(batches, zero) == list(range(60_000))


def test_the_group_is_told_where_riverd_is(kafka, client):
    topic = kafka.topic(partitions=2)
    kafka.send(topic, TEN)

    zero, one = Partition(topic, "0"), Partition(topic, "1")
    with reading(client, kafka.address, topic) as source:
        for position in (5, 8):
            # the first time the broker makes a topic for groups, and refuses
            eventually(
                lambda position=position: (
                    source.commit({zero: position, one: 0}) or kafka.told("riverd-test").get(zero) == position
                )
            )
    assert one not in kafka.told("riverd-test")


def test_a_broker_that_hangs_does_not_hold_up_the_engine(kafka, client, monkeypatch):
    monkeypatch.setattr("stream.kafka.FRESH_S", 0.5)
    topic = kafka.topic()
    zero = Partition(topic, "0")
    kafka.send(topic, TEN)
    with reading(client, kafka.address, topic) as source:
        drain(source)
        with kafka.broker.frozen():
            began_s = time.monotonic()
            longest_s = 0.0
            while time.monotonic() - began_s < 1.0:
                before_s = time.monotonic()
                source.poll(source.partitions(), 10)
                longest_s = max(longest_s, time.monotonic() - before_s)
            assert longest_s < 0.5
            assert not source.at_end(zero)  # nobody knows
        kafka.send(topic, [b"after"])
        assert messages(poll_until(source, lambda batches: batches)) == [b"after"]
    kafka.again()


def secure(kafka, mechanism="SCRAM-SHA-512", password="s3cret"):
    return {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": mechanism,
        "sasl_username": "river",
        "sasl_password": password,
        "ca_file": str(kafka.certificates.authority),
    }


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_with_a_password_over_tls(kafka, client, mechanism):
    topic = kafka.readable(kafka.topic())
    kafka.send(topic, TEN)
    address = kafka.broker.secure_address
    with reading(client, address, topic, security=secure(kafka, mechanism)) as source:
        assert messages(drain(source)) == TEN
        source.commit({Partition(topic, "0"): 10})  # to a group that is denied, which harms nobody
        end_s = time.monotonic() + 1.0
        while time.monotonic() < end_s:
            assert source.poll(source.partitions(), 10) == []


def test_access_denied(kafka, client):
    kafka.make_scram_password()
    address = kafka.broker.secure_address
    wrong = secure(kafka, password="wrong")
    # kafka-python may lose what the broker says before it closes a TLS connection
    said = "(Authentication failed|socket disconnected)" if client == "kafka-python" else "Authentication failed"
    with pytest.raises(SourceError, match=rf"{said}.*\n  .*RIVERD_KAFKA_PASSWORD"):
        reading(client, address, "x", security=wrong, start_timeout_s=6.0).__enter__()
    topic = kafka.topic()
    with pytest.raises(SourceError, match=r"(?i)Kafka denies access: .*authoriz.*\n  See \[source\] sasl_username"):
        reading(client, address, topic, security=secure(kafka), start_timeout_s=1.0).__enter__()
