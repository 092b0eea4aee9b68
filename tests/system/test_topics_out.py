"""Predictions and dead letters on topics: all of them, in order, and the same ones whatever happens on the way."""

import json
import signal
from collections import defaultdict

import pytest

from riverd.predictions import probability
from stream.memory import MemorySource
from stream.timestamps import to_text
from tests.riverd.streams import config, engine_on, pairs, split
from tests.riverd.streams import finish as finish_engine
from tests.system.children import finish, run_child
from tests.system.kafka import CLIENTS
from tests.system.streams_on_disk import configure

pytestmark = pytest.mark.system

TOPICS = split(pairs(3_000, seed=3), partitions=2)


@pytest.fixture(scope="module")
def expected():
    """Each prediction as it was served: by the id of its event, in the order in which they were asked for."""
    elsewhere = {"kind": "kafka", "bootstrap_servers": ["nowhere:9092"]}
    engine = engine_on(MemorySource(TOPICS), config(source=elsewhere, predictions={"topic": "scores"}))
    finish_engine(engine)
    predictions = defaultdict(list)
    for batch in engine.unsaved.served:
        for (id_,), time, logit in zip(*batch, strict=True):
            predictions[id_].append({"time": to_text(int(time)), "score": probability(float(logit))})
    assert sum(map(len, predictions.values())) == engine.parts.joiner.fates()["resolved"] + sum(
        engine.parts.joiner.fates()[fate] for fate in ("pending", "expired")
    )
    return dict(predictions), engine.unsaved.dead_letters


def sent_out(kafka, topic):
    """What a consumer of the topic gets: (key, value, headers), partition by partition in order."""
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=kafka.address)
    places = [TopicPartition(topic, number) for number in (0, 1)]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    ends, messages = consumer.end_offsets(places), []
    while any(consumer.position(place) < ends[place] for place in places):
        for records in consumer.poll(1_000).values():
            messages += [(record.key, record.value, dict(record.headers)) for record in records]
    consumer.close()
    return messages


def on_kafka(folder, kafka, client, **of_scores):
    names = {name: kafka.topic(2) for name in ("events", "labels", "dead")} | {"scores": kafka.topic(2, **of_scores)}
    for (topic, number), messages in TOPICS.items():
        kafka.send(names[topic], [message or None for message in messages], int(number))
    configure(
        folder,
        folder,
        source={"kind": "kafka", "bootstrap_servers": [kafka.address], "client": client, "poll_records": 100},
        events={"topic": names["events"]},
        labels={"topic": names["labels"]},
        predictions={"topic": names["scores"]},
        dead_letters={"topic": names["dead"]},
    )
    kafka.rest()
    return names


@pytest.mark.parametrize("client", CLIENTS)
def test_every_prediction_goes_out_once_and_again_only_after_a_kill(kafka, expected, client, tmp_path):
    predictions, letters = expected
    folder = tmp_path / "run"
    names = on_kafka(folder, kafka, client)
    finish(folder)
    out = sent_out(kafka, names["scores"])
    found = defaultdict(list)
    for key, value, _ in out:
        said = json.loads(value)
        assert key == said["id"].encode()
        assert said["decision"] == (said["score"] >= 0.5)
        assert said["model"] == "shops"
        found[said["id"]].append({"time": said["time"], "score": said["score"]})
    assert found == predictions  # bit for bit: the scores were those that were learned from
    dead = sent_out(kafka, names["dead"])
    assert sorted((value, headers["reason"].decode()) for _, value, headers in dead) == sorted(
        (letter.payload, letter.reason) for letter in letters
    )
    assert {headers["topic"].decode() for _, _, headers in dead} == {names["events"], names["labels"]}

    folder = tmp_path / "killed"
    names = on_kafka(folder, kafka, client)
    for place in ("topics.sent:1", "checkpoint.commit:1", "checkpoint.committed:1", "topics.sent:1"):
        assert run_child(folder, fails_at=place).wait() == -signal.SIGKILL
    finish(folder)
    again = sent_out(kafka, names["scores"])
    assert len(again) > len(out)  # a whole parcel was sent twice
    once = {(said["id"], said["time"]): said["score"] for said in (json.loads(value) for _, value, _ in again)}
    assert once == {(id_, said["time"]): said["score"] for id_, all_said in predictions.items() for said in all_said}
    assert len({(key, value) for key, value, _ in again}) == len(once)  # the same content each time
    assert len(sent_out(kafka, names["dead"])) >= len(dead)


def test_a_topic_that_takes_nothing_is_tried_again_and_does_not_hold_up_the_other(kafka, expected, tmp_path):
    predictions, letters = expected
    names = on_kafka(tmp_path / "run", kafka, "kafka-python", max_message_bytes=1)
    finish(tmp_path / "run")
    assert sent_out(kafka, names["scores"]) == []
    assert len(sent_out(kafka, names["dead"])) == len(letters)
    kafka.set_topic(names["scores"], max_message_bytes=1 << 20)
    kafka.rest()
    finish(tmp_path / "run")
    assert len(sent_out(kafka, names["scores"])) == sum(map(len, predictions.values()))
    assert len(sent_out(kafka, names["dead"])) == len(letters)
