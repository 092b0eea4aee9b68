"""Ten million predictions that wait for labels: memory of the whole process, and what a checkpoint costs."""

from __future__ import annotations

import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import rows
from throughput import CONFIG, LABELS

PENDING = 10_000_000


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else PENDING
    folder = rows.write(events, outcomes=False)
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / "riverd.toml"
        text = CONFIG.format(
            folder=folder, topic="events", label="", labels=LABELS, database=Path(scratch) / "riverd.db"
        )
        config.write_text(text.replace('window = "10m"', 'window = "4h"'))
        began = time.perf_counter()
        command = [sys.executable, "-m", "riverd", "run", "-c", str(config), "--until-idle"]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - began
        size = (Path(scratch) / "riverd.db").stat().st_size
    counts = json.loads(ended.stdout)["counts"]
    assert counts["pending"] == events, counts
    pauses = [float(ms) for ms in re.findall(r"\(([\d.]+) ms pause\)", ended.stderr)]
    writes = [float(ms) for ms in re.findall(r"([\d.]+) ms \([\d.]+ ms pause\)", ended.stderr)]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(
        f"{events:,} pending: peak memory {peak / 1e9:.2f} GB (goal 2.5), database {size / 1e9:.2f} GB, {seconds:.0f} s"
    )
    print(
        f"{len(pauses)} checkpoints: pause median {statistics.median(pauses):.1f} ms, "
        f"longest {max(pauses):.1f} ms (goal 20); write median {statistics.median(writes):.0f} ms"
    )


if __name__ == "__main__":
    main()
