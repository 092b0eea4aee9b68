"""What is asked of a riverd by way of its database, and what it says of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from storage.store import Store


def store(folder: Path) -> closing[Store]:
    return closing(Store.open(f"sqlite:///{folder}/riverd.db", "shops"))


def ask(folder: Path, what: str, **arguments: Any) -> int:
    with store(folder) as opened:
        return opened.ask(what, arguments)[0]


def decisions(folder: Path) -> list[tuple[str, int | None]]:
    with store(folder) as opened:
        return [(each.decision.decision, each.decision.retrain) for each in reversed(opened.decisions())]


def daemon_of(folder: Path) -> int:
    """The process id of the riverd that runs the folder's config."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(folder / "riverd.toml") in (entry / "cmdline").read_text().split("\0"):
                return int(entry.name)
    raise AssertionError(f"nobody runs {folder}")


def worker_of(pid: int) -> int | None:
    """The process id of the daemon's worker, or None."""
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "stat").read_text().rpartition(")")[2].split()
            mine = entry.name.isdigit() and int(words[1]) == pid and words[0] != "Z"
            if mine and "retrain_worker" in (entry / "cmdline").read_text():
                return int(entry.name)
        except (OSError, IndexError):
            continue
    return None


def says(text: str) -> Callable[[dict[str, Any]], bool]:
    return lambda told: any(text in line for line in told["log"])
