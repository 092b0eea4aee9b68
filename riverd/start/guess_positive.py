"""Which values of a label are positive, where it is not true or false, 1 or 0."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from riverd.start.sample import Column

YES = {
    *("yes", "true", "positive", "pos", "click", "clicked", "convert", "converted", "conversion", "bought", "purchase"),
    *("purchased", "paid", "success", "won", "churn", "churned", "fraud", "fraudulent", "spam", "default", "defaulted"),
    "late",
}
NO = {"no", "false", "negative", "neg", "none", "ham", "legit", "genuine"}
SHORT_YES, SHORT_NO = {"1", "y", "t", "on"}, {"0", "-1", "n", "f", "off"}  # that say something only beside each other
MOST_VALUES = 20  # of a label that is not true or false

Groups = Mapping[str, Counter[Any]]  # a value as people read it: its spellings, and how often each occurs


@dataclass(frozen=True, slots=True)
class Positive:
    """Values that mean yes, and why these."""

    values: tuple[Any, ...]
    why: str
    guessed: bool = False  # nothing but rarity speaks for them


def groups_of(column: Column) -> Groups | None:
    """The values by what they say, the most frequent first; None if they are no two, or too many."""
    if len(set(islice(column.present, 200))) > 5 * MOST_VALUES:
        return None
    groups: dict[str, Counter[Any]] = {}
    for value, times in Counter(column.present).most_common():
        groups.setdefault(_read(value), Counter())[value] += times
    return groups if 2 <= len(groups) <= MOST_VALUES else None


def obvious(groups: Groups) -> Positive | None:
    """Of two values the one that is called so, "yes" or "paid", or whose opposite is.

    >>> obvious({"1": Counter({1: 3}), "-1": Counter({-1: 5})}).values
    (1,)
    >>> obvious({"1": Counter({1: 3}), "2": Counter({2: 5})}) is None
    True
    """
    if len(groups) != 2:
        return None
    for text, other in (tuple(groups), tuple(groups)[::-1]):
        opposites = text in YES | SHORT_YES and other in NO | SHORT_NO
        if opposites or (text in YES and other not in YES | SHORT_YES) or (other in NO and text not in NO | SHORT_NO):
            return Positive(tuple(groups[text]), counts(groups))
    return None


def rarest(groups: Groups) -> Positive:
    """The value that occurs least: what is rare is more often what one asks for."""
    text = min(groups, key=lambda text: (groups[text].total(), text))
    why = f"a guess, for it is the rarest: {counts(groups)}; name the value that is to be predicted"
    return Positive(tuple(groups[text]), why, guessed=True)


def equal_to(groups: Groups, wanted: str) -> Positive | None:
    """The value that was asked for."""
    found = groups.get(_read(wanted))
    return Positive(tuple(found), f"chosen with --label; {counts(groups)}") if found else None


def _read(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).strip().casefold()


def counts(groups: Groups) -> str:
    """Each value with how often it occurs."""
    shown = [f"{json.dumps(next(iter(group)), ensure_ascii=False)} {group.total():,}" for group in groups.values()]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")
