"""How labels find their events: by one field of both, or by several together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from riverd.errors import RiverdError
from riverd.screen.notation import share
from riverd.start.composite_ids import Composite, Link, composite, links_between
from riverd.start.guess_roles import ID_NAMES, Ids, identifying, some, uniqueness
from riverd.start.sample import Column, Sample, valid

MATCHED = 0.5  # of the labels must find an event
CONTRADICTED = 0.5  # where one name's values agree less often than this, the events found are others


@dataclass(frozen=True, slots=True)
class Join:
    """How labels find their events, and when they come."""

    event_id: Ids
    label_id: Ids
    delay_us: NDArray[np.int64]  # of each label that found its event, (d,)
    label: NDArray[np.int64]  # (d,): which label that is
    event: NDArray[np.int64]  # (len(label sample),): the event of each label, -1 if it has none
    matched: float  # share of the labels

    @property
    def forward(self) -> float:
        """The share of labels that come after their event."""
        return float(np.mean(self.delay_us >= 0)) if len(self.delay_us) else 0.0

    @property
    def spread(self) -> float:
        """Between the tenth and the ninetieth percentile of the delays."""
        return float(np.subtract(*np.quantile(self.delay_us, (0.9, 0.1)))) if len(self.delay_us) else np.inf


def guess_join(events: Sample, labels: Sample, event_time: str, label_time: str) -> Join:
    """The field, or the two or three together, by which labels find their events.

    Several are taken where no field alone will do, or where one does by chance: both sides are numbered from 1,
    say, and other fields of one name then differ.

    Raises
    ------
    RiverdError
        Nothing matches half of the labels.
    """
    times = events.times(event_time), labels.times(label_time)
    single = _single(events, labels, event_time, label_time, times)
    links = links_between(events, labels, {event_time}, {label_time}, matched=MATCHED, same_name=single is not None)
    if single is not None:
        links = [link for link in links if _contradicted(single, link)]
    together = _best_composite(links, times)
    if together is not None and (single is None or together.matched >= single.matched - 0.02):
        return _explained(together, single)
    if single is None:
        tried = [path for path, _ in identifying(events, {event_time})]
        raise RiverdError(
            f"{labels.path}: no field of it equals an id of {events.path}"
            f" (tried {some(tried) if tried else 'nothing: no field of the events is unique'}), nor do two or three"
            " together.\n"
            "  Each label must carry the id of its event. Check that both files are of the same time."
        )
    return single


Times = tuple[NDArray[np.int64], NDArray[np.int64]]


def _single(events: Sample, labels: Sample, event_time: str, label_time: str, times: Times) -> Join | None:
    best: tuple[tuple[float, ...], Join] | None = None
    for event_path, column in identifying(events, {event_time}):
        places = _first_places(column)
        for label_path, candidate in identifying(labels, {label_time}, unique=0.3):
            event = np.fromiter((places.get(str(value), -1) for value in candidate.values), np.int64, len(labels))
            matched = float(np.mean(event >= 0))
            if matched < MATCHED:
                continue
            why = f"{uniqueness(column)}; {share(matched)} of the labels find their event by it"
            join = _join(Ids((event_path,), why), Ids((label_path,), f"equals the event's {event_path}"), event, times)
            same = event_path.rpartition(".")[2] == label_path.rpartition(".")[2]
            named = bool(ID_NAMES.search(event_path)) + bool(ID_NAMES.search(label_path))
            depth = event_path.count(".")
            rank = (round(matched, 1), round(join.forward, 1), named, same, -join.spread, -depth)
            if best is None or rank > best[0]:
                best = rank, join
    return best[1] if best else None


def _best_composite(links: list[Link], times: Times) -> Join | None:
    best: tuple[tuple[float, ...], Join] | None = None
    for found in composite(links, matched=MATCHED):
        join = _composite(found, times)
        rank = (round(join.matched, 1), round(join.forward, 1), round(found.unique / len(times[0]), 2), -join.spread)
        if best is None or rank > best[0]:
            best = rank, join
    return best[1] if best else None


def _composite(found: Composite, times: Times) -> Join:
    matched = int(np.count_nonzero(found.event >= 0))
    why = (
        f"unique together on {found.unique:,} of {len(times[0]):,} rows; "
        f"{matched:,} of {len(times[1]):,} labels find their event"
    )
    links = sorted(found.links, key=lambda link: -link.size)  # the order before its lines
    paths, label_paths = tuple(link.event_path for link in links), tuple(link.label_path for link in links)
    return _join(Ids(paths, why), Ids(label_paths, f"equal the event's {' and '.join(paths)}"), found.event, times)


def _explained(join: Join, single: Join | None) -> Join:
    """With a word on the single field that would have matched too."""
    if single is None:
        return join
    pair = f"{single.event_id.paths[0]} = {single.label_id.paths[0]}"
    why = f"{join.event_id.why}; {pair} would match too, but find events in which these differ"
    return replace(join, event_id=Ids(join.event_id.paths, why))


def _join(event_id: Ids, label_id: Ids, event: NDArray[np.int64], times: Times) -> Join:
    event_times, label_times = times
    pairs = (event >= 0) & valid(label_times)
    pairs[pairs] &= valid(event_times[event[pairs]])
    delay_us = label_times[pairs] - event_times[event[pairs]]
    return Join(event_id, label_id, delay_us, np.flatnonzero(pairs), event, float(np.mean(event >= 0)))


def _contradicted(join: Join, link: Link) -> bool:
    """Whether fields of one name differ between the labels and the events that they found."""
    if not link.same_name or {link.event_path, link.label_path} & {*join.event_id.paths, *join.label_id.paths}:
        return False
    found = join.event >= 0
    return float(np.mean(link.event_codes[join.event[found]] == link.label_codes[found])) < CONTRADICTED


def _first_places(column: Column) -> dict[str, int]:
    places: dict[str, int] = {}
    for place, value in enumerate(column.values):
        if value is not None:
            places.setdefault(str(value), place)
    return places
