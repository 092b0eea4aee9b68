"""``riverd snapshots diff``: what sets two versions of the model apart, in where they come from and what they say."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.published import publish
from riverd.assembly import learner_settings
from riverd.config import Config
from riverd.request_commands import find_snapshot
from riverd.screen.notation import count, plain
from storage.arrays import decode
from storage.store import Store

MOVED = 0.1  # log odds: a probability of .500 becomes .525
OWN = ("settings", "config_sha256", "positions")  # long; settings are compared key by key


def diff(options: argparse.Namespace, config: Config, store: Store) -> int:
    """Print how the second differs from the first."""
    one, other = (find_snapshot(store, number) for number in (options.number, options.other))
    differs = _differs(_flat(one.lineage), _flat(other.lineage))
    weights = _compare(*(_weights(store.snapshot(snapshot.number), config) for snapshot in (one, other)))
    if options.json:
        print(json.dumps({"lineage": differs, "weights": weights}))
        return 0
    print(f"{'':>22}  {one.number:<30} {other.number}")
    for name, (first, second) in differs.items():
        print(f"{plain(name)[:22]:>22}  {_short(first):<30} {_short(second)}")
    if weights is None:
        print(f"{'weights':>22}  not comparable: their slots are not the same many")
        return 0
    print(
        f"{'slots':>22}  {count(weights['both'])} in both, {count(weights['first'])} in {one.number} alone, "
        f"{count(weights['second'])} in {other.number} alone\n"
        f"{'bias':>22}  {weights['bias'][0]:+.4f} became {weights['bias'][1]:+.4f} log odds\n"
        f"{'weights':>22}  moved by {weights['moved_rms']:.4f} log odds (root mean square), "
        f"{weights['moved_most']:.4f} at most;\n{'':>22}  {count(weights['moved_far'])} of them by more than {MOVED:g}"
        + ("" if weights["correlation"] is None else f"; correlation {weights['correlation']:.4f}")
    )
    return 0


def _flat(lineage: Mapping[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in lineage.items() if name not in OWN}
    for section, keys in (lineage.get("settings") or {}).items():
        flat |= {f"[{section}] {key}": value for key, value in (keys or {}).items()}
    for name in ("versions", "metrics"):
        flat |= {f"{name} {key}": value for key, value in (flat.pop(name, None) or {}).items()}
    return flat


def _differs(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, list[Any]]:
    names = [*one, *(name for name in other if name not in one)]
    return {name: [one.get(name), other.get(name)] for name in names if one.get(name) != other.get(name)}


def _short(value: Any) -> str:
    text = plain(f"{value:.5g}" if isinstance(value, float) else json.dumps(value))
    return text if len(text) <= 28 else f"{text[:27]}…"


def _weights(data: bytes, config: Config) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The slots in use, and what they add to the log odds, whatever the learner keeps of them; the last is the bias."""
    header, whole_state = decode(data)
    model = header["learned_from"]["model"]
    own = config.model_copy(update={"model": config.model.model_copy(update=model)})
    said = publish(whole_state, learner_settings(own), slots=(1 << model["bits"]) + 1)
    return np.asarray(whole_state["slots"]), said.weights.sum(axis=1)  # of hats, too, as if they were plain


def _compare(
    one: tuple[NDArray[np.int64], NDArray[np.float32]], other: tuple[NDArray[np.int64], NDArray[np.float32]]
) -> dict[str, Any] | None:
    (slots, weights), (other_slots, other_weights) = one, other
    if len(weights) != len(other_weights):
        return None
    either = np.union1d(slots, other_slots)
    before, after = weights[either].astype(np.float64), other_weights[either].astype(np.float64)
    moved = np.abs(after - before)
    varies = len(either) > 1 and before.std() > 0.0 and after.std() > 0.0
    return {
        "both": len(np.intersect1d(slots, other_slots)),
        "first": len(np.setdiff1d(slots, other_slots)),
        "second": len(np.setdiff1d(other_slots, slots)),
        "bias": [float(weights[-1]), float(other_weights[-1])],
        "moved_rms": float(np.sqrt(np.mean(moved**2))) if len(moved) else 0.0,
        "moved_most": float(moved.max(initial=0.0)),
        "moved_far": int((moved > MOVED).sum()),
        "correlation": float(np.corrcoef(before, after)[0, 1]) if varies else None,
    }
