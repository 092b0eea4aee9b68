"""The daemon on Kafka: it ends as it does on files, whatever happens to it or to the broker."""

import json
import signal
import subprocess
import sys
from contextlib import ExitStack

import pytest

from riverd.cli import main
from riverd.load_config import load_config
from riverd.replay import replay
from riverd.retrain_replay import train
from riverd.time_ranges import Stretch
from storage.arrays import decode
from stream.source import Partition
from tests.riverd.streams import close_the_books, pairs, split, write
from tests.system.children import facts, finish, run_child, tailing
from tests.system.kafka import CLIENTS
from tests.system.monitoring import eventually
from tests.system.retraining import ask, says, store, worker_of
from tests.system.streams_on_disk import configure

pytestmark = pytest.mark.system

COUNT = 4_000


@pytest.fixture(scope="module")
def topics():
    """Events and labels on two partitions each, with all that goes wrong in streams."""
    return split(pairs(COUNT, seed=1, disorder=True), partitions=2)


def names(kafka, partitions):
    return {"events": kafka.topic(partitions), "labels": kafka.topic(partitions)}


def send(kafka, names, topics, part=slice(None)):
    for (topic, number), messages in topics.items():
        kafka.send(names[topic], [message or None for message in messages[part]], int(number))


def on_kafka(folder, kafka, names, client="kafka-python", *, name="shops"):
    """The folder, with a config that reads these topics."""
    return configure(
        folder,
        folder,
        source={
            "kind": "kafka",
            "bootstrap_servers": [kafka.address],
            "client": client,
            "poll_records": 50,
            "idle_after": "100ms",
        },
        model={"name": name},
        events={"topic": names["events"]},
        labels={"topic": names["labels"]},
    )


@pytest.fixture(scope="module")
def expected(topics, tmp_path_factory):
    """What the same records come to as files."""
    folder = tmp_path_factory.mktemp("files")
    write(topics, folder / "data")
    configure(folder, folder / "data")
    config = load_config(folder / "riverd.toml")
    replay(config, folder / "riverd.toml")  # children inherit what it compiles
    result = finish(folder)
    assert min(result["counts"][fate] for fate in ("tombstones", "dead", "late", "duplicate_labels", "matched")) > 0
    return comparable(folder, result, {"events": "events", "labels": "labels"})


def comparable(folder, result, names):
    """All that must be equal: of dead letters the place is another one in Kafka."""
    theirs = {name: topic for topic, name in names.items()}
    ends = facts(folder, result)
    ends["dead letters"] = [
        (number, theirs[topic], partition, reason.replace("the message's timestamp", "this machine's clock"), payload)
        for number, topic, partition, _, reason, payload in ends["dead letters"]
    ]
    return ends


@pytest.fixture(scope="module")
def sent(kafka, topics):
    """Names of topics in Kafka that hold them."""
    made = names(kafka, 2)
    send(kafka, made, topics)
    return made


@pytest.mark.parametrize("client", CLIENTS)
def test_it_ends_as_on_files_also_when_it_was_killed(kafka, sent, expected, client, tmp_path):
    folder = on_kafka(tmp_path / "run", kafka, sent, client)
    kafka.rest()
    assert comparable(folder, finish(folder), sent) == expected
    folder = on_kafka(tmp_path / "killed", kafka, sent, client)
    for place in ("checkpoint.commit:3", "engine.learned:20", "engine.polled:30"):
        assert run_child(folder, fails_at=place).wait() == -signal.SIGKILL
    assert comparable(folder, finish(folder), sent) == expected


def test_a_broker_that_is_killed_is_waited_for(kafka, topics, tmp_path):
    """Nothing is lost or read twice, it is said once, and event time stands still meanwhile."""
    made = names(kafka, 3)  # one partition of each stays empty, and must not hold the others back
    whole = sum(map(len, topics.values()))
    send(kafka, made, topics, slice(0, 500))
    kafka.rest()
    folders = {client: on_kafka(tmp_path / client, kafka, made, client, name=client) for client in CLIENTS}
    with ExitStack() as both:
        running = [both.enter_context(tailing(folder)) for folder in folders.values()]
        for _, wait_for in running:
            wait_for(lambda told: told["phase"] == "waiting" and told["counts"]["messages"] > 1000)
        kafka.broker.kill()
        for _, wait_for in running:
            wait_for(lambda told: said(told, "no Kafka broker at"))
        kafka.broker.start()
        kafka.again()
        send(kafka, made, topics, slice(500, None))
        for child, wait_for in running:
            told = wait_for(lambda told: told["counts"]["messages"] == whole)
            close_the_books(told["counts"])
            assert said(told, "no Kafka broker at") == said(told, "Kafka answers again") == 1
            child.signal(signal.SIGTERM)
        assert [child.wait() for child, _ in running] == [0, 0]
    expected = {Partition(made[topic], number): len(sent) for (topic, number), sent in topics.items() if sent}
    for client in CLIENTS:
        assert expected.items() <= kafka.told(f"riverd-{client}").items()
    kafka.rest()
    with tailing(folders["confluent"]) as (child, wait_for):
        assert wait_for(lambda told: told["phase"] == "waiting")["counts"]["messages"] == whole
        child.signal(signal.SIGTERM)
        assert child.wait() == 0


@pytest.mark.parametrize("client", CLIENTS)
def test_a_challenger_learns_what_it_would_on_files(kafka, topics, client, tmp_path):
    made = names(kafka, 2)
    send(kafka, made, topics)
    kafka.rest()
    folder, from_us = on_kafka(tmp_path / "run", kafka, made, client), 1_357_030_000_000_000
    with tailing(folder) as (child, wait_for):
        wait_for(
            lambda told: told["phase"] == "waiting" and told["counts"]["messages"] == sum(map(len, topics.values()))
        )
        ask(folder, "retrain", from_us=from_us)
        wait_for(says("retrain 1 begins"))
        eventually(lambda: worker_of(child.pid))
        eventually(lambda: worker_of(child.pid) is None)
        kafka.send(made["events"], [b'{"id": "later", "at": 1358000000}'])  # a control tick
        wait_for(says("retrain 1: its challenger is in shadow"))
        child.signal(signal.SIGTERM)
        assert child.wait() == 0
    with store(folder) as opened:
        [taken] = [snapshot for snapshot in opened.snapshots() if snapshot.lineage["born"] == "replay"]
        data = opened.snapshot(taken.number)
    write(topics, tmp_path / "data")
    path = configure(tmp_path / "files", tmp_path / "data") / "riverd.toml"
    again, _ = train(load_config(path), path, Stretch(from_us, taken.lineage["range"][1]))
    learned, expected = decode(data)[1], decode(again)[1]
    assert all(learned[name].tobytes() == expected[name].tobytes() for name in expected)


def said(told, text):
    return sum(text in line for line in told["log"])


def test_a_loss_is_accepted_on_the_command_line(kafka, topics, tmp_path):
    from kafka import TopicPartition

    made = names(kafka, 2)
    send(kafka, made, topics, slice(0, 300))
    folder = on_kafka(tmp_path / "run", kafka, made)

    kafka.rest()
    first = finish(folder)["counts"]
    send(kafka, made, topics, slice(300, 600))
    kafka.admin.delete_records({TopicPartition(made["events"], 0): 500})
    kafka.rest()
    refused = run_child(folder)
    assert refused.wait() == 1
    assert "partition 0: wanted offset 300, the oldest is 500 (200 offsets lost)" in refused.result
    assert "riverd run --accept-loss earliest" in refused.result
    command = [sys.executable, "-m", "riverd", "run", "-c", str(folder / "riverd.toml"), "--until-idle", "--json"]
    command += ["--accept-loss", "earliest"]
    called = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    accepted = json.loads(called.stdout)["counts"]
    assert accepted["messages"] == first["messages"] * 2 - 200
    close_the_books(accepted)


def stamped(kafka, names, count):
    """Events and labels whose timestamps in Kafka are their times."""
    producer = kafka.producer()
    for i in range(count):
        at_ms = 1_700_000_000_000 + i * 7_000
        event = {"id": f"e{i}", "at": at_ms, "shop": "abc"[i % 3], "user": i % 7, "x": i % 11 / 5, "amount": 1.0}
        producer.produce(names["events"], json.dumps(event), timestamp=at_ms, partition=0)
        label = {"id": f"e{i}", "at": at_ms + 60_000, "y": i % 3 == 0}
        producer.produce(names["labels"], json.dumps(label), timestamp=at_ms + 60_000, partition=0)
    assert producer.flush(30) == 0


def without_times(folder):
    """The folder's config without the fields of the times."""
    path = folder / "riverd.toml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if line != 'time = "at"\n'))
    return folder


@pytest.mark.parametrize("client", CLIENTS)
def test_the_time_may_be_that_of_the_message(kafka, client, tmp_path):
    made = names(kafka, 1)
    stamped(kafka, made, 600)
    kafka.rest()
    by_field = finish(on_kafka(tmp_path / "field", kafka, made, client))
    by_stamp = finish(without_times(on_kafka(tmp_path / "stamp", kafka, made, client)))
    assert by_field["counts"]["matched"] == 600
    for same in ("model_sha256", "counts", "metrics", "alerts"):
        assert by_stamp[same] == by_field[same]


def test_check_says_whose_clock_it_is(kafka, tmp_path, capsys):
    made = {"events": kafka.topic(), "labels": kafka.topic(message_timestamp_type="LogAppendTime")}
    stamped(kafka, made, 50)
    folder = without_times(on_kafka(tmp_path / "run", kafka, made))
    assert main(["check", "-c", str(folder / "riverd.toml")]) == 1  # labels seem to come years after their events
    said = capsys.readouterr().out
    assert f"{made['events']}: CreateTime, the producer's, {made['labels']}: LogAppendTime, the broker's" in said
    assert f"note: topic {made['labels']!r}: the time of a message is when the broker got it" in said
