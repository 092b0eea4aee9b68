"""``riverd snapshots``: look at versions of the model, check them, put one in place of the model that serves."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from models.published import state_of
from models.state import ASKED, LEARNED
from riverd.config import Config
from riverd.errors import RiverdError
from riverd.request_commands import ask, existing_store
from riverd.screen.notation import count, figure, moment, plain
from riverd.time_ranges import Stretch, parse_moment
from storage.alerts import Alert
from storage.arrays import decode
from storage.errors import DamagedBlob
from storage.snapshots import Snapshot
from storage.store import Store


def snapshots(options: argparse.Namespace) -> int:
    """Carry out the one that is asked for."""
    with existing_store(options.config) as (config, store):
        return _COMMANDS[options.what](options, config, store)


def _list(options: argparse.Namespace, _: Config, store: Store) -> int:
    found = store.snapshots()
    if options.json:
        print(json.dumps([_known(snapshot) for snapshot in found]))
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


def _known(snapshot: Snapshot) -> dict[str, Any]:
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


def _of(store: Store, number: int) -> Snapshot:
    store.snapshot(number)  # says what is kept where this one is not, and finds damage
    return next(snapshot for snapshot in store.snapshots() if snapshot.number == number)


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
    snapshot = _of(store, options.number)
    known = _known(snapshot) | _learned(store.snapshot(snapshot.number))
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


def _diff(options: argparse.Namespace, _: Config, store: Store) -> int:
    pair = [_of(store, number) for number in (options.number, options.other)]
    states = [decode(store.snapshot(snapshot.number))[1] for snapshot in pair]
    lineages = [snapshot.lineage for snapshot in pair]
    names = sorted(lineages[0].keys() | lineages[1].keys())
    differs = {
        name: [lineage.get(name) for lineage in lineages]
        for name in names
        if lineages[0].get(name) != lineages[1].get(name)
    }
    slots = [set(np.asarray(state["slots"]).tolist()) for state in states]
    places = {"both": len(slots[0] & slots[1]), "first": len(slots[0] - slots[1]), "second": len(slots[1] - slots[0])}
    if options.json:
        print(json.dumps({"lineage": differs, "slots": places}))
        return 0
    for name, (one, other) in differs.items():
        print(f"{name:>14}  {plain(json.dumps(one))[:200]}\n{'':>14}  {plain(json.dumps(other))[:200]}")
    print(f"{'slots':>14}  {count(places['both'])} in both, {count(places['first'])} in {options.number} alone, "
          f"{count(places['second'])} in {options.other} alone")  # fmt: skip
    return 0


def _verify(options: argparse.Namespace, config: Config, store: Store) -> int:
    from riverd.retrain_replay import train

    numbers = options.numbers or [snapshot.number for snapshot in store.snapshots()]
    verdicts: dict[int, str] = {}
    for number in numbers:
        try:
            snapshot, data = _of(store, number), store.snapshot(number)
            decode(data)
        except DamagedBlob as error:
            verdicts[number] = f"damaged: {error}"
            continue
        lineage = snapshot.lineage
        if lineage.get("born") != "replay":
            verdicts[number] = "bytes intact; not verifiable: it was learned live"
            continue
        if lineage["settings"] != config.learned_from:
            verdicts[number] = "bytes intact; not verifiable: riverd.toml says something else now"
            continue
        from_us, to_us = lineage["range"]
        excluded = tuple((begin, end) for begin, end in lineage["excluded"])
        start = None if lineage["start"] is None else store.snapshot(lineage["start"])
        again, _ = train(config, options.config, Stretch(from_us, to_us, excluded), start=start)
        same = _same(again, data)
        verdicts[number] = "rebuilt, the same to the byte" if same else "DIFFERS from what a replay makes now"
    if options.json:
        print(json.dumps({str(number): verdict for number, verdict in verdicts.items()}))
    else:
        for number, verdict in verdicts.items():
            print(f"{number:>6}  {plain(verdict)}")
    return int(any(verdict.startswith(("damaged", "DIFFERS")) for verdict in verdicts.values()))


def _same(one: bytes, other: bytes) -> bool:
    """Compressed bytes depend on the library; what is in them does not."""
    (header, state), (other_header, other_state) = decode(one), decode(other)
    return (
        header == other_header
        and state.keys() == other_state.keys()
        and all(state[name].tobytes() == other_state[name].tobytes() for name in state)
    )


def _promote(options: argparse.Namespace, _: Config, store: Store) -> int:
    _of(store, options.number)
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
        _of(store, number)
    return ask(store, "rollback", {"snapshot": number}, wait_s=options.wait, as_json=options.json)


def rollback_targets(
    found: Sequence[Snapshot], alerts: Sequence[Alert], *, before_us: int | None
) -> Sequence[Snapshot]:
    """Where to roll back to, the best first: what had learned nothing since ``before_us``.

    Without that, since the first alert that fires now began; and when none does, what stood before the last promotion.
    """
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
    "diff": _diff,
    "verify": _verify,
    "promote": _promote,
    "rollback": _rollback,
    "prune": _prune,
}
