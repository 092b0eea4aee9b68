"""One event at a time, and whole frames, beside river's FeatureHasher and LogisticRegression: microseconds an event.

Processor time of one thread, medians of ``ROUNDS`` in turn. river is given what it does best: one dict after another.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from river import linear_model, preprocessing

from riverd import LogisticRegression

EVENTS = 20_000
ROUNDS = 5
NUMBERS = ("distance", "planned_minutes", "temp", "wind_speed", "precip", "pressure")


def events() -> tuple[list[dict[str, object]], list[bool]]:
    rng = np.random.default_rng(0)
    values = {
        "carrier": [f"c{i}" for i in rng.integers(16, size=EVENTS)],
        "origin": [f"o{i}" for i in rng.integers(3, size=EVENTS)],
        "dest": [f"d{i}" for i in rng.integers(100, size=EVENTS)],
        "hour": [str(i) for i in rng.integers(24, size=EVENTS)],
        "weekday": [str(i) for i in rng.integers(7, size=EVENTS)],
        **{name: rng.normal(size=EVENTS).tolist() for name in NUMBERS},
    }
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return rows, (rng.random(EVENTS) < 0.3).tolist()


def one_by_one(model: object, rows: list[dict[str, object]], labels: list[bool]) -> None:
    for x, y in zip(rows, labels, strict=True):
        model.predict_proba_one(x)
        model.learn_one(x, y)


def main() -> None:
    rows, labels = events()
    frame = pd.DataFrame(rows)
    crosses = [("origin", "dest")]

    def river() -> object:
        return preprocessing.FeatureHasher(n_features=1 << 18, seed=1) | linear_model.LogisticRegression()

    ways: dict[str, Callable[[], None]] = {
        "river: predict_proba_one, learn_one": lambda: one_by_one(river(), rows, labels),
        "riverd: predict_proba_one, learn_one": lambda: one_by_one(LogisticRegression(crosses=crosses), rows, labels),
        "riverd ftrl: the same": lambda: one_by_one(LogisticRegression(expert="ftrl", crosses=crosses), rows, labels),
        "riverd: learn_many of a pandas frame": lambda: LogisticRegression(crosses=crosses).learn_many(frame, labels),
    }
    goals = dict(zip(ways, ("", "2.0", "2.0", "8.0"), strict=True))
    took: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(ROUNDS + 1):
        for name, way in ways.items():
            began = time.thread_time()
            way()
            if round_number:  # the first one compiles
                took[name].append(1e6 * (time.thread_time() - began) / EVENTS)
    table = Table("", "us an event (min, median, max)", "x river", "goal")
    beside = statistics.median(took["river: predict_proba_one, learn_one"])
    for name, each in took.items():
        spread = f"{min(each):.1f} {statistics.median(each):.1f} {max(each):.1f}"
        table.add_row(name, spread, f"{beside / statistics.median(each):.1f}", goals[name])
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
