"""Which fields of a message mean what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Category = str | int | float | bool | None  # what a category's field may hold

# One part of the event time: its length in microseconds, and the hash of each value it can take.
TimePart = tuple[int, NDArray[np.uint64]]


@dataclass(frozen=True, slots=True)
class EventSchema:
    """The fields of an event.

    ``categories`` maps each field to the hashes of its values, ``time_parts`` are further categories that
    are read off the event time, and ``label`` is the field of labelled events, else None.
    """

    topic: str
    time: str
    id: str | None = None  # not needed where the label is in the event
    label: str | None = None
    categories: Mapping[str, Mapping[Category, int]] = field(default_factory=dict)
    numbers: tuple[str, ...] = ()
    time_parts: tuple[TimePart, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelSchema:
    """The fields of a label. Without a value field every label is positive."""

    topic: str
    id: str
    time: str
    value: str | None = None
