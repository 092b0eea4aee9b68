"""Runs of riverd in children of this warm process: they start in milliseconds, and may be killed."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from riverd import service
from riverd.errors import RiverdError
from riverd.failpoints import fail_points
from riverd.load_config import load_config
from riverd.status import Status
from storage.errors import StorageError
from stream.source import SourceError

DEADLINE_S = 60.0


class Child:
    """A forked process that runs ``main``; what that returns, as JSON, is ``result`` if it exits with 0."""

    def __init__(self, main: Callable[[], Any]) -> None:
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads of others do not matter to the child
            self.pid = os.fork()
        if self.pid == 0:
            os.close(reading)
            _be_the_child(main, writing)
        os.close(writing)
        self._pidfd = os.pidfd_open(self.pid)
        self._output = reading
        self.code: int | None = None
        self.result: Any = None

    def ended(self, *, within_s: float) -> bool:
        return bool(select.select([self._pidfd], [], [], within_s)[0])

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, *, within_s: float = DEADLINE_S) -> int:
        """The exit code, or minus the signal that killed it."""
        if not self.ended(within_s=within_s):
            self.signal(signal.SIGKILL)
            raise AssertionError(f"the child has not ended within {within_s} s")
        self.code = code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        with os.fdopen(self._output, "rb") as output:
            text = output.read()
        os.close(self._pidfd)
        self.result = json.loads(text) if text and code in (0, 1) else None
        return code


def _be_the_child(main: Callable[[], Any], writing: int) -> None:
    code = 0
    try:
        result = main()
    except (RiverdError, StorageError, SourceError) as error:
        code, result = 1, str(error)
    except KeyboardInterrupt:
        code, result = 130, None
    except BaseException as error:
        code, result = 3, repr(error)
    with os.fdopen(writing, "w") as output:
        json.dump(result, output)
    os._exit(code)


def run_child(folder: Path, *, fails_at: str | None = None, until_idle: bool = True, **ports: Any) -> Child:
    """A child that runs the folder's riverd.toml and gives its final object."""

    def main() -> dict[str, Any]:
        config_path = folder / "riverd.toml"
        ports.setdefault("reached", fail_points(fails_at))
        return service.run(load_config(config_path), config_path, until_idle=until_idle, **ports).result

    return Child(main)


def finish(folder: Path) -> dict[str, Any]:
    """Run to the end, undisturbed."""
    child = run_child(folder)
    assert child.wait() == 0
    return child.result


def facts(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    """All that must be equal to the bit: the final object without its speed, the alerts and the dead letters."""
    with closing(sqlite3.connect(folder / "riverd.db")) as connection:
        alerts = connection.execute("SELECT * FROM alerts ORDER BY rule, started_at").fetchall()
        columns = "id, topic, partition, position, reason, payload"
        dead_letters = connection.execute(f"SELECT {columns} FROM dead_letters ORDER BY id").fetchall()
    steady = {key: value for key, value in result.items() if key not in ("seconds", "events_per_second")}
    return steady | {"alerts table": alerts, "dead letters": dead_letters}


Told = dict[str, Any]
WaitFor = Callable[[Callable[[Told], Any]], Told]


@contextmanager
def tailing(folder: Path, **ports: Any) -> Iterator[tuple[Child, WaitFor]]:
    """A child that tails the folder, and a function that waits until what it has told satisfies a condition.

    It tells its phase, counts, what it judged, its newest checkpoint and what it logs; the function returns the last
    of it.
    """
    reading, writing = os.pipe()

    def tell(**told: Any) -> None:
        os.write(writing, json.dumps(told).encode() + b"\n")

    def show(status: Status) -> None:
        checkpoint = None if status.checkpoint is None else asdict(status.checkpoint)
        judged = None if status.judged is None else asdict(status.judged)
        tell(phase=status.phase, counts=status.counts, checkpoint=checkpoint, judged=judged)

    with _logging_to(lambda line: tell(line=line)):
        child = run_child(folder, until_idle=False, show=show, **ports)
    os.close(writing)
    told: Told = {"phase": None, "counts": {}, "checkpoint": None, "judged": None, "log": []}
    rest = b""

    def wait_for(condition: Callable[[Told], Any]) -> Told:
        nonlocal rest
        while True:
            while b"\n" in rest:
                line, _, rest = rest.partition(b"\n")
                told.update(json.loads(line))
                told["log"] += [told.pop("line")] if "line" in told else []
                if condition(told):
                    return told | {"log": told["log"].copy()}
            assert select.select([reading], [], [], DEADLINE_S)[0], f"it never came true: {told}"
            read = os.read(reading, 1 << 16)
            assert read, f"the child has ended: {told}"
            rest += read

    try:
        yield child, wait_for
    finally:
        if child.code is None:
            child.signal(signal.SIGKILL)
            child.wait()
        os.close(reading)


@contextmanager
def _logging_to(write: Callable[[str], None]) -> Iterator[None]:
    """A child that is made meanwhile hands on what it logs."""
    log, handler = logging.getLogger("riverd"), logging.Handler()
    handler.emit = lambda record: write(record.getMessage())  # type: ignore[method-assign]
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
