"""Do the alerts tell the truth? Eight planted faults and none, in fresh streams, by riverd and by what is usual.

``python -m benchmarks.truthfulness [SEEDS [FIRST]]``. Each stream goes through the whole engine, from bytes on. What
was measured is kept in ``benchmarks/data/truthfulness.jsonl`` by a digest of the code, so that a run that is broken
off goes on, and two may share the work.

riverd has one list of rules and one error budget for all of it. river's detectors read the logloss of each event (DDM:
whether it was decided wrongly), in the order of the events and without waiting for their labels; KSWIN, at 0.7 ms an
event, is in benchmarks/detectors.py alone. A fixed threshold on
the ECE and PSI > 0.2 are judged each hour over the last day, by the same engine.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from river import drift

from benchmarks.monitor_streams import FAULT_AT, FAULTS, Stream, stream
from benchmarks.truthfulness_table import print_tables
from riverd.assembly import assemble
from riverd.engine import Engine
from riverd.load_config import parse_config
from stream.memory import MemorySource
from stream.records import SCORE, AlertChange, Events, Ops, Rows
from stream.source import Partition

SEEDS = 40
FIRST_SEED = 1_000  # none of these was looked at while riverd was made
ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "data" / "truthfulness.jsonl"
CATEGORIES, NUMBERS = ["site", "user", "kind"], ["heat", "wind", "amount"]
FIXED_ECE, FIXED_PSI = 0.01, 0.2
OURS = ("calibration-drift", "concept-drift", "labels-stalled", "dead-letters", "drift-")
QUIET = ("quiet", "busy")


def _rules() -> list[dict[str, Any]]:
    """riverd's list, and the fixed thresholds that others use."""
    daily = {"window": "1d", "min_labelled": 5_000}
    fields = [*CATEGORIES, *NUMBERS]
    return [
        *(
            {
                "name": f"drift-{name}",
                "metric": "psi_excess",
                "feature": name,
                "above": 2.0,
                "on": "provisional",
                **daily,
            }
            for name in fields
        ),
        {"name": "ECE", "metric": "ece", "above": FIXED_ECE, **daily},
        {"name": "PSI", "metric": "score_psi", "above": FIXED_PSI, "on": "provisional", **daily},
        *(
            {"name": f"PSI-{name}", "metric": "psi", "feature": name, "above": FIXED_PSI, "on": "provisional", **daily}
            for name in fields
        ),
    ]


CONFIG = parse_config(
    {
        "model": {"name": "benchmark"},
        "source": {"kind": "files", "path": "unused"},
        "events": {"topic": "events", "id": "id", "time": "at"},
        "labels": {"topic": "labels", "id": "id", "time": "at", "window": "12h", "missing": "negative"},
        "features": {"categories": CATEGORIES, "numbers": NUMBERS},
        "monitors": {"windows": ["1d", "7d"]},
        "alerts": _rules(),
    },
    "benchmark",
)


def main() -> None:
    seeds, first = (int(given) for given in (*sys.argv[1:], *(SEEDS, 0)[len(sys.argv) - 1 :]))
    logging.disable(logging.WARNING)
    RESULTS.parent.mkdir(exist_ok=True)
    digest = _digest()
    known = _known(digest)
    console = Console(width=140)
    wanted = [(kind, seed) for seed in range(first, first + seeds) for kind in _kinds(seed)]
    with RESULTS.open("a") as file:
        for number, (kind, seed) in enumerate(wanted):
            if (kind, seed) in known:
                continue
            began_s = time.perf_counter()
            alarms = measure(kind, seed)
            known[kind, seed] = alarms
            file.write(json.dumps({"digest": digest, "kind": kind, "seed": seed, "alarms": alarms}) + "\n")
            file.flush()
            print(f"{number + 1}/{len(wanted)} {kind} {seed}: {time.perf_counter() - began_s:.1f} s", file=sys.stderr)
    print_tables(console, {key: known[key] for key in wanted})


def _kinds(seed: int) -> list[str]:
    """Every fault, and a quiet stream: in every second seed a busy one."""
    return [*FAULTS, QUIET[seed % 2]]


def measure(kind: str, seed: int) -> dict[str, list[int]]:
    """By detector the events, counted from the fault, at which it gave an alarm."""
    made = stream(FIRST_SEED + seed, kind if kind in FAULTS else None, busy=kind == "busy")
    changes, logit = serve(made)
    alarms: dict[str, list[int]] = {"riverd": [], "ECE > 0.01": [], "PSI > 0.2": []}
    for change in changes:
        if change.state != "firing":
            continue
        at = int(np.searchsorted(made.time, change.at)) - FAULT_AT
        if change.rule.startswith(OURS):
            alarms["riverd"].append(at)
            alarms.setdefault(f"riverd: {change.rule.split('-')[0]}", []).append(at)
        else:
            alarms["ECE > 0.01" if change.rule == "ECE" else "PSI > 0.2"].append(at)
    return alarms | rivers(logit, made.label)


def serve(made: Stream) -> tuple[list[AlertChange], NDArray[np.float64]]:
    """What riverd said, and the logits that it served."""
    topics = {Partition("events", "0"): made.events, Partition("labels", "0"): made.labels}
    parts = assemble(CONFIG, now_us=lambda: 2 * int(made.time[-1]))
    logit = np.zeros(len(made.events))
    run = parts.model.run

    def listen(ops: Ops, rows: Rows, base: int, events: Events) -> None:
        run(ops, rows, base, events)
        scored = ops.row[(ops.code & SCORE) != 0]
        logit[scored] = rows.logit[scored - base]

    parts.model.run = listen  # pyrefly: ignore
    engine = Engine(CONFIG, parts, MemorySource(topics), bounded=True)
    engine.step()
    while not engine.finished:
        engine.step()
    assert parts.table.next == len(made.events), parts.joiner.fates()
    return list(engine.recent_alerts), logit


def rivers(logit: NDArray[np.float64], label: NDArray[np.int8]) -> dict[str, list[int]]:
    """The alarms of river's detectors with their defaults, on what was served after the first 40,000 events."""
    signed = np.where(label == 1, -logit, logit)
    loss, wrong = np.logaddexp(0.0, signed), signed > 0
    detectors: dict[str, tuple[Any, NDArray[Any]]] = {
        "ADWIN": (drift.ADWIN(), loss),
        "Page-Hinkley": (drift.PageHinkley(), loss),
        "DDM": (drift.binary.DDM(), wrong),
    }
    alarms: dict[str, list[int]] = {}
    for name, (detector, values) in detectors.items():
        found = alarms[name] = []
        for at, value in enumerate(values[40_000:].tolist(), start=40_000 - FAULT_AT):
            detector.update(value)
            if detector.drift_detected:
                found.append(at)
    return alarms


def _digest() -> str:
    files = [file for package in ("stream", "models", "monitors") for file in (ROOT / package).rglob("*.py")]
    files += [Path(__file__), Path(__file__).with_name("monitor_streams.py")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()[:12]


def _known(digest: str) -> dict[tuple[str, int], dict[str, list[int]]]:
    if not RESULTS.exists():
        return {}
    lines = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    return {(line["kind"], line["seed"]): line["alarms"] for line in lines if line["digest"] == digest}


if __name__ == "__main__":
    main()
