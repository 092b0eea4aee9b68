"""Synthetic streams with everything that goes wrong in real ones, and engines that read them."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monitors.quality import quality
from riverd.assembly import assemble
from riverd.config import Config
from riverd.engine import Engine
from riverd.judgement import ENDS
from riverd.load_config import parse_config
from riverd.result import METRICS
from stream.memory import MemorySource
from stream.records import MICROSECONDS
from stream.source import Batch, Partition, Source
from stream.timestamps import to_text

MINUTE_US = 60 * MICROSECONDS
START_US = 1_357_000_000 * MICROSECONDS
NOW_US = 1_700_000_000 * MICROSECONDS  # the engine's wall clock: after all of it
SPACING_US = 20 * MICROSECONDS  # three events a minute
WINDOW_US = 60 * MINUTE_US
EARLY_US = MINUTE_US

Topics = dict[Partition, list[bytes]]


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it is sent: at ``sent_us`` of event time, about the event number ``event``."""

    topic: str
    sent_us: int
    event: int
    payload: bytes


def pairs(count: int, *, seed: int, disorder: bool = False) -> list[Message]:
    """About ``count`` events and their labels, in the order in which they are sent; no two times are equal.

    Among them are nulls, missing, early, late, repeated and corrected labels, orphans, repeated and
    conflicting events, dead messages and tombstones. Every partition of it is in order of time, unless there
    is ``disorder``: then some messages are sent long after the time that they bear.
    """
    rng = random.Random(seed)
    taken: set[int] = set()

    def at(time_us: float) -> int:
        unique_us = round(time_us)
        while unique_us in taken:
            unique_us += 1
        taken.add(unique_us)
        return unique_us

    def held_up(time_us: int) -> int:
        return time_us + rng.randrange(2 * WINDOW_US) if disorder and rng.random() < 0.05 else time_us

    sent: list[Message] = []
    for i in range(count):
        time_us = at(START_US + i * SPACING_US + rng.random() * SPACING_US)
        event, positive = _event(rng, i, count, time_us)
        sent_us = held_up(time_us)
        sent.append(Message("events", sent_us, i, _json(event)))
        if rng.random() < 0.02:  # the producer tries again
            sent.append(Message("events", sent_us, i, _json(event)))
        if rng.random() < 0.01:  # another event with this id
            other_us = at(time_us + rng.random() * WINDOW_US)
            sent.append(Message("events", other_us, i, _json(event | {"at": to_text(other_us), "x": 3.5})))
        if rng.random() < 0.01:
            sent.append(Message("events", sent_us, i, rng.choice(DEAD_EVENTS)))
        if rng.random() < 0.01:
            sent.append(Message("events", sent_us, i, b""))
        for label_us, value in _labels(rng, time_us, positive):
            unique_us = at(label_us)
            label = {"id": event["id"], "at": to_text(unique_us), "y": value}
            sent.append(Message("labels", held_up(unique_us), i, _json(label)))
        if rng.random() < 0.02:  # of an event that never happened
            orphan_us = at(time_us + rng.random() * WINDOW_US)
            label = {"id": f"none-{i}", "at": to_text(orphan_us), "y": True}
            sent.append(Message("labels", orphan_us, i, _json(label)))
        if rng.random() < 0.01:
            sent.append(Message("labels", time_us, i, rng.choice(DEAD_LABELS)))
        if rng.random() < 0.01:
            sent.append(Message("labels", time_us, i, b" "))
    sent.sort(key=lambda message: message.sent_us)
    return sent


DEAD_EVENTS = (
    b"{",
    b"[]",
    b'{"id": "e", "at": "soon"}',
    b'{"id": "e", "at": 1357000000, "x": NaN}',
    b'{"at": 1}',
    b"\xff",
)
DEAD_LABELS = (b"}", b'{"id": "e7", "at": 1357000000, "y": 2}', b'{"id": "e7", "at": 1357000000}', b'"e7"')


def _event(rng: random.Random, i: int, count: int, time_us: int) -> tuple[dict[str, Any], bool]:
    shop, x = rng.choice("abcdefgh"), rng.gauss(0.0, 1.0)
    event = {
        "id": f"e{i}",
        "at": to_text(time_us),
        "shop": shop if rng.random() > 0.05 else None,
        "user": rng.randrange(200),
        "x": x if rng.random() > 0.1 else None,
        "amount": rng.lognormvariate(3.0, 1.0),
    }
    # the world turns around for a while, so that alerts fire and are resolved
    turned = 0.4 < i / count < 0.6
    logit = (2.0 * x + ord(shop) - ord("d")) * (-1.0 if turned else 1.0) + (2.0 if turned else -1.0)
    return event, rng.random() < 1 / (1 + math.exp(-logit))


def _labels(rng: random.Random, time_us: int, positive: bool) -> list[tuple[float, bool]]:
    """When the labels of an event come, and what each says."""
    chance = rng.random()
    if chance < 0.1:
        return []
    if chance < 0.14:
        delay_us = -rng.random() * EARLY_US
    elif chance < 0.18:
        delay_us = WINDOW_US * (1 + 2 * rng.random())
    else:
        delay_us = min(rng.expovariate(1 / (20 * MINUTE_US)), WINDOW_US - 1)
    labels = [(time_us + delay_us, positive)]
    while rng.random() < 0.05:
        again_us = labels[-1][0] + rng.random() * WINDOW_US
        labels.append((again_us, positive if rng.random() < 0.6 else not positive))
    return labels


def _json(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode()


def split(messages: Sequence[Message], *, partitions: int) -> Topics:
    """Each topic in so many partitions of unequal size, and one that stays empty."""
    topics: Topics = {
        Partition(topic, str(number)): [] for topic in ("events", "labels") for number in range(partitions + 1)
    }
    for message in messages:
        # both copies of a repeated event must lie in one partition, where their equal times are in order
        number = min(int(random.Random(message.event).expovariate(1.0)), partitions - 1)
        topics[Partition(message.topic, str(number))].append(message.payload)
    return topics


def labelled(count: int, *, seed: int) -> Topics:
    """Events that bring their labels, in two partitions."""
    topics: Topics = {Partition("events", "0"): [], Partition("events", "1"): []}
    rng = random.Random(seed)
    for i in range(count):
        event, positive = _event(rng, i, count, START_US + i * SPACING_US)
        topics[Partition("events", str(i % 2))].append(_json(event | {"y": positive}))
    return topics


def write(topics: Topics, folder: Path) -> None:
    """As files, a message a line."""
    for (topic, name), messages in topics.items():
        path = folder / topic / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(message + b"\n" for message in messages))


SETTINGS: dict[str, dict[str, Any]] = {
    "model": {"name": "shops", "bits": 12},
    "events": {"topic": "events", "id": "id", "time": "at"},
    "labels": {"topic": "labels", "id": "id", "time": "at", "value": "y", "window": "1h", "early_window": "1m"},
    "features": {
        "categories": ["shop", "user"],
        "numbers": ["x", "amount"],
        "crosses": [["shop", "hour"]],
        "time_parts": ["hour", "weekday"],
    },
    "monitors": {"windows": ["30m", "2h"], "guardrails": ["amount"], "slices": ["shop"]},
    "web": {"listen": ""},
}
ALERTS: list[dict[str, Any]] = [
    {"name": "loss", "metric": "logloss", "window": "2h", "above": 0.7, "for": "10m", "recover": 0.6},
    {"name": "rate", "metric": "positive_rate", "window": "30m", "above": 0.65, "min_labelled": 20},
    {"name": "area", "metric": "roc_auc", "window": "2h", "below": 0.6, "on": "provisional", "min_labelled": 50},
    {"name": "shop-a", "metric": "logloss", "slice": "shop=a", "window": "2h", "above": 0.7, "min_labelled": 20},
    {"name": "missing", "metric": "coverage", "window": "30m", "below": 0.8, "recover": 0.85, "min_labelled": 20},
]


def settings(*, alerts: Sequence[Mapping[str, Any]] = ALERTS, **sections: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a config that fits ``pairs``, with these keys changed in these sections."""
    values: dict[str, Any] = {name: dict(keys) for name, keys in SETTINGS.items()}
    for name, keys in sections.items():
        values[name] = {**values.get(name, {}), **keys}
    return values | {"alerts": [dict(alert) for alert in alerts]}


def to_toml(values: Mapping[str, Any]) -> str:
    """The text of a riverd.toml with these values."""
    lines: list[str] = []
    for section, keys in values.items():
        for table in keys if isinstance(keys, list) else [keys]:
            lines.append(f"[[{section}]]" if isinstance(keys, list) else f"[{section}]")
            # what JSON writes of text, numbers, truths and lists is TOML too
            lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def config(*, alerts: Sequence[Mapping[str, Any]] = ALERTS, **sections: Mapping[str, Any]) -> Config:
    return parse_config(settings(alerts=alerts, **sections), "riverd.toml")


def labelled_config(**sections: Mapping[str, Any]) -> Config:
    """A config that fits ``labelled``."""
    values = settings(events={"label": "y"}, **sections)
    del values["labels"]
    return parse_config(values, "riverd.toml")


def engine_on(source: Source, config: Config, *, bounded: bool = True) -> Engine:
    return Engine(config, assemble(config, now_us=lambda: NOW_US), source, bounded=bounded)


def finish(engine: Engine) -> None:
    """Work off all that is there."""
    for _ in range(1_000_000):
        engine.step()
        if engine.finished:
            return
    raise AssertionError("the engine does not come to the end")


def run(topics: Topics, config: Config) -> Engine:
    engine = engine_on(MemorySource(topics), config)
    finish(engine)
    return engine


def outcome(engine: Engine) -> dict[str, Any]:
    """All that must not depend on how the stream was polled or interrupted, floats to the bit."""
    parts = engine.parts
    judged = quality(parts.panes.total)
    return {
        "model_sha256": parts.model.sha256,
        "counts": parts.joiner.fates(),
        "watermark": parts.joiner.watermark,
        "metrics": {name: getattr(judged, name) for name in METRICS},
        "windows": engine.judgement.windows(),
        "slices": {
            (window_us, end): engine.judgement.slices(end, window_us)
            for window_us in engine.config.monitors.windows
            for end in ENDS
        },
        "standings": {name: replace(standing) for name, standing in parts.rules.standings.items()},
        "outside": parts.panes.outside,
        "watch": {name: array.tolist() for name, array in parts.watch.state().items()},
        "reference": hashlib.sha256(parts.model.frozen.weights.tobytes()).hexdigest(),
    }


def close_the_books(counts: Mapping[str, int]) -> None:
    """Every message has exactly one fate."""
    assert counts["messages"] == counts["events"] + counts["labels"] + counts["tombstones"] + counts["dead"]
    fates = ("pending", "resolved", "expired", "duplicate_events", "conflict")
    assert counts["events"] == sum(counts[fate] for fate in fates)
    fates = ("matched", "waiting", "late", "duplicate_labels", "correction", "orphan")
    assert counts["labels"] == sum(counts[fate] for fate in fates)


class UnevenSource(MemorySource):
    """Hands out any number of messages of any partition, often none."""

    def __init__(self, topics: Mapping[Partition, Sequence[bytes]], *, seed: int, at_most: int = 300) -> None:
        super().__init__(topics)
        self._random = random.Random(seed)
        self._at_most = at_most

    def poll(self, wanted: Collection[Partition], max_records: int) -> list[Batch]:
        batches: list[Batch] = []
        for partition in sorted(wanted):
            count = min(max_records, self._random.choice((0, 0, 1, self._random.randrange(1, self._at_most))))
            batches += super().poll([partition], count)
        return batches
