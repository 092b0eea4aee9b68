"""Which fields of a sample are features, and why the others are not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from riverd.start.guess_roles import ID_NAMES
from riverd.start.sample import Column, Sample, valid

FEW = 12  # whole numbers with no more values than this are categories
MANY = 0.3  # text of which more than this share of values occur once is an id or free text
LEAK = 0.99  # a feature that ranks this well alone knows the answer
CODES = re.compile(r"(^|[._])(zip|code|plz|postcode|hour|weekday|month|year)|_code$|_zip$", re.IGNORECASE)

Kind = Literal["category", "number", "words", "dropped", "leak"]


@dataclass(frozen=True, slots=True)
class Feature:
    """One field, what it is to the model, and why."""

    path: str
    kind: Kind
    why: str


def guess_features(
    sample: Sample, taken: Collection[str], event: NDArray[np.int64], label: NDArray[np.bool_]
) -> list[Feature]:
    """Judge every field of the events that is not ``taken``.

    ``event`` and ``label`` are the events that have a label, and it: a field that ranks them nearly without
    fault has seen the answer.
    """
    features: list[Feature] = []
    for path, column in sample.columns.items():
        if path in taken:
            continue
        feature = _judge(sample, column)
        if feature.kind in ("category", "number"):
            area = area_alone([column.values[i] for i in event.tolist()], label, as_number=feature.kind == "number")
            if area is not None and area >= LEAK:
                why = f"ranks the labels alone, AUC {area:.3f}: known only with the answer?"
                feature = Feature(path, "leak", why)
        features.append(feature)
    return features


def _judge(sample: Sample, column: Column) -> Feature:
    path, present = column.path, column.present

    def dropped(why: str) -> Feature:
        return Feature(path, "dropped", why)

    unusable = sample.unusable(path)
    if unusable:
        return dropped(unusable)
    if column.lists and column.lists == column.words and not present:
        return Feature(path, "words", "lists of text")
    if column.lists:
        return dropped("a list")
    if len(present) < 2:
        return dropped("empty")
    distinct = len(set(map(str, present)))
    if distinct == 1 and len(present) == len(column.values):
        return dropped(f"always {_short(present[0])}")
    if column.holds(str):
        times = sample.times(path)
        if np.mean(valid(times)) > 0.9 * len(present) / len(column.values):
            return dropped("a time")
    if column.holds(int, float):
        return _judge_number(column, distinct)
    once = sum(times == 1 for times in Counter(map(str, present)).values())
    if once > MANY * len(present) and distinct > FEW:
        return dropped(f"{once:,} of {len(present):,} values occur once: an id or free text")
    mixed = "" if column.holds(str) or column.holds(bool) else ", of several types"
    return Feature(path, "category", f"{_count(distinct, 'value')}{mixed}{_nulls(column)}")


def _judge_number(column: Column, distinct: int) -> Feature:
    path, present = column.path, column.present
    whole = column.holds(int)
    if whole and distinct > 0.9 * len(present) and len(present) > FEW:
        if ID_NAMES.search(path):
            return Feature(path, "dropped", f"{distinct:,} values in {len(present):,}: an id")
        if all(earlier <= later for earlier, later in pairwise(present)):
            return Feature(path, "dropped", "rises with every message: a counter")
    if whole and distinct <= FEW:
        return Feature(path, "category", f"{_count(distinct, 'whole number')}{_nulls(column)}")
    if whole and 2 * distinct <= len(present) and (ID_NAMES.search(path) or CODES.search(path)):
        return Feature(path, "category", f"{distinct:,} codes, by its name{_nulls(column)}")
    return Feature(path, "number", f"{min(present):,.6g} to {max(present):,.6g}{_nulls(column)}")


def area_alone(values: Sequence[object], label: NDArray[np.bool_], *, as_number: bool) -> float | None:
    """ROC AUC of one field alone, whichever way round; None with fewer than 20 of a class.

    A category is scored by the rate of positives of its value in the other half, so that a value which
    occurs once says nothing. That a value is missing counts as a value.

    >>> late = np.tile([True, False], 50)
    >>> area_alone(["snow", "sun"] * 50, late, as_number=False)
    1.0
    >>> area_alone([1.0, 2.0, 2.0, 1.0] * 25, late, as_number=True)
    0.5
    """
    if min(np.count_nonzero(label), np.count_nonzero(~label)) < 20:
        return None
    if as_number:
        numbers = np.array([value if isinstance(value, int | float) else np.nan for value in values], dtype=np.float64)
        known = ~np.isnan(numbers)
        scores = [numbers] if known.all() else [np.where(known, numbers, np.nanmin(numbers) - 1), known.astype(float)]
    else:
        scores = [_rates_of_other_half(values, label)]
    areas = [_area(score, label) for score in scores]
    return max(max(area, 1 - area) for area in areas)


def _rates_of_other_half(values: Sequence[object], label: NDArray[np.bool_]) -> NDArray[np.float64]:
    known: dict[str, int] = {}
    codes = np.fromiter((known.setdefault(str(value), len(known)) for value in values), np.int64, len(values))
    # halves by blocks of rows: neighbours in time may be one and the same case
    half = np.arange(len(codes)) * 20 // len(codes) % 2
    size = len(known)
    scores = np.empty(len(codes))
    for mine, other in ((0, 1), (1, 0)):
        count = np.bincount(codes[half == other], minlength=size)
        positives = np.bincount(codes[half == other], weights=label[half == other], minlength=size)
        rate = (positives + label.mean()) / (count + 1)
        scores[half == mine] = rate[codes[half == mine]]
    return scores


def _area(score: NDArray[np.float64], label: NDArray[np.bool_]) -> float:
    _, code, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[code]  # ties share their mean rank
    positives = int(np.count_nonzero(label))
    above = rank[label].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(label) - positives)))


def _nulls(column: Column) -> str:
    share = 1 - len(column.present) / len(column.values)
    return f", {share:.0%} null" if share >= 0.005 else ""


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 30 else f"{text[:27]}..."
