"""What the compiled learners take for an event of 12 features, six of them numbers, and what a pending one keeps.

Processor time of one thread, the least of ``ROUNDS`` runs in turn: everything else on the machine only adds to it.
"""

from __future__ import annotations

import time

import numpy as np
from rich.console import Console
from rich.table import Table

from models.learner import make_settings
from models.stream_model import StreamModel
from stream.records import LEARN, SCORE, Events, Ops
from stream.rows import RowTable

EVENTS = 200_000
ROUNDS = 7
CATEGORIES, NUMBERS = 6, 6
GOALS_NS = {"mixture": 1000, "ftrl": 200}
MOMENTS = {"ask": SCORE, "learn": LEARN, "ask and learn": SCORE | LEARN}


def stream() -> tuple[Events, np.ndarray]:
    """Events of categories with fifty values and of normal numbers, and labels that follow the first number."""
    rng = np.random.default_rng(0)
    none = np.zeros(0, np.int64)
    hashes = rng.integers(1, 1 << 63, (50, CATEGORIES), dtype=np.uint64)
    numbers = rng.normal(size=(EVENTS, NUMBERS))
    drawn = rng.integers(0, 50, (EVENTS, CATEGORIES))
    events = Events(
        **dict.fromkeys(("key", "check", "time", "order", "partition", "position", "flaw", "label"), none),
        weight=np.ones(EVENTS, np.float32),
        score=np.zeros(EVENTS),
        categories=hashes[drawn, np.arange(CATEGORIES)],
        numbers=numbers,
        words=np.zeros((EVENTS, 0), np.uint64),
        slices=np.zeros((EVENTS, 0), np.uint64),
    )
    events = events._replace(
        key=none.astype(np.uint64), check=none.astype(np.uint32), partition=none.astype(np.int32),
        flaw=none.astype(np.uint8), label=none.astype(np.int8),
    )  # fmt: skip
    return events, (numbers[:, 0] + rng.normal(size=EVENTS) > 0).astype(np.int8)


def new_model(kind: str) -> tuple[StreamModel, RowTable]:
    model = StreamModel(
        make_settings(kind),
        bits=18,
        categories=[f"c{i}" for i in range(CATEGORIES)],
        numbers=[f"n{i}" for i in range(NUMBERS)],
        crosses=(),
    )
    table = RowTable(said=model.said)
    table.reserve(first=0, events=EVENTS, cells=model.cells)
    table.rows.weight[:] = 1.0
    return model, table


def seconds(model: StreamModel, table: RowTable, events: Events, labels: np.ndarray, code: int) -> float:
    places = np.arange(EVENTS)
    ops = Ops(np.full(EVENTS, code, np.uint8), places, places, labels, np.zeros(EVENTS, np.int64))
    began = time.thread_time()
    model.run(ops, table.rows, 0, events)
    return time.thread_time() - began


def main() -> None:
    events, labels = stream()
    least: dict[tuple[str, str], float] = {}
    for _ in range(ROUNDS):
        for kind in GOALS_NS:
            apart, together = new_model(kind), new_model(kind)
            for moment, code in MOMENTS.items():
                model, table = together if code & SCORE and code & LEARN else apart
                ns = 1e9 * seconds(model, table, events, labels, code) / EVENTS
                least[kind, moment] = min(least.get((kind, moment), ns), ns)
    table = Table("ns an event", *MOMENTS, "goal", "bytes of a pending row")
    for kind, goal in GOALS_NS.items():
        model, rows = new_model(kind)
        kept = sum(getattr(rows.rows, name)[:1].nbytes for name in rows.rows._fields if name not in ("cell", "used"))
        figures = [f"{least[kind, moment]:,.0f}" for moment in MOMENTS]
        table.add_row(kind, *figures, f"{goal:,}", str(kept + 4 * model.cells))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
