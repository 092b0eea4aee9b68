"""Samples for ``riverd init`` to look at."""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from riverd.start.sample import Sample, read_sample

START_S = 1_700_000_000
NOW_US = 1_800_000_000 * 1_000_000
NO_LABELS = np.zeros(0, np.int64), np.zeros(0, np.bool_)

Message = dict[str, Any]


def sample(messages: Iterable[Mapping[str, Any]], name: str = "events.jsonl") -> Sample:
    """Write them to a file, and read it as init does."""
    Path(name).write_text("".join(f"{json.dumps(message)}\n" for message in messages), encoding="utf-8")
    return read_sample(Path(name), at_most=100_000)


def events(count: int, **fields: Any) -> list[Message]:
    """Messages with an id and a time; a field is a value or a function of the number."""
    return [
        {"id": i, "ts": START_S + i} | {name: f(i) if callable(f) else f for name, f in fields.items()}
        for i in range(count)
    ]


def labels_of(messages: Iterable[Message], delay_s: float = 60, **fields: Any) -> list[Message]:
    """A label for each event, that much later; a field is a function of the label's number."""
    return [
        {"seq": n, "event": m["id"], "ts": m["ts"] + delay_s} | {k: f(n) for k, f in fields.items()}
        for n, m in enumerate(messages)
    ]


def coin(i: int, seed: int = 3) -> float:
    return random.Random(seed * 1_000_003 + i).random()


def shop(count: int) -> list[Message]:
    """Visits a minute apart; a purchase is likelier in one shop."""
    return events(
        count,
        ts=lambda i: START_S + 60 * i,
        shop=lambda i: "abcd"[int(coin(i) * 4)],
        amount=lambda i: round(100 * coin(i, 5), 2),
        bought=lambda i: coin(i, 7) < (0.7 if coin(i) > 0.75 else 0.2),
    )


def written() -> dict[str, Any]:
    """The config that init has written."""
    return tomllib.loads(Path("riverd.toml").read_text(encoding="utf-8"))
