"""Ids of several fields: those of both samples that are unique together and find events."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riverd.start.guess_roles import ID_NAMES, UNIQUE, could_identify
from riverd.start.sample import Column, Sample

PART_NAMES = re.compile(r"(^|[._])(no|nr|num|number|line|item|pos|position|seq|sequence|index|version)$", re.IGNORECASE)
MOST_LINKS = 10  # fields of both sides that are combined: 45 pairs, 120 triples
MOST_FIELDS = 3
PROBE = 1000  # labels that are looked at first
NULL = "\0"


@dataclass(frozen=True, slots=True)
class Link:
    """A field of the events and one of the labels that hold the same values."""

    event_path: str
    label_path: str
    event_codes: NDArray[np.int64]  # (events,): equal where values are equal, null included
    label_codes: NDArray[np.int64]  # (labels,): the same codes; -1 for a value that no event has
    size: int  # codes

    @property
    def same_name(self) -> bool:
        return _name(self.event_path) == _name(self.label_path)

    @property
    def rank(self) -> tuple[float, ...]:
        """How likely it is a part of an id."""
        named = bool(ID_NAMES.search(self.event_path) or PART_NAMES.search(self.event_path))
        return self.same_name, named, self.size


@dataclass(frozen=True, slots=True)
class Composite:
    """Links that are an id together."""

    links: tuple[Link, ...]
    unique: int  # events whose combination no other event has
    event: NDArray[np.int64]  # (labels,): the event of each label, -1 if it has none


def links_between(
    events: Sample,
    labels: Sample,
    event_taken: Collection[str],
    label_taken: Collection[str],
    *,
    matched: float,
    same_name: bool,
) -> list[Link]:
    """The likeliest parts of an id: fields of which this share of the labels holds a value that an event has.

    ``same_name`` asks for fields that are called alike on both sides.
    """
    links: list[Link] = []
    candidates = list(_parts(labels, label_taken))
    for event_path, column in _parts(events, event_taken):
        name = _name(event_path)
        others = [(path, other) for path, other in candidates if not same_name or _name(path) == name]
        codes: dict[str, int] = {}
        event_codes = _event_codes(column, codes) if others else np.zeros(0, np.int64)
        for label_path, candidate in others:
            probe = candidate.values[:: len(candidate.values) // PROBE + 1]
            if np.mean(_label_codes(probe, codes) >= 0) < matched / 2:
                continue
            label_codes = _label_codes(candidate.values, codes)
            if np.mean(label_codes >= 0) >= matched:
                links.append(Link(event_path, label_path, event_codes, label_codes, len(codes)))
    return sorted(links, key=lambda link: link.rank, reverse=True)[:MOST_LINKS]


def _parts(sample: Sample, taken: Collection[str]) -> Iterator[tuple[str, Column]]:
    return ((path, column) for path, column in could_identify(sample, taken) if len(set(column.present)) > 1)


def _name(path: str) -> str:
    return path.rpartition(".")[2]


def _event_codes(column: Column, codes: dict[str, int]) -> NDArray[np.int64]:
    numbers = (codes.setdefault(NULL if value is None else str(value), len(codes)) for value in column.values)
    return np.fromiter(numbers, np.int64, len(column.values))


def _label_codes(values: Sequence[Any], codes: Mapping[str, int]) -> NDArray[np.int64]:
    return np.fromiter((-1 if value is None else codes.get(str(value), -1) for value in values), np.int64, len(values))


def composite(links: Sequence[Link], *, matched: float) -> Iterator[Composite]:
    """Every pair of links that is an id, or every triple where no pair is."""
    for fields in range(2, MOST_FIELDS + 1):
        found = False
        for chosen in combinations(links, fields):
            together = _together(chosen)
            if together is not None and np.mean(together.event >= 0) >= matched:
                found = True
                yield together
        if found:
            return


def _together(links: tuple[Link, ...]) -> Composite | None:
    """The links as one id, if it is unique."""
    events = len(links[0].event_codes)
    distinct = {link.event_path for link in links}, {link.label_path for link in links}
    if any(len(paths) < len(links) for paths in distinct) or prod(link.size for link in links) < UNIQUE * events:
        return None
    event_codes, label_codes = links[0].event_codes, links[0].label_codes
    for link in links[1:]:
        known, event_codes = np.unique(event_codes * link.size + link.event_codes, return_inverse=True)
        both = (label_codes >= 0) & (link.label_codes >= 0)
        label_codes = _places(known, np.where(both, label_codes * link.size + link.label_codes, -1))
    _, first, count = np.unique(event_codes, return_index=True, return_counts=True)
    if len(first) < UNIQUE * events:
        return None
    return Composite(links, int(np.count_nonzero(count == 1)), np.where(label_codes >= 0, first[label_codes], -1))


def _places(known: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each wanted value stands in the sorted known ones, -1 where it does not."""
    places = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[places] == wanted, places, -1)
