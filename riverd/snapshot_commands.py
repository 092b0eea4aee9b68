"""``riverd snapshots``: look at versions of the model, check them, put one in place of the model that serves."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence

import numpy as np

from models.published import state_of
from models.state import ASKED, LEARNED
from riverd.config import Config
from riverd.errors import RiverdError
from riverd.request_commands import ask, existing_store, find_snapshot, known_of
from riverd.screen.notation import figure, moment, plain
from riverd.snapshot_diff import diff
from riverd.snapshot_files import export, import_
from riverd.snapshot_verify import verify
from riverd.time_ranges import parse_moment
from storage.alerts import Alert
from storage.arrays import decode
from storage.errors import DamagedBlob
from storage.snapshots import Snapshot
from storage.store import Store


def snapshots(options: argparse.Namespace) -> int:
    """Carry out the one that is asked for."""
    with existing_store(options.config, create=options.what == "import") as (config, store):
        return _COMMANDS[options.what](options, config, store)


def _list(options: argparse.Namespace, _: Config, store: Store) -> int:
    found = store.snapshots()
    if options.json:
        print(json.dumps([known_of(snapshot) for snapshot in found]))
        return 0
    if not found:
        print("No snapshot was taken yet.")
    for snapshot in found:
        loss = (snapshot.lineage.get("metrics") or {}).get("logloss")
        promoted = "" if snapshot.promoted_at is None else "  promoted"
        print(
            f"{snapshot.number:>6}  learned to {moment(snapshot.watermark)}  logloss {figure(loss)}  "
            f"{plain(snapshot.reason)}{promoted}"
        )
    return 0


def _learned(data: bytes) -> dict[str, int]:
    header, whole_state = decode(data)
    state = state_of(whole_state, slots=(1 << header["learned_from"]["model"]["bits"]) + 1)
    return {
        "asked": int(state.counters[ASKED]),
        "learned": int(state.counters[LEARNED]),
        "slots": len(whole_state["slots"]),
        "not_finite": int((~np.isfinite(state.weights)).any(axis=1).sum()),
    }


def _show(options: argparse.Namespace, _: Config, store: Store) -> int:
    snapshot = find_snapshot(store, options.number)
    known = known_of(snapshot) | _learned(store.snapshot(snapshot.number))
    if options.json:
        print(json.dumps(known))
        return 0
    settings = snapshot.lineage.get("settings") or {}
    for name, value in (known | snapshot.lineage).items():
        if name in ("lineage", "settings"):
            continue
        print(f"{name:>14}  {plain(value if isinstance(value, str) else json.dumps(value))}")
    print(f"{'model':>14}  {plain(json.dumps(settings.get('model')))}")
    return 0


def _promote(options: argparse.Namespace, _: Config, store: Store) -> int:
    find_snapshot(store, options.number)
    arguments = {"snapshot": options.number}
    return ask(store, "promote", arguments, wait_s=options.wait, as_json=options.json)


def _rollback(options: argparse.Namespace, _: Config, store: Store) -> int:
    number = options.number
    if number is None:
        before = None if options.before is None else _moment(options.before)
        for snapshot in rollback_targets(store.snapshots(), store.alerts(), before_us=before):
            try:
                store.snapshot(snapshot.number)
            except DamagedBlob as error:
                print(f"passed over: {error}")
                continue
            number = snapshot.number
            break
        else:
            raise RiverdError(
                "there is no snapshot from before, or nothing says before what.\n"
                "  Give a number of `riverd snapshots list`, or --before TIME."
            )
    else:
        find_snapshot(store, number)
    return ask(store, "rollback", {"snapshot": number}, wait_s=options.wait, as_json=options.json)


def rollback_targets(
    found: Sequence[Snapshot], alerts: Sequence[Alert], *, before_us: int | None
) -> Sequence[Snapshot]:
    """Where to roll back to, the best first: what had learned nothing since ``before_us``.

    Without that, since the first alert that fires now began; and when none does, what stood before the last promotion.
    """
    # a challenger that was not promoted, or one from elsewhere, has never served here
    found = [snapshot for snapshot in found if snapshot.lineage.get("born", "live") == "live"]
    if before_us is None:
        firing = [alert.started_at for alert in alerts if alert.state == "firing"]
        before_us = min(firing, default=None)
    if before_us is not None:
        return [snapshot for snapshot in found if snapshot.watermark < before_us]
    promoted = next((snapshot.number for snapshot in found if snapshot.promoted_at is not None), None)
    return [] if promoted is None else [snapshot for snapshot in found if snapshot.number < promoted]


def _moment(text: str) -> int:
    try:
        return parse_moment(text)
    except ValueError as error:
        raise RiverdError(f"--before {text!r} {error}") from None


def _prune(options: argparse.Namespace, _: Config, store: Store) -> int:
    if options.keep < 1:
        raise RiverdError("--keep must be at least 1.\n  The newest snapshot is what clients serve by.")
    gone = store.prune_snapshots(keep=options.keep)
    print(json.dumps({"deleted": gone}) if options.json else f"{len(gone)} deleted, {len(store.snapshots())} are kept")
    return 0


_COMMANDS: dict[str, Callable[[argparse.Namespace, Config, Store], int]] = {
    "list": _list,
    "show": _show,
    "diff": diff,
    "verify": verify,
    "promote": _promote,
    "rollback": _rollback,
    "export": export,
    "import": import_,
    "prune": _prune,
}
