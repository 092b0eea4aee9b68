"""The subprocess that trains a challenger: of low priority, it reads a job, writes a file, and ends with its parent."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from pathlib import Path

import msgspec

from riverd.time_ranges import Range, Stretch

TELL_S = 1.0
ORPHANED = 3  # exit code: the parent is gone
NICENESS = 19


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to train, and where things are."""

    config: str  # path of riverd.toml
    settings: str  # sha256 of what the daemon runs with: the file may have been changed since
    from_us: int | None
    to_us: int | None
    excluded: tuple[Range, ...]
    start: str | None  # path of a snapshot's bytes to go on from
    result: str  # path to write

    @property
    def stretch(self) -> Stretch:
        return Stretch(self.from_us, self.to_us, self.excluded)


class Progress(msgspec.Struct, frozen=True):
    """A line of the worker's output."""

    events: int = 0
    share: float | None = None  # of the source that is read
    done: bool = False
    fault: str | None = None


def main() -> None:
    """Carry out the job in the file ``sys.argv[-1]``."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    yield_to_others()
    job = msgspec.json.decode(Path(sys.argv[-1]).read_bytes(), type=Job)
    try:
        events = _carry_out(job)
    except Exception as error:  # whatever it was, the daemon logs it and goes on
        _tell(Progress(fault=f"{error}" if str(error) else type(error).__name__))
        sys.exit(1)
    _tell(Progress(events=events, share=1.0, done=True))


def yield_to_others() -> None:
    """Run only when the processor has nothing better to do."""
    os.nice(NICENESS)
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):  # a container may forbid it; niceness is there all the same
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _carry_out(job: Job) -> int:
    from riverd.errors import ConfigError
    from riverd.load_config import load_config
    from riverd.retrain_replay import settings_sha256, train

    path = Path(job.config)
    config = load_config(path)
    if settings_sha256(config) != job.settings:
        raise ConfigError(f"{path} is no longer what riverd was started with.\n  Restart riverd, then retrain again.")
    told_s = 0.0

    def tell(events: int, share: float | None) -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if now_s - told_s >= TELL_S:
            told_s = now_s
            _tell(Progress(events=events, share=share))

    start = None if job.start is None else Path(job.start).read_bytes()
    data, events = train(config, path, job.stretch, start=start, tell=tell)
    part = Path(f"{job.result}.part")
    part.write_bytes(data)
    part.rename(job.result)
    return events


def _tell(progress: Progress) -> None:
    sys.stdout.write(json.dumps(msgspec.to_builtins(progress)) + "\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    os.read(0, 1)  # nothing ever comes; it ends when the daemon does
    os._exit(ORPHANED)
