"""What the messages of the topics say about the config: read through the daemon's own decoders."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.hashing import NULL, hash_feature
from riverd.assembly import Parts
from riverd.config import Config
from riverd.durations import format_duration
from riverd.screen.notation import count, share, span
from riverd.start.guess_windows import round_up
from riverd.start.sample import scalars
from stream.decoding import Chunk, EventDecoder, LabelDecoder
from stream.records import DEAD, MAX_WORDS, MICROSECONDS, SOUND
from stream.source import Source

UNDECODABLE = 0.01  # a larger share of dead messages is a fault
ORPHANS = 0.2  # of the labels whose event should be there
OUTSIDE = 0.01  # of the labels outside the window
REASONS = 3


@dataclass(slots=True)
class Findings:
    """What was found: faults, each with place, reason and remedy, notes, and figures by name."""

    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Read:
    """The messages of one topic that were looked at."""

    topic: str
    chunks: list[Chunk]

    @property
    def messages(self) -> int:
        return sum(len(chunk.messages) for chunk in self.chunks)

    def column(self, name: str, *, sound: bool = True) -> NDArray[Any]:
        """One column of all chunks, of the messages that could be decoded."""
        parts = [
            getattr(c.columns, name)[c.columns.flaw == SOUND] if sound else getattr(c.columns, name)
            for c in self.chunks
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def read_topic(source: Source, decoder: EventDecoder | LabelDecoder, topic: str, *, at_most: int) -> Read:
    """The first messages of each partition of a topic, decoded."""
    partitions = [partition for partition in source.partitions() if partition.topic == topic]
    chunks: list[Chunk] = []
    for number, partition in enumerate(partitions):
        left = -(-at_most // len(partitions))
        while left > 0 and not source.at_end(partition):
            batches = source.poll([partition], left)
            chunks += [decoder.decode(batch, number) for batch in batches]
            left -= sum(len(batch.messages) for batch in batches)
    return Read(topic, chunks)


def check_decoding(read: Read, findings: Findings) -> None:
    """Say how many messages can't be decoded, why, and where one of each kind is."""
    if not read.messages:
        findings.faults.append(
            f"topic {read.topic!r} has no messages.\n"
            "  Let its producer send some (to files: append lines to a *.jsonl in its folder), or correct topic."
        )
        return
    kinds: dict[str, list[str]] = {}
    for chunk in read.chunks:
        dead = set(chunk.columns.position[chunk.columns.flaw == DEAD].tolist())
        for position, reason in sorted(chunk.reasons.items()):
            if position in dead:
                place = f"{chunk.partition.topic}/{chunk.partition.name} at {position:,}: {reason}"
                kinds.setdefault(re.sub(r"\d[\d.,:TZ-]*", "#", reason), []).append(place)
    bad = sum(map(len, kinds.values()))
    findings.figures[read.topic] = {"messages": read.messages, "undecodable": bad}
    if not bad:
        return
    most = sorted(kinds.values(), key=len, reverse=True)[:REASONS]
    lines = "".join(f"\n  {len(places):>7,} x  {places[0]}" for places in most)
    text = (
        f"topic {read.topic!r}: {count(bad)} of {count(read.messages)} messages "
        f"({share(bad / read.messages)}) can't be decoded.{lines}"
    )
    if bad > UNDECODABLE * read.messages:
        findings.faults.append(f"{text}\n  Correct the config if it names the wrong field, else the producer.")
    else:
        findings.notes.append(f"{text}\n  They become dead letters; the rest is used.")


def check_features(config: Config, events: Read, findings: Findings) -> None:
    """Find fields that no message has."""
    numbers = events.column("numbers")
    categories = events.column("categories")
    absent = [name for i, name in enumerate(config.features.numbers) if np.isnan(numbers[:, i]).all()]
    absent += [
        name
        for i, name in enumerate(config.features.categories)
        if (categories[:, i] == np.uint64(hash_feature(name, NULL))).all()
    ]
    words = events.column("words")
    absent += [
        name for i, name in enumerate(config.features.words) if not words[:, i * MAX_WORDS : (i + 1) * MAX_WORDS].any()
    ]
    if not absent or not len(numbers):
        return
    known = sorted(_fields(events))
    for name in absent:
        near = difflib.get_close_matches(name, known, n=1)
        last = [path for path in known if path.rpartition(".")[2] == name]
        remedy = f"Did you mean {(last or near)[0]}?" if last or near else "Remove it, or correct its name."
        findings.faults.append(
            f"[features] {name!r} is missing or null in all {count(len(numbers))} events.\n  {remedy}"
        )


def _fields(events: Read) -> Collection[str]:
    fields: set[str] = set()
    for chunk in events.chunks[:1]:
        for message in chunk.messages[:200]:
            try:
                value = msgspec.json.decode(message)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if isinstance(value, dict):
                fields.update(path for path, _ in scalars(value))
    return fields


def check_join(config: Config, events: Read, labels: Read, findings: Findings) -> None:
    """See whether labels find their events, and when they come."""
    assert config.labels is not None
    event_time, label_time = events.column("time"), labels.column("time")
    if not len(event_time) or not len(label_time):
        return
    keys, first = np.unique(events.column("key"), return_index=True)
    label_keys = labels.column("key")
    place = np.minimum(np.searchsorted(keys, label_keys), len(keys) - 1)
    found = keys[place] == label_keys
    # a label's event may lie before or after what was read, unless the label itself lies within
    expected = (label_time >= event_time.min()) & (label_time <= event_time.max())
    there = int(np.count_nonzero(expected))
    orphans = int(np.count_nonzero(expected & ~found))
    findings.figures["labels_without_event"] = orphans / there if there else None
    if orphans > ORPHANS * there:
        findings.faults.append(
            f"{count(orphans)} of {count(there)} labels ({share(orphans / there)}) find no event.\n"
            f"  [labels] id = {config.labels.id!r} must hold what [events] id = {config.events.id!r} holds. "
            "Compare a message of each."
        )
    delay_us = label_time[found] - event_time[first[place[found]]]
    if len(delay_us):
        _check_delays(config, delay_us, findings)


def _check_delays(config: Config, delay_us: NDArray[np.int64], findings: Findings) -> None:
    assert config.labels is not None
    window_us, early_us = config.labels.window, config.labels.early_window
    quantiles = {q: float(np.quantile(delay_us, q)) for q in (0.5, 0.9, 0.99, 0.999)}
    findings.figures["delay_s"] = {f"{q:g}": us / MICROSECONDS for q, us in quantiles.items()}
    late = float(np.mean(delay_us > window_us))
    early = float(np.mean(delay_us < -early_us))
    if late > OUTSIDE:
        advised = format_duration(round_up(quantiles[0.999]))
        findings.faults.append(
            f'[labels] window = "{format_duration(window_us)}": {share(late)} of the labels come later, in vain.\n'
            f"  99.9 % come within {span(quantiles[0.999] / MICROSECONDS)}: "
            f'write window = "{advised}", or accept the loss.'
        )
    if early > OUTSIDE:
        lead_us = float(np.quantile(-delay_us[delay_us < 0], 0.999))
        findings.faults.append(
            f'[labels] early_window = "{format_duration(early_us)}": {share(early)} of the labels come longer before '
            f"their event.\n"
            f'  Write early_window = "{format_duration(round_up(lead_us))}", or correct [labels] time.'
        )


def check_size(config: Config, parts: Parts, events: Read, findings: Findings, *, available: int | None) -> None:
    """Weigh the rate of events against windows, memory and the table of weights."""
    time = events.column("time")
    span_us = int(time.max() - time.min()) if len(time) else 0
    if not span_us:
        return
    per_s = (len(time) - 1) / (span_us / MICROSECONDS)
    labels = config.labels
    window_us = labels.window if labels else 0
    known_us = window_us + (window_us if labels and labels.remember is None else labels.remember or 0 if labels else 0)
    rows = parts.table.rows
    row_bytes = sum(getattr(rows, name)[:1].nbytes for name in rows._fields if name not in ("cell", "used"))
    feature_bytes = rows.cell.itemsize * parts.model.cells
    known, pending = per_s * known_us / MICROSECONDS, per_s * window_us / MICROSECONDS
    index_bytes = 16 / 0.45  # its load swings between 0.3 and 0.6
    memory = (
        known * (row_bytes + index_bytes) + pending * feature_bytes + parts.model.slot_bytes * 2.0**config.model.bits
    )
    findings.figures["size"] = {
        "events_per_second": per_s,
        "pending_rows": round(pending),
        "known_rows": round(known),
        "bytes_per_row": row_bytes + feature_bytes + round(index_bytes),
        "memory_bytes": round(memory),
    }
    if available is not None and memory > available:
        findings.faults.append(
            f"[labels] window and remember keep {count(known)} events in memory: {memory / 1e9:,.1f} GB, and "
            f"{available / 1e9:,.1f} GB are free.\n  Make window or remember shorter, or give the machine more memory."
        )
    for alert in config.alerts:
        if alert.window is None:
            continue
        most = per_s * alert.window / MICROSECONDS
        if most < alert.min_labelled:
            findings.faults.append(
                f"[[alerts]] {alert.name!r} never has a verdict: {format_duration(alert.window)} holds about "
                f"{count(most)} events, and min_labelled = {alert.min_labelled}.\n"
                "  Choose a longer window or a smaller min_labelled."
            )


def check_slots(config: Config, events: Read, findings: Findings) -> None:
    """Estimate how many features share a slot."""
    distinct = sum(_distinct(config, events)) + len(config.features.numbers)
    slots = 2**config.model.bits
    shared = 1 - float(np.exp(-max(distinct - 1, 0) / slots))
    findings.figures["slots"] = {"features_seen": distinct, "slots": slots, "share_colliding": shared}
    if shared > 0.05:
        bits = min(int(np.ceil(np.log2(distinct * 20))), 28)
        findings.faults.append(
            f"[model] bits = {config.model.bits}: of {count(distinct)} features seen, "
            f"{share(shared)} share a weight with another.\n"
            f"  Write bits = {bits}, or drop a field with very many values."
        )


def _distinct(config: Config, events: Read) -> Iterator[int]:
    """Distinct values of each categorical column, and pairs of each cross."""
    categories, words = events.column("categories"), events.column("words")
    for i in range(categories.shape[1]):
        yield len(np.unique(categories[:, i]))
    yield len(np.unique(words[words != 0]))
    names = [*config.features.categories, *config.features.time_parts]
    for first, second in config.features.crosses:
        if first in names and second in names:
            pair: Sequence[NDArray[np.uint64]] = [categories[:, names.index(name)] for name in (first, second)]
            yield len(np.unique(pair[0] * np.uint64(0x9E3779B97F4A7C15) + pair[1]))
