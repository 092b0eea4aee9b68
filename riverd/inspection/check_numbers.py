"""Numbers that are none: ids and codes, of which the size says nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from riverd.config import Config
from riverd.inspection.check_data import Findings, Read
from riverd.screen.notation import count
from riverd.start.guess_features import CODES, FEW
from riverd.start.guess_roles import ID_NAMES

UNIQUE = 0.9  # whole numbers of which more than this share differ count something, or name it


def check_numbers(config: Config, events: Read, findings: Findings) -> None:
    """Note whole numbers among the features that look like ids, by their names or their values."""
    columns = events.column("numbers")
    for place, name in enumerate(config.features.numbers):
        x = columns[:, place]
        x = x[~np.isnan(x)]
        distinct = len(np.unique(x))
        if distinct <= FEW or np.any(x % 1 != 0):
            continue
        reason = _reason(name, x, distinct)
        if reason is not None:
            findings.notes.append(
                f"[features] numbers: {name!r} {reason}, {count(distinct)} in {count(len(x))} events. As a number only "
                "its size would count.\n  Move it to categories, or leave it out if each occurs once."
            )


def _reason(name: str, x: NDArray[np.float64], distinct: int) -> str | None:
    if ID_NAMES.search(name) or CODES.search(name):
        return "holds whole numbers and is named like an id or a code"
    if distinct > UNIQUE * len(x) and bool(np.all(np.diff(x) >= 0)):
        return "rises with every event, like an id or a counter"
    return None
