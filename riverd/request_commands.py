"""What the commands have in common that ask the daemon for something by way of the database, running or not."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from riverd.config import Config
from riverd.errors import RiverdError
from riverd.inspection.check_state import database_path
from riverd.load_config import load_config
from riverd.screen.notation import plain
from storage.requests import Request
from storage.snapshots import Snapshot
from storage.store import Store

LOOK_S = 0.1


@contextmanager
def existing_store(config_path: Path, *, create: bool = False) -> Generator[tuple[Config, Store]]:
    """The config and its store; raises RiverdError where there is none yet, unless one may be made."""
    from riverd.service import open_store

    config = load_config(config_path)
    path = database_path(config, config_path)
    if path is not None and not path.exists() and not create:
        raise RiverdError(
            f"{path} does not exist yet: riverd has learned nothing.\n  Run it first:  riverd run -c {config_path}"
        )
    store = open_store(config, config_path, reached=lambda _: None)
    try:
        yield config, store
    finally:
        store.close()


def find_snapshot(store: Store, number: int) -> Snapshot:
    """What is known of it; raises NoSuchSnapshot, with what is kept, and DamagedBlob."""
    store.snapshot(number)
    return next(snapshot for snapshot in store.snapshots() if snapshot.number == number)


def known_of(snapshot: Snapshot) -> dict[str, Any]:
    """As the commands print it in JSON."""
    return {
        "number": snapshot.number,
        "created_at": _text(snapshot.created_at),
        "watermark": _text(snapshot.watermark),
        "checkpoint": snapshot.checkpoint,
        "reason": snapshot.reason,
        "promoted_at": None if snapshot.promoted_at is None else _text(snapshot.promoted_at),
        "sha256": snapshot.sha256,
        "lineage": snapshot.lineage,
    }


def _text(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat()


def ask(store: Store, what: str, arguments: Mapping[str, Any], *, wait_s: float, as_json: bool) -> int:
    """Store a request, wait for its outcome and print it; 1 if it was refused."""
    number, _ = store.ask(what, arguments)
    request = _outcome(store, number, wait_s=wait_s)
    outcome = None if request is None else request.outcome
    refused = outcome is not None and outcome.startswith("refused")
    if as_json:
        print(json.dumps({"request": number, "done": outcome is not None, "outcome": outcome}))
    elif refused:
        print(f"riverd: request {number} is {plain(outcome or '')}", file=sys.stderr)
    elif outcome is not None:
        print(f"Request {number}: {plain(outcome)}.")
    else:
        waited = f", but was not carried out within {wait_s:g} s" if wait_s else ""
        print(
            f"Request {number} is stored{waited}.\n"
            "  A riverd that runs carries it out when it can; one that does not, before the next record once it runs."
        )
    return 1 if refused else 0


def _outcome(store: Store, number: int, *, wait_s: float) -> Request | None:
    until_s = time.monotonic() + wait_s
    while True:
        request = store.request(number)
        if request is None or request.done_at is not None:
            return request
        if time.monotonic() >= until_s:
            return None
        time.sleep(LOOK_S)
