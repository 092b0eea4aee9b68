"""Starts the worker that trains a challenger, and hears what becomes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from riverd.config import Config
from riverd.retrain_replay import settings_sha256
from riverd.retrain_worker import Job, Progress
from riverd.time_ranges import Stretch

LOOK_S = 0.05
# with the daemon's own path: what lies in the working folder must not hide our packages
PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from riverd.retrain_worker import main; main()"


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training: the bytes of the model, or why there are none."""

    data: bytes | None
    events: int
    fault: str | None = None


class Trainer(Protocol):
    """Trains one model at a time, in the background."""

    progress: Progress

    def start(self, stretch: Stretch, start: bytes | None) -> None:
        """Begin; raises OSError when no process or no file can be had."""
        ...

    def result(self) -> Trained | None:
        """What came of it, or None while it goes on; returns at once."""
        ...

    def stop(self) -> None:
        """Give it up."""
        ...

    @property
    def running(self) -> bool: ...


class ProcessTrainer:
    """A subprocess of low priority that ends when this process does.

    Parameters
    ----------
    config, config_path
        What this daemon runs with; the worker refuses to go on with another.
    """

    def __init__(self, config: Config, config_path: Path) -> None:
        self.progress = Progress()
        self._config, self._config_path = config, config_path
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._received = b""

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self, stretch: Stretch, start: bytes | None) -> None:
        self.stop()
        self._folder = tempfile.TemporaryDirectory(prefix="riverd-retrain-")
        folder = Path(self._folder.name)
        if start is not None:
            (folder / "start").write_bytes(start)
        job = Job(
            config=str(self._config_path.resolve()),
            settings=settings_sha256(self._config),
            from_us=stretch.from_us,
            to_us=stretch.to_us,
            excluded=stretch.excluded,
            start=None if start is None else str(folder / "start"),
            result=str(folder / "model"),
        )
        (folder / "job").write_bytes(msgspec.json.encode(job))
        command = [sys.executable, "-P", "-c", PROGRAM, json.dumps(sys.path), str(folder / "job")]
        # a group of its own: Ctrl-C is for the daemon; a session would make niceness count within that alone
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self.progress, self._received = Progress(), b""

    def result(self) -> Trained | None:
        if self._process is None:
            return None
        code = self._process.poll()  # before the last lines are read, else some might be missed
        self._listen()
        if code is None:
            return None
        assert self._folder is not None
        trained = Trained(None, self.progress.events, self.progress.fault or _ended(code))
        if code == 0 and self.progress.done:
            trained = Trained((Path(self._folder.name) / "model").read_bytes(), self.progress.events)
        self._clear()
        return trained

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._clear()

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while chunk := self._process.stdout.read(1 << 16):
            self._received += chunk
        while b"\n" in self._received:
            line, _, self._received = self._received.partition(b"\n")
            try:
                self.progress = msgspec.json.decode(line, type=Progress)
            except msgspec.DecodeError:  # what a library prints is none of ours
                continue

    def _clear(self) -> None:
        assert self._process is not None
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        if self._folder is not None:
            self._folder.cleanup()
        self._process = self._folder = None


def wait_for(trainer: Trainer, *, stopped: Callable[[], bool] = lambda: False) -> Trained | None:
    """Wait for what comes of it; None when told to stop before."""
    while (trained := trainer.result()) is None:
        if stopped():
            return None
        time.sleep(LOOK_S)
    return trained


def _ended(code: int) -> str:
    if code < 0:
        return f"the worker was killed by {signal.Signals(-code).name}"
    return f"the worker ended with code {code}"
