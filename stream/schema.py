"""Which fields of a message mean what. A field is named by its path: ``payload.after.id``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Category = str | int | float | bool | None  # what a category's field may hold

# One part of the event time: its length in microseconds, and the hash of each value it can take.
TimePart = tuple[int, NDArray[np.uint64]]

# A number cut at fixed edges: the k edges, rising, and the hashes of the k + 1 buckets and of null.
Bucket = tuple[NDArray[np.float64], NDArray[np.uint64]]


@dataclass(frozen=True, slots=True)
class EventSchema:
    """The fields of an event.

    Parameters
    ----------
    id
        One field or several; None where nothing has to find the event again.
    label
        Where each event brings its own outcome.
    positive
        The values of ``label`` that are positive; None: it is true or false, 1 or 0.
    weight, score
        Sample weight; probability given by somebody else's model.
    categories, words
        The hashes of each field's values, of each field's words.
    time_parts, buckets
        Further categories, read off the event time and off numbers.
    slices
        The hashes of fields that are judged by value, categories or not.
    """

    topic: str
    time: str | None  # None: when the source says that it was sent
    id: str | tuple[str, ...] | None = None
    label: str | None = None
    categories: Mapping[str, Mapping[Category, int]] = field(default_factory=dict)
    numbers: tuple[str, ...] = ()
    time_parts: tuple[TimePart, ...] = ()
    buckets: Mapping[str, Bucket] = field(default_factory=dict)
    words: Mapping[str, Mapping[Category, int]] = field(default_factory=dict)
    positive: frozenset[Category] | None = None
    weight: str | None = None
    score: str | None = None
    slices: Mapping[str, Mapping[Category, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LabelSchema:
    """The fields of a label. Without a value field every label is positive."""

    topic: str
    id: str | tuple[str, ...]
    time: str | None
    value: str | None = None
    positive: frozenset[Category] | None = None
