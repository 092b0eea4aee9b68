"""From raw JSON to typed columns; what can't be decoded is marked dead, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from operator import attrgetter
from typing import Any, cast

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from stream.records import DEAD, MICROSECONDS, TOMBSTONE, Events, Labels
from stream.schema import Category, EventSchema, LabelSchema
from stream.source import Batch, Partition
from stream.timestamps import INVALID, to_microseconds, to_text

MAX_AHEAD_S = 600  # how far a time may lie past the clock
EMPTY = "empty"

Id = int | str
Outcome = bool | float | None  # not int: one beyond float64 must fail in its own message


@dataclass(frozen=True, slots=True)
class Chunk:
    """The decoded messages of one batch, in its order."""

    partition: Partition
    columns: Events | Labels
    next_position: int
    messages: list[bytes]
    reasons: dict[int, str]  # by position: why a message is dead


def _struct(fields: Mapping[str, Any], required: tuple[str, ...]) -> tuple[type[msgspec.Struct], dict[str, str]]:
    """A struct with one attribute per JSON field, required ones first, and the names of the attributes."""
    names = {name: f"f{i}" for i, name in enumerate(fields)}
    ordered = sorted(fields, key=lambda name: name not in required)
    definition = [
        (names[name], fields[name]) if name in required else (names[name], fields[name], None) for name in ordered
    ]
    # gc=False: a struct of scalars can't be part of a cycle, and a million of them would slow every collection
    rename = {attribute: name for name, attribute in names.items()}
    return msgspec.defstruct("Message", definition, rename=rename, gc=False), names


class _Messages:
    """Decodes messages one by one, so that a bad one fails alone."""

    def __init__(self, fields: Mapping[str, Any], required: tuple[str, ...]) -> None:
        self._struct, self._names = _struct(fields, required)
        self._decode = msgspec.json.Decoder(self._struct).decode
        self._blank = self._struct(**{self._names[name]: "" for name in required})

    def decode(self, batch: Batch) -> tuple[list[msgspec.Struct], dict[int, str]]:
        """The structs, a blank one for each bad message, and by index why it is bad."""
        reasons = dict(batch.broken)
        messages = batch.messages
        if reasons:
            messages = [b"" if i in reasons else message for i, message in enumerate(messages)]
        structs: list[msgspec.Struct] = []
        rest: Iterator[bytes] = iter(messages)
        while True:
            try:
                structs.extend(map(self._decode, rest))
                return structs, reasons
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
                # extend kept what came before, and the iterator has passed the bad one
                index = len(structs)
                reasons.setdefault(index, EMPTY if not messages[index].strip() else f"{error}")
                structs.append(self._blank)

    def column(self, structs: list[msgspec.Struct], name: str) -> Iterator[Any]:
        return map(attrgetter(self._names[name]), structs)

    def table(self, structs: list[msgspec.Struct], names: tuple[str, ...]) -> NDArray[np.float64]:
        """The number fields ``names`` as (n, k); null is NaN."""
        shape = (len(structs), len(names))
        if len(names) == 0:
            return np.zeros(shape)
        rows: Iterator[Any] = map(attrgetter(*(self._names[name] for name in names)), structs)
        flat = rows if len(names) == 1 else chain.from_iterable(rows)
        return np.fromiter(flat, np.float64, shape[0] * shape[1]).reshape(shape)


def hash_ids(ids: Iterator[Id], count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """96 bits of the xxh3-128 of each id's text: (count,) of 64 and (count,) of 32; 7 and "7" are one id."""
    texts = list(ids)
    try:
        encoded = list(map(str.encode, cast(list[str], texts)))
    except (TypeError, UnicodeEncodeError):
        encoded = [str(text).encode("utf-8", "surrogatepass") for text in texts]
    digests = np.frombuffer(b"".join(map(xxhash.xxh3_128_digest, encoded)), dtype="<u4").reshape(count, 4)
    key = digests[:, 0].astype(np.uint64) | (digests[:, 1].astype(np.uint64) << np.uint64(32))
    return key, digests[:, 2].copy()


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
        fields: dict[str, Any] = {schema.time: int | float | datetime | None}
        required: tuple[str, ...] = ()
        if schema.id is not None:
            fields[schema.id] = Id
            required = (schema.id,)
        if schema.label is not None:
            fields[schema.label] = Outcome
        fields |= dict.fromkeys(schema.categories, Category)
        fields |= dict.fromkeys(schema.numbers, float | None)
        self._messages = _Messages(fields, required)

    def decode(self, batch: Batch, partition: int) -> Chunk:
        """Columns of the batch's events; ``partition`` is the number that stands for theirs."""
        schema, count = self._schema, len(batch.messages)
        structs, reasons = self._messages.decode(batch)
        time = _times(self._messages, structs, schema.time, reasons, self._now_us())
        key, check = _ids(self._messages, structs, schema.id, reasons)
        label = np.full(count, -1, np.int8)
        if schema.label is not None:
            label = _outcomes(self._messages, structs, schema.label, reasons)
        categories = np.empty((count, len(schema.categories) + len(schema.time_parts)), np.uint64)
        for column, (name, hashes) in enumerate(schema.categories.items()):
            values = self._messages.column(structs, name)
            categories[:, column] = np.fromiter(map(hashes.__getitem__, values), np.uint64, count)
        for column, (unit_us, hashes) in enumerate(schema.time_parts, len(schema.categories)):
            categories[:, column] = hashes[(time // unit_us) % len(hashes)]
        events = Events(
            key=key,
            check=check,
            time=time,
            order=time,
            partition=np.full(count, partition, np.int32),
            position=batch.positions,
            flaw=_flaws(reasons, count),
            label=label,
            categories=categories,
            numbers=self._messages.table(structs, schema.numbers),
        )
        return _chunk(batch, events, reasons)


class LabelDecoder:
    """Decodes the labels of one topic."""

    def __init__(self, schema: LabelSchema, *, now_us: Callable[[], int]) -> None:
        self._schema = schema
        self._now_us = now_us
        fields: dict[str, Any] = {schema.id: Id, schema.time: int | float | datetime | None}
        if schema.value is not None:
            fields[schema.value] = Outcome
        self._messages = _Messages(fields, (schema.id,))

    def decode(self, batch: Batch, partition: int) -> Chunk:
        """Columns of the batch's labels; ``partition`` is the number that stands for theirs."""
        schema, count = self._schema, len(batch.messages)
        structs, reasons = self._messages.decode(batch)
        time = _times(self._messages, structs, schema.time, reasons, self._now_us())
        key, check = _ids(self._messages, structs, schema.id, reasons)
        value = np.ones(count, np.int8)
        if schema.value is not None:
            value = _outcomes(self._messages, structs, schema.value, reasons)
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


def _times(
    messages: _Messages, structs: list[msgspec.Struct], name: str, reasons: dict[int, str], now_us: int
) -> NDArray[np.int64]:
    time = to_microseconds(messages.column(structs, name), len(structs))
    latest = now_us + MAX_AHEAD_S * MICROSECONDS
    for index in np.flatnonzero((time == INVALID) | (time > latest)).tolist():
        if time[index] == INVALID:
            reason = f"{name} is not a time: write RFC 3339 text, or seconds or milliseconds since 1970"
        else:
            ahead_s = (int(time[index]) - now_us) / MICROSECONDS
            reason = f"{name} is {to_text(int(time[index]))}, {_span(ahead_s)} ahead of this machine's clock"
        reasons.setdefault(index, reason)
    return time


def _span(seconds: float) -> str:
    for unit, length in (("years", 31_557_600), ("days", 86_400), ("hours", 3_600)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds / 60:,.0f} minutes"


def _ids(
    messages: _Messages, structs: list[msgspec.Struct], name: str | None, reasons: dict[int, str]
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    count = len(structs)
    if name is None:
        return np.zeros(count, np.uint64), np.zeros(count, np.uint32)
    ids = list(messages.column(structs, name))
    if "" in ids:  # bad messages are blank as well, and have their reasons already
        for index, text in enumerate(ids):
            if text == "":
                reasons.setdefault(index, f"{name} is empty")
    return hash_ids(iter(ids), count)


def _outcomes(
    messages: _Messages, structs: list[msgspec.Struct], name: str, reasons: dict[int, str]
) -> NDArray[np.int8]:
    values = np.fromiter(messages.column(structs, name), np.float64, len(structs))
    good = (values == 0.0) | (values == 1.0)
    for index in np.flatnonzero(~good).tolist():
        value = values[index]
        shown = "missing" if np.isnan(value) else f"{value:g}"
        reasons.setdefault(index, f"{name} is {shown}; a label is true or false, 1 or 0")
    return np.where(good, values, 0.0).astype(np.int8)


def _flaws(reasons: Mapping[int, str], count: int) -> NDArray[np.uint8]:
    flaw = np.zeros(count, np.uint8)
    for index, reason in reasons.items():
        flaw[index] = TOMBSTONE if reason == EMPTY else DEAD
    return flaw


def _chunk(batch: Batch, columns: Events | Labels, reasons: Mapping[int, str]) -> Chunk:
    by_position = {int(batch.positions[index]): reason for index, reason in reasons.items()}
    return Chunk(batch.partition, columns, batch.next_position, batch.messages, by_position)
