"""``riverd snapshots verify``: are the bytes what was stored, and does a replay teach the same again?"""

from __future__ import annotations

import argparse
import json

from riverd.changes import changed_settings
from riverd.config import Config
from riverd.request_commands import find_snapshot
from riverd.screen.notation import plain
from riverd.time_ranges import Stretch
from storage.arrays import decode
from storage.errors import DamagedBlob
from storage.store import Store

BAD = ("damaged", "DIFFERS")


def verify(options: argparse.Namespace, config: Config, store: Store) -> int:
    """Check those that are named, or all; 1 if one is not what it was."""
    numbers = options.numbers or [snapshot.number for snapshot in store.snapshots()]
    verdicts: dict[int, str] = {}
    for number in numbers:
        verdicts[number] = _verdict(number, options, config, store)
        if not options.json:
            print(f"{number:>6}  {plain(verdicts[number])}", flush=True)  # a replay takes its time
    if options.json:
        print(json.dumps({str(number): verdict for number, verdict in verdicts.items()}))
    return int(any(verdict.startswith(BAD) for verdict in verdicts.values()))


def _verdict(number: int, options: argparse.Namespace, config: Config, store: Store) -> str:
    from riverd.retrain_replay import train

    try:
        snapshot, data = find_snapshot(store, number), store.snapshot(number)
        decode(data)
    except DamagedBlob as error:
        return f"damaged: {error}"
    lineage = snapshot.lineage
    match lineage.get("born"):
        case "replay":
            pass
        case "import":
            return "bytes intact; not verifiable: it was imported"
        case _:
            return "bytes intact; not verifiable: it was learned live"
    changes = changed_settings(config, lineage["settings"])
    changes = [change for change in changes if not change.key.startswith("[monitors]")]  # they teach nothing
    if changes:
        return f"bytes intact; not verifiable: {changes[0].key} is another now"
    from_us, to_us = lineage["range"]
    excluded = tuple((begin, end) for begin, end in lineage["excluded"])
    try:
        start = None if lineage["start"] is None else store.snapshot(lineage["start"])
    except DamagedBlob as error:
        return f"bytes intact; not verifiable: what it goes on from is damaged: {error}"
    again, _ = train(config, options.config, Stretch(from_us, to_us, excluded), start=start)
    return "rebuilt, the same to the byte" if _same(again, data) else "DIFFERS from what a replay makes now"


def _same(one: bytes, other: bytes) -> bool:
    """Compressed bytes depend on the library; what is in them does not."""
    state, other_state = decode(one)[1], decode(other)[1]
    return state.keys() == other_state.keys() and all(
        state[name].tobytes() == other_state[name].tobytes() for name in state
    )
