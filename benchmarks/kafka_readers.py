"""Who reads the topics, each in a process of its own: ``kafka_readers.py riverd|tail|river|quix|quix-river ...``.

A reader's clock runs from its first message to its last effect: start-up, and what is stored at the end, are left out.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

TOPICS = ("events", "outcomes")
START_MS = 1_700_000_000_000  # as in rows.py, which not every reader can import
WINDOW = timedelta(minutes=10)


class Clock:
    """Wall and CPU seconds from the first call to the last, and those until each stage was reached."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = defaultdict(float)
        self._began: tuple[float, float] | None = None
        self._last = 0.0, 0.0

    def reached(self, stage: str) -> None:
        now = time.perf_counter(), time.process_time()
        if self._began is None:
            self._began = now
        else:
            self.stages[stage] += now[0] - self._last[0]
        self._last = now

    def result(self, pairs: int) -> dict[str, Any]:
        assert self._began is not None
        wall_s, cpu_s = (last - began for last, began in zip(self._last, self._began, strict=True))
        return {"pairs": pairs, "wall_s": wall_s, "cpu_s": cpu_s, "stages": self.stages}


def riverd(config_path: Path) -> dict[str, Any]:
    """What ``riverd run --until-idle`` does."""
    from riverd import service
    from riverd.load_config import load_config

    clock = Clock()

    def reached(place: str) -> None:
        library, _, stage = place.partition(".")
        if library == "engine" and stage != "captured":  # what the writer does is no stage of the engine
            clock.reached(stage)

    ran = service.run(load_config(config_path), config_path, until_idle=True, reached=reached)
    return clock.result(ran.result["counts"]["resolved"])


def tail(config_path: Path) -> None:
    """What ``riverd run`` does; ten times a second it says when how many pairs had taken effect."""
    from riverd import service
    from riverd.load_config import load_config

    def show(status: Any) -> None:
        print(time.monotonic(), status.counts.get("resolved", 0), flush=True)

    service.run(load_config(config_path), config_path, until_idle=False, show=show)


class River:
    """FeatureHasher and LogisticRegression, as in peers.py."""

    def __init__(self) -> None:
        from river import linear_model, preprocessing

        self._hasher = preprocessing.FeatureHasher(n_features=1 << 18, seed=1)
        self._model = linear_model.LogisticRegression()

    def encode(self, row: dict[str, Any]) -> dict[Any, Any]:
        return self._hasher.transform_one({name: value for name, value in row.items() if name[0] != "_"})

    def ask(self, row: dict[str, Any]) -> dict[Any, Any]:
        x = self.encode(row)
        self._model.predict_proba_one(x)
        return x

    def learn(self, x: dict[Any, Any], label: bool) -> None:
        self._model.learn_one(x, label)


def river(address: str, pairs: int) -> dict[str, Any]:
    """A plain script: kafka-python, a dict of predictions that wait, and one of labels that came before them."""
    import msgspec
    from kafka import KafkaConsumer, TopicPartition

    model, decode, clock = River(), msgspec.json.Decoder().decode, Clock()
    asked: dict[str, dict[Any, Any]] = {}
    early: dict[str, bool] = {}
    joined = 0
    consumer = KafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest", enable_auto_commit=False)
    reading = {
        TopicPartition(topic, number) for topic in TOPICS for number in consumer.partitions_for_topic(topic) or ()
    }
    consumer.assign(list(reading))
    while reading:
        for partition, records in consumer.poll(timeout_ms=1000).items():
            clock.reached("read")
            if records[-1].timestamp >= START_MS + pairs and partition in reading:
                reading.remove(partition)
                consumer.pause(partition)
            for record in records:
                if record.timestamp >= START_MS + pairs:
                    break
                row = decode(record.value)
                key = row["_id"]
                if partition.topic == "events":
                    x = model.ask(row)
                    if key in early:
                        model.learn(x, early.pop(key))
                        joined += 1
                    else:
                        asked[key] = x
                elif key in asked:
                    model.learn(asked.pop(key), row["_late"])
                    joined += 1
                else:
                    early[key] = row["_late"]
            clock.reached("joined")
    return clock.result(joined)


def quix(address: str, pairs: int, *, learning: bool) -> dict[str, Any]:
    """quix-streams' left interval join in one process, by the keys and timestamps of the messages.

    It says every event at once without a label, and again with it: river is asked at the first and, as what was
    asked is not kept, encodes anew and learns at the second. All by default: state in RocksDB and on changelog
    topics, committed every 5 s, at least once. An id's state is removed only when the same id comes again.
    """
    from quixstreams import Application

    model, clock, joined = River() if learning else None, Clock(), 0

    def merge(event: dict[str, Any] | None, label: dict[str, Any] | None) -> dict[str, Any]:
        nonlocal joined
        clock.reached("joined")
        assert event is not None
        if label is None:
            if model is not None:
                model.ask(event)
            return event
        if model is not None:
            model.learn(model.encode(event), label["_late"])
        joined += 1
        if joined == pairs:
            results.append(clock.result(joined))
            application.stop()
        return event | label

    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as state:
        application = Application(
            address, consumer_group=f"quix-{uuid.uuid4()}", auto_offset_reset="earliest", state_dir=state, loglevel=None
        )
        events, labels = (application.dataframe(application.topic(topic)) for topic in TOPICS)
        events.join_interval(labels, how="left", on_merge=merge, grace_ms=WINDOW, forward_ms=WINDOW)
        application.run()
    return results[0]


def main() -> None:
    name, where = sys.argv[1:3]
    if name == "tail":
        tail(Path(where))
    elif name == "riverd":
        print(json.dumps(riverd(Path(where))))
    elif name == "river":
        print(json.dumps(river(where, int(sys.argv[3]))))
    else:
        print(json.dumps(quix(where, int(sys.argv[3]), learning=name == "quix-river")))


if __name__ == "__main__":
    main()
