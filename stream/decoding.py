"""From raw JSON to typed columns; what can't be decoded is marked dead, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream import columns
from stream.messages import EMPTY, Decoded, Id, Messages, Number, Outcome, Time, Value
from stream.records import DEAD, MAX_WORDS, TOMBSTONE, Events, Labels
from stream.schema import Category, EventSchema, LabelSchema
from stream.source import Batch, Partition


@dataclass(frozen=True, slots=True)
class Chunk:
    """The decoded messages of one batch, in its order."""

    partition: Partition
    columns: Events | Labels
    next_position: int
    messages: list[bytes]
    reasons: dict[int, str]  # by position: why a message is dead


class EventDecoder:
    """Decodes the events of one topic.

    Parameters
    ----------
    schema
        The fields to read; all others are skipped unseen.
    now_us
        The wall clock in microseconds, to refuse times that lie ahead of it.
    """

    def __init__(self, schema: EventSchema, *, now_us: Callable[[], int]) -> None:
        self._schema = schema
        self._now_us = now_us
        self._ids = _paths(schema.id)
        fields: dict[str, Any] = dict.fromkeys(self._ids, Id) | _time(schema.time)
        if schema.label is not None:
            fields[schema.label] = Outcome if schema.positive is None else Value
        fields |= dict.fromkeys((path for path in (schema.weight, schema.score) if path is not None), Number)
        fields |= dict.fromkeys((*schema.categories, *schema.slices), Category)
        fields |= dict.fromkeys(schema.words, list[str] | None)
        fields |= dict.fromkeys((*schema.numbers, *schema.buckets), Number)
        self._messages = Messages(fields, _required(self._ids))
        self._id_messages = Messages(dict.fromkeys(self._ids, Id))

    def decode(self, batch: Batch, partition: int) -> Chunk:
        """Columns of the batch's events; ``partition`` is the number that stands for theirs."""
        schema, messages, count = self._schema, self._messages, len(batch.messages)
        decoded, reasons = messages.decode(batch)
        time = _times(messages, decoded, batch, schema.time, reasons, now_us=self._now_us())
        key, check = _ids(messages, decoded, self._ids, count, reasons)
        label = np.full(count, -1, np.int8)
        if schema.label is not None:
            label = _outcomes(messages, decoded, count, schema.label, schema.positive, reasons)
        weight, score = np.ones(count, np.float32), np.zeros(count)
        if schema.weight is not None:
            weight = columns.weights(messages.column(decoded, schema.weight), count, schema.weight, reasons)
        if schema.score is not None:
            score = columns.scores(messages.column(decoded, schema.score), count, schema.score, reasons)
        events = Events(
            key=key,
            check=check,
            time=time,
            order=time,
            partition=np.full(count, partition, np.int32),
            position=batch.positions,
            flaw=_flaws(reasons, count),
            label=label,
            weight=weight,
            score=score,
            categories=self._categories(decoded, time),
            numbers=messages.table(decoded, schema.numbers, count),
            words=self._words(decoded, count),
            slices=self._hashed(decoded, schema.slices, count),
        )
        return _chunk(batch, events, reasons)

    def ids_of(self, messages: list[bytes]) -> list[tuple[Any, ...]]:
        """The ids of sound messages, each as the values of its fields."""
        decoded, _ = self._id_messages.decode(Batch(Partition("", ""), np.zeros(0, np.int64), 0, messages))
        return list(zip(*(self._id_messages.column(decoded, path) for path in self._ids), strict=True))

    def _hashed(self, decoded: Decoded, fields: Mapping[str, Mapping[Category, int]], count: int) -> NDArray[np.uint64]:
        table = np.empty((count, len(fields)), np.uint64)
        for column, (path, hashes) in enumerate(fields.items()):
            table[:, column] = np.fromiter(
                map(hashes.__getitem__, self._messages.column(decoded, path)), np.uint64, count
            )
        return table

    def _categories(self, decoded: Decoded, time: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Fields, then parts of the time, then buckets: shape (n, all of them)."""
        schema, messages, count = self._schema, self._messages, len(time)
        table = np.empty((count, len(schema.categories) + len(schema.time_parts) + len(schema.buckets)), np.uint64)
        column = len(schema.categories)
        table[:, :column] = self._hashed(decoded, schema.categories, count)
        for unit_us, hashed in schema.time_parts:
            table[:, column] = hashed[(time // unit_us) % len(hashed)]
            column += 1
        for path, (edges, hashed) in schema.buckets.items():
            # NaN sorts behind every edge, where the hash of null stands
            value = np.fromiter(messages.column(decoded, path), np.float64, count)
            place = np.searchsorted(edges, value, side="right") + np.isnan(value)
            table[:, column] = hashed[place]
            column += 1
        return table

    def _words(self, decoded: Decoded, count: int) -> NDArray[np.uint64]:
        fields = [
            columns.words(self._messages.column(decoded, path), count, hashes, MAX_WORDS)
            for path, hashes in self._schema.words.items()
        ]
        return np.concatenate([np.zeros((count, 0), np.uint64), *fields], axis=1)


class LabelDecoder:
    """Decodes the labels of one topic."""

    def __init__(self, schema: LabelSchema, *, now_us: Callable[[], int]) -> None:
        self._schema = schema
        self._now_us = now_us
        self._ids = _paths(schema.id)
        fields: dict[str, Any] = dict.fromkeys(self._ids, Id) | _time(schema.time)
        if schema.value is not None:
            fields[schema.value] = Outcome if schema.positive is None else Value
        self._messages = Messages(fields, _required(self._ids))

    def decode(self, batch: Batch, partition: int) -> Chunk:
        """Columns of the batch's labels; ``partition`` is the number that stands for theirs."""
        schema, messages, count = self._schema, self._messages, len(batch.messages)
        decoded, reasons = messages.decode(batch)
        time = _times(messages, decoded, batch, schema.time, reasons, now_us=self._now_us())
        key, check = _ids(messages, decoded, self._ids, count, reasons)
        value = np.ones(count, np.int8)
        if schema.value is not None:
            value = _outcomes(messages, decoded, count, schema.value, schema.positive, reasons)
        labels = Labels(
            key=key,
            check=check,
            time=time,
            order=time,
            partition=np.full(count, partition, np.int32),
            position=batch.positions,
            flaw=_flaws(reasons, count),
            value=value,
        )
        return _chunk(batch, labels, reasons)


def _paths(paths: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return () if paths is None else (paths,) if isinstance(paths, str) else paths


def _required(ids: tuple[str, ...]) -> tuple[str, ...]:
    # one field at the top is checked by the decoder itself; others by the columns
    return ids if len(ids) == 1 and "." not in ids[0] else ()


def _time(path: str | None) -> dict[str, Any]:
    return {} if path is None else {path: Time}


def _times(
    messages: Messages, decoded: Decoded, batch: Batch, path: str | None, reasons: columns.Reasons, *, now_us: int
) -> NDArray[np.int64]:
    count = len(batch.messages)
    if path is None:
        return columns.stamped_times(batch.times, count, reasons, now_us=now_us)
    return columns.times(messages.column(decoded, path), count, path, reasons, now_us=now_us, stamps=batch.times)


def _ids(
    messages: Messages, decoded: Decoded, paths: tuple[str, ...], count: int, reasons: columns.Reasons
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    if not paths:
        return np.zeros(count, np.uint64), np.zeros(count, np.uint32)
    return columns.ids([messages.column(decoded, path) for path in paths], count, paths, reasons)


def _outcomes(
    messages: Messages,
    decoded: Decoded,
    count: int,
    path: str,
    positive: Collection[Category] | None,
    reasons: columns.Reasons,
) -> NDArray[np.int8]:
    values = messages.column(decoded, path)
    if positive is None:
        return columns.outcomes(values, count, path, reasons)
    return columns.outcomes_by_value(values, count, path, positive, reasons)


def _flaws(reasons: Mapping[int, str], count: int) -> NDArray[np.uint8]:
    flaw = np.zeros(count, np.uint8)
    for index, reason in reasons.items():
        flaw[index] = TOMBSTONE if reason == EMPTY else DEAD
    return flaw


def _chunk(batch: Batch, decoded: Events | Labels, reasons: Mapping[int, str]) -> Chunk:
    by_position = {int(batch.positions[index]): reason for index, reason in reasons.items()}
    return Chunk(batch.partition, decoded, batch.next_position, batch.messages, by_position)
