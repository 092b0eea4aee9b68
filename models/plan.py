"""The order in which an event's features are encoded: by name, whatever order they came in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.hashing import NULL, hash_feature, hash_text
from stream.records import MAX_WORDS

CATEGORY, NUMBER, CROSS, WORDS = 0, 1, 2, 3
PLAN_COLUMNS = 6
BIAS = "bias"  # the name of what every event has


@dataclass(frozen=True, slots=True)
class Plan:
    """What the encoder walks, one row of ``entries`` per feature, sorted by name.

    A row is (kind, column, second column or statistics column, hash of the name, of its null, of its rank):
    a category reads ``categories[column]``, a number ``numbers[column]`` with its statistics, a cross mixes two
    category columns, and words are ``words[column]`` and those after it, until a zero.
    """

    entries: NDArray[np.uint64]  # (features, 6)
    names: tuple[str, ...]  # of the features

    @property
    def width(self) -> int:
        """The most slots that one event can have, the bias included."""
        return 1 + len(self.entries) + 2 * self._count(NUMBER) + (MAX_WORDS - 1) * self._count(WORDS)

    @property
    def cells(self) -> int:
        """The most cells that one event can have."""
        return len(self.entries) + self._count(NUMBER) + MAX_WORDS * self._count(WORDS)

    def _count(self, kind: int) -> int:
        return int((self.entries[:, 0] == kind).sum())


def cross_name(pair: Sequence[str]) -> str:
    return "*".join(pair)


def make_plan(
    *,
    categories: Sequence[str],
    numbers: Sequence[str],
    crosses: Sequence[Sequence[str]],
    statistics: Mapping[str, int],
    words: Sequence[str] = (),
) -> Plan:
    """Lay out features of which ``categories``, ``numbers`` and ``words`` name the columns, in their order.

    ``statistics`` gives the row of each number's running statistics. A cross of which a column is missing
    is left out.
    """
    place = {name: column for column, name in enumerate(categories)}
    rows: list[tuple[str, tuple[int, ...]]] = []
    for name, column in place.items():
        rows.append((name, (CATEGORY, column, 0, 0, 0, 0)))
    for column, name in enumerate(numbers):
        hashes = hash_text(name), hash_feature(name, NULL), hash_text(f"{name}#r")
        rows.append((name, (NUMBER, column, statistics[name], *hashes)))
    for first, second in crosses:
        if first in place and second in place:
            rows.append((cross_name((first, second)), (CROSS, place[first], place[second], 0, 0, 0)))
    rows += [(name, (WORDS, MAX_WORDS * column, 0, 0, 0, 0)) for column, name in enumerate(words)]
    rows.sort()
    entries = np.array([row for _, row in rows], dtype=np.uint64).reshape(len(rows), PLAN_COLUMNS)
    return Plan(entries, tuple(name for name, _ in rows))


def names_of_slots(plan: Plan, cells: NDArray[np.uint32]) -> list[str]:
    """Whose each slot is, of an event's slots as the encoder writes them: "bias", then by name, then hats."""
    names: list[str] = [BIAS]
    ranked: list[str] = []
    at = 0
    for name, kind in zip(plan.names, plan.entries[:, 0].tolist(), strict=True):
        if kind == WORDS:
            count = int(cells[at])
            names += [name] * count
            at += 1 + count
            continue
        names.append(name)
        if kind == NUMBER:
            if cells.view(np.float32)[at + 1] >= 0.0:
                ranked += [name, name]
            at += 2
        else:
            at += 1
    return names + ranked
