"""Nanoseconds per pair in each stage of the engine, joined and labelled, in one process without a store."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import rows
from rich.console import Console
from rich.table import Table
from throughput import CONFIG, LABELS

from riverd.assembly import assemble
from riverd.engine import Engine
from riverd.load_config import parse_config
from riverd.service import calm_garbage_collection, open_source, wall_clock_us

PAIRS = 1_000_000
STAGES = ("polled", "decoded", "merged", "joined", "learned", "judged", "ticked", "stepped")
DRIFT = "drift"  # of features, and the labelled sample: a part of judged and ticked


def measure(folder: Path, *, joined: bool, pairs: int) -> dict[str, float]:
    """Seconds spent until each stage was reached, summed over the run."""
    import tomllib

    text = CONFIG.format(
        folder=folder, topic="events" if joined else "labelled", label="" if joined else 'label = "_late"',
        labels=LABELS if joined else "", database="unused",
    )  # fmt: skip
    config = parse_config(tomllib.loads(text), "benchmark")
    spent = dict.fromkeys([*STAGES, DRIFT], 0.0)
    last = time.perf_counter()

    def reached(place: str) -> None:
        nonlocal last
        now = time.perf_counter()
        spent[place.removeprefix("engine.")] += now - last
        last = now

    source = open_source(config, folder / "riverd.toml", bounded=True)
    engine = Engine(config, assemble(config, now_us=wall_clock_us), source, bounded=True, reached=reached)
    drift, labelled = engine.parts.drift, engine.parts.labelled
    for of, name in ((drift, "observe"), (drift, "advance"), (drift, "window"), (labelled, "observe")):
        setattr(of, name, timed(getattr(of, name), spent))
    calm_garbage_collection()
    engine.step()  # compiles, or loads what was compiled
    spent.update(dict.fromkeys([*STAGES, DRIFT], 0.0))
    last = time.perf_counter()
    while not engine.finished:
        engine.step()
    done = engine.parts.joiner.fates()["resolved"]
    assert done == pairs, engine.parts.joiner.fates()
    return {stage: seconds / pairs * 1e9 for stage, seconds in spent.items()}


def whole(spent: dict[str, float]) -> float:
    return sum(spent[stage] for stage in STAGES)


def timed(call, spent):
    """The same call, with its time added to that of drift."""

    def wrapped(*arguments):
        began = time.perf_counter()
        result = call(*arguments)
        spent[DRIFT] += time.perf_counter() - began
        return result

    return wrapped


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    folder = rows.write(pairs)
    table = Table("ns per pair, best of 3", *STAGES, "all", "of it drift")
    for joined in (True, False):
        runs = [measure(folder, joined=joined, pairs=pairs) for _ in range(3)]
        best = min(runs, key=whole)
        cells = [f"{best[stage]:,.0f}" for stage in STAGES]
        part = f"{best[DRIFT]:,.0f} ({best[DRIFT] / whole(best):.1%})"
        table.add_row("joined" if joined else "labelled", *cells, f"{whole(best):,.0f}", part)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
