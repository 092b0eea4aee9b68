"""Predictions on their way out: what was served, as messages for a topic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from riverd.assembly import Parts
from storage.outgoing import Message
from stream.records import SCORE, Events, Ops
from stream.timestamps import to_text

BYTES = 150  # of a message, about


class Served(NamedTuple):
    """Predictions that were served, n of them, as columns."""

    ids: list[tuple[Any, ...]]  # each the values of its fields
    time: NDArray[np.int64]
    logit: NDArray[np.float64]


def served(ops: Ops, events: Events, parts: Parts) -> Served:
    """The predictions that these ops asked for, once the model has scored them into their rows."""
    asked = np.flatnonzero(ops.code & SCORE)
    records, places = ops.record[asked], ops.row[asked] - parts.table.base
    messages = parts.merger.messages(events.partition[records], events.position[records])
    rows = parts.table.rows
    return Served(parts.event_decoder.ids_of(messages), rows.time[places], rows.logit[places])


def prediction_messages(batches: Sequence[Served], *, model: str, version: int, threshold: float) -> Iterator[Message]:
    """A JSON object for each prediction, with the event's id as key: those of one id stay in order.

    Parameters
    ----------
    model, version
        The model's name, and the number of the checkpoint that holds the weights' next state.
    threshold
        Probability from which on the decision is true.

    Examples
    --------
    >>> batch = Served([("e1",)], np.array([1_357_000_000_000_000]), np.array([0.5]))
    >>> [message] = prediction_messages([batch], model="late", version=7, threshold=0.5)
    >>> message.value
    b'{"id":"e1","time":"2013-01-01T00:26:40Z","score":0.6224593312018546,"decision":true,"model":"late","version":7}'
    """
    for batch in batches:
        for of, time, logit in zip(batch.ids, batch.time.tolist(), batch.logit.tolist(), strict=True):
            score = probability(logit)
            id_: Any = of[0] if len(of) == 1 else of
            value = {
                "id": id_,
                "time": to_text(time),
                "score": score,
                "decision": score >= threshold,
                "model": model,
                "version": version,
            }
            key = str(id_).encode() if len(of) == 1 else msgspec.json.encode(id_)
            yield Message(key, msgspec.json.encode(value), [])


def probability(logit: float) -> float:
    """Without overflow, whatever the logit."""
    shrunk = math.exp(-abs(logit))
    return 1.0 / (1.0 + shrunk) if logit >= 0.0 else shrunk / (1.0 + shrunk)
