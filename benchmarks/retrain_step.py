"""What a retrain beside it costs the live engine: step times with and without the worker, in turns in one process.

    python -m benchmarks.retrain_step FOLDER [ROUNDS]

FOLDER is one that ``riverd demo --folder`` has made. Prints medians and the 90 % quantile of the ratio of rounds.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

from riverd.assembly import assemble
from riverd.engine import Engine, Unsaved
from riverd.load_config import load_config
from riverd.service import open_source, wall_clock_us
from riverd.time_ranges import Stretch
from riverd.trainer import ProcessTrainer

STEPS = 12  # of 8,192 messages: about a second


def seconds_of_steps(engine: Engine) -> list[float]:
    times: list[float] = []
    for _ in range(STEPS):
        began = time.perf_counter()
        engine.step()
        times.append(time.perf_counter() - began)
        engine.unsaved = Unsaved()
    return times


def main(folder: Path, rounds: int) -> None:
    path = folder / "riverd.toml"
    config = load_config(path)
    config = config.model_copy(update={"alerts": []})
    trainer = ProcessTrainer(load_config(path), path)
    alone: list[float] = []
    beside: list[float] = []
    for number in range(rounds):
        engine = Engine(
            config, assemble(config, now_us=wall_clock_us), open_source(config, path, bounded=True), bounded=True
        )
        seconds_of_steps(engine)  # the first are of a model that is small, and of caches that are cold
        for busy in (False, True) if number % 2 else (True, False):
            if busy:
                trainer.start(Stretch(), None)
                while not trainer.progress.events and trainer.result() is None:
                    time.sleep(0.05)
            (beside if busy else alone).extend(seconds_of_steps(engine))
            trainer.stop()
        engine.source.close()
    one, other = np.array(alone).reshape(rounds, STEPS).sum(1), np.array(beside).reshape(rounds, STEPS).sum(1)
    print(f"alone  {1e3 * median(alone):.1f} ms a step")
    print(f"beside {1e3 * median(beside):.1f} ms a step")
    print(f"ratio of rounds: median {median(other / one):.3f}, from {min(other / one):.3f} to {max(other / one):.3f}")


if __name__ == "__main__":
    logging.getLogger("riverd").setLevel(logging.ERROR)
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 6)
