"""riverd beside river and Vowpal Wabbit: same rows, whole processes, wall and CPU time, quality.

One run measures all, each ``ROUNDS`` times in turn; ratios are of medians. river gets fewer rows, or it would
take half an hour; its rate does not depend on how many.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import rows
from rich.console import Console
from rich.table import Table

PAIRS = 10_000_000
RIVER_ROWS = 2_000_000
ROUNDS = 3

CONFIG = """
[model]
name = "bench"
[source]
path = "{folder}"
[events]
topic = "{topic}"
id = "_id"
time = "_time"
{label}
{labels}
[features]
categories = ["carrier", "origin", "dest", "hour", "weekday"]
numbers = ["distance", "planned_minutes", "temp", "wind_speed", "precip", "pressure"]
crosses = [["origin", "dest"]]
[storage]
url = "sqlite:///{database}"
[monitors]
windows = ["1h", "6h"]
"""
LABELS = """
[labels]
topic = "outcomes"
id = "_id"
time = "_time"
value = "_late"
window = "10m"
"""


@dataclass
class Result:
    name: str
    rows: int
    wall_s: list[float]
    cpu_s: list[float]
    logloss: float = float("nan")
    roc_auc: float = float("nan")

    @property
    def rate(self) -> float:
        return self.rows / statistics.median(self.wall_s)


def riverd(folder: Path, result: Result, *, joined: bool) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / "riverd.toml"
        config.write_text(
            CONFIG.format(
                folder=folder,
                topic="events" if joined else "labelled",
                label="" if joined else 'label = "_late"',
                labels=LABELS if joined else "",
                database=Path(scratch) / "riverd.db",
            )
        )
        command = [sys.executable, "-m", "riverd", "run", "-c", str(config), "--until-idle", "--json"]
        output = timed(command, result)
    summary = json.loads(output)
    assert summary["counts"]["resolved"] == result.rows, summary["counts"]
    result.logloss, result.roc_auc = summary["metrics"]["logloss"], summary["metrics"]["roc_auc"]


def peer(name: str, folder: Path, result: Result) -> None:
    command = [sys.executable, str(Path(__file__).with_name("peers.py")), name, str(folder / "labelled" / "0.jsonl")]
    timed([*command, str(result.rows)], result)


def timed(command: list[str], result: Result) -> str:
    """Run a process to its end; wall time, and the CPU time of all its threads."""
    before, began = os.times(), time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    result.wall_s.append(time.perf_counter() - began)
    after = os.times()
    result.cpu_s.append(after.children_user + after.children_system - before.children_user - before.children_system)
    if ended.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{ended.stderr}")
    return ended.stdout


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    console = Console(width=130)
    console.print(f"Writing {pairs:,} rows ...")
    folder = rows.write(pairs)
    joined = Result("riverd, joined", pairs, [], [])
    labelled = Result("riverd, labelled", pairs, [], [])
    vw = Result("Vowpal Wabbit --json", pairs, [], [])
    river = Result("river FeatureHasher | LogisticRegression", min(RIVER_ROWS, pairs), [], [])
    riverd(rows.write(100_000), Result("warm-up", 100_000, [], []), joined=True)
    riverd(rows.write(100_000), Result("warm-up", 100_000, [], []), joined=False)
    for round_number in range(ROUNDS):
        console.print(f"Round {round_number + 1} of {ROUNDS} ...")
        riverd(folder, joined, joined=True)
        riverd(folder, labelled, joined=False)
        peer("vw", folder, vw)
        peer("river", folder, river)
    for result in (vw, river):
        quality(result, folder)
    table = Table("", "rows", "wall s (min, median, max)", "CPU s", "rows/s", "us/row", "logloss", "AUC")
    for result in (joined, labelled, vw, river):
        wall = f"{min(result.wall_s):.1f} {statistics.median(result.wall_s):.1f} {max(result.wall_s):.1f}"
        table.add_row(
            result.name, f"{result.rows:,}", wall, f"{statistics.median(result.cpu_s):.1f}", f"{result.rate:,.0f}",
            f"{1e6 / result.rate:.2f}", f"{result.logloss:.4f}", f"{result.roc_auc:.4f}",
        )  # fmt: skip
    console.print(table)
    console.print(f"joined: {joined.rate:,.0f} pairs/s (goal 250,000)")
    console.print(
        f"labelled: {labelled.rate / river.rate:.1f} x river (goal 6), {labelled.rate / vw.rate:.2f} x VW (0.8)"
    )


def quality(result: Result, folder: Path) -> None:
    """Progressive logloss and AUC, from a run of its own that writes predictions."""
    command = [sys.executable, str(Path(__file__).with_name("peers.py"))]
    name = "vw-quality" if "Vowpal" in result.name else "river-quality"
    output = timed([*command, name, str(folder / "labelled" / "0.jsonl"), str(result.rows)], Result("", 0, [], []))
    result.logloss, result.roc_auc = json.loads(output.splitlines()[-1])


if __name__ == "__main__":
    main()
