"""Pairs of categories whose combinations tell more of the label than all fields do one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from riverd.durations import UNITS_US
from riverd.screen.notation import count, share
from riverd.start.additive import Codes, Logits, Mask, additive, evidence, log_loss, refined
from riverd.start.guess_features import Feature
from riverd.start.sample import Sample

FEWEST_ROWS, FEWEST_OF_A_CLASS = 1000, 100
MOST_ROWS = 40_000  # evenly spread
MOST_CATEGORIES, MOST_PAIRS = 40, 20  # that are looked at; of which the held-out loss is measured
MOST_CROSSES = 3
BLOCKS = 40  # of successive rows, halves taken in turn: neighbours in time may be one and the same case
ERRORS = 5.0  # standard errors that the gain must have; there may be hundreds of pairs to choose from
GAIN = 0.005  # of the log loss: each combination costs a weight
BUCKETS = 10  # of a number


@dataclass(frozen=True, slots=True)
class Cross:
    """Two categories, and what their combination brings."""

    pair: tuple[str, str]
    combinations: int
    why: str


@dataclass(frozen=True, slots=True)
class _Halves:
    """Rows in order of time, in two halves, with the logits of all rows by models fitted to each half."""

    label: Mask
    block: NDArray[np.int64]
    logits: tuple[Logits, Logits]

    @property
    def held_out(self) -> Logits:
        """Of each row, by the model fitted to the half it is not in."""
        return np.where(self.block % 2 == 0, self.logits[1], self.logits[0])

    def with_cross(self, codes: Codes) -> _Halves:
        first, second = (
            refined(logits, codes, self.label, self.block % 2 == half) for half, logits in enumerate(self.logits)
        )
        return _Halves(self.label, self.block, (first, second))


def guess_crosses(
    sample: Sample,
    features: Sequence[Feature],
    time_parts: Sequence[str],
    times_us: NDArray[np.int64],
    event: NDArray[np.int64],
    label: Mask,
) -> tuple[list[Cross], str]:
    """Crosses for the config, and a word on why there are none.

    Parameters
    ----------
    times_us
        Of each event of the sample.
    event, label
        The events that have a label, and it.
    """
    order = np.argsort(times_us[event], kind="stable")
    order = order[:: len(order) // MOST_ROWS + 1]
    rows = event[order]
    categories = {f.path: _codes(sample.columns[f.path].values, rows) for f in features if f.kind == "category"}
    for part in time_parts:
        categories[part] = times_us[rows] // UNITS_US["h" if part == "hour" else "d"] % (24 if part == "hour" else 7)
    numbers = [_buckets(sample.columns[f.path].values, rows) for f in features if f.kind == "number"]
    return choose_crosses(categories, numbers, label[order])


def choose_crosses(categories: Mapping[str, Codes], others: Sequence[Codes], label: Mask) -> tuple[list[Cross], str]:
    """The pairs that clearly lessen the held-out log loss, at most three, and why there are none.

    Each half of the rows is judged by weights fitted to the other half: those of all fields one by one, then
    those of the pair as well. What is clear is told by blocks of successive rows, not by single rows.

    Parameters
    ----------
    categories
        What may be crossed: (n,) codes each, in order of time.
    others
        Other fields of the model, cut into categories.
    """
    if len(categories) < 2:
        return [], ""
    positives = int(np.count_nonzero(label))
    rarer = min(positives, len(label) - positives)
    if len(label) < FEWEST_ROWS or rarer < FEWEST_OF_A_CLASS:
        return [], f"{count(len(label))} labels, {count(rarer)} of the rarer class, are too few to tell of crosses"
    block = np.arange(len(label)) * BLOCKS // len(label)
    fields = [*categories.values(), *others]
    first, second = (additive(fields, label, block % 2 == half) for half in (0, 1))
    halves = _Halves(label, block, (first, second))
    pairs = _promising(categories, halves)
    found: list[Cross] = []
    while pairs and len(found) < MOST_CROSSES:
        losses = log_loss(halves.held_out, label)
        loss = float(losses.mean())
        best: tuple[float, tuple[str, str], _Halves, float] | None = None
        for pair, codes in pairs.items():
            crossed = halves.with_cross(codes)
            gains = np.bincount(block, losses - log_loss(crossed.held_out, label)) / np.bincount(block)
            gain, error = float(gains.mean()), float(gains.std(ddof=1)) / sqrt(BLOCKS)
            if gain > max(ERRORS * error, GAIN * loss) and (best is None or gain > best[0]):
                best = gain, pair, crossed, error
        if best is None:
            break
        gain, pair, halves, error = best
        figures = f"held-out log loss {loss:.4f} without and {loss - gain:.4f} with it"
        why = f"{figures}: {share(gain / loss)} less, {gain / error:.0f} standard errors"
        found.append(Cross(pair, len(np.unique(pairs.pop(pair))), why))
    return found, "" if found else "no crosses: no two categories tell clearly more together than one by one"


def _promising(categories: Mapping[str, Codes], halves: _Halves) -> dict[tuple[str, str], Codes]:
    """The pairs that could tell most of what the fields leave unexplained."""
    label, names = halves.label, list(categories)
    if len(names) > MOST_CATEGORIES:
        constant = additive([], label, np.ones(len(label), np.bool_))
        names.sort(key=lambda name: evidence(constant, categories[name], label), reverse=True)
    logits = halves.held_out
    pairs = {
        (one, other): evidence(logits, _combined(categories[one], categories[other]), label)
        for one, other in combinations([name for name in categories if name in set(names[:MOST_CATEGORIES])], 2)
    }
    best = sorted(pairs, key=lambda pair: pairs[pair], reverse=True)[:MOST_PAIRS]
    return {pair: _combined(categories[pair[0]], categories[pair[1]]) for pair in best}


def _combined(one: Codes, other: Codes) -> Codes:
    size = int(other.max()) + 1
    codes = one * size + other
    return np.unique(codes, return_inverse=True)[1] if size * (one.max() + 1) > len(codes) else codes


def _codes(values: Sequence[object], rows: NDArray[np.int64]) -> Codes:
    known: dict[object, int] = {}
    return np.fromiter((known.setdefault(str(values[i]), len(known)) for i in rows.tolist()), np.int64, len(rows))


def _buckets(values: Sequence[object], rows: NDArray[np.int64]) -> Codes:
    """Numbers by their deciles; null is the last."""
    numbers = np.array([values[i] for i in rows.tolist()], dtype=np.float64)  # None becomes NaN
    known = numbers[~np.isnan(numbers)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BUCKETS + 1)[1:-1])) if len(known) else known
    return np.where(np.isnan(numbers), len(edges) + 1, np.searchsorted(edges, numbers, side="right"))
