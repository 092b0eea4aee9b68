"""The states by which clients may serve: the snapshots in the store, for riverd to check by and for clients to take."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from models.logistic_regression import LogisticRegression
from models.published import state_of
from models.serial import pack
from riverd.skew import SkewCheck
from storage.arrays import decode
from storage.errors import DamagedBlob
from storage.store import Store

log = logging.getLogger("riverd")


def publish_stored_states(skew: SkewCheck, store: Store, *, up_to: int) -> None:
    """After a restart: keep the newest snapshots again, of those up to checkpoint ``up_to``.

    A later one belongs to a checkpoint that was passed over, and will be made anew.
    """
    for version, whole_state in reversed([*_newest(store, up_to=up_to, keep=skew.keep)]):
        skew.publish(version, whole_state)


def _newest(store: Store, *, up_to: int, keep: int) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
    for snapshot in [snapshot for snapshot in store.snapshots() if snapshot.checkpoint <= up_to][:keep]:
        try:
            yield snapshot.checkpoint, decode(store.snapshot(snapshot.number))[1]
        except DamagedBlob as error:
            log.warning("scores served by version %d can't be checked: %s", snapshot.checkpoint, error)


def model_of_snapshot(data: bytes) -> LogisticRegression:
    """The model that a snapshot holds, whole, for a client that serves by itself.

    It takes an event as the daemon's encoder does when each field of [features] is there: categories as text, numbers
    as numbers, what is missing as None (a list of words as []), and parts of the time under their names: "hour" as
    "0" to "23" and "weekday" as "monday" to "sunday", in UTC. A number cut at edges [18, 30] is the category
    "age#bucket": "below 18", "from 18", "from 30", or None.

    Raises
    ------
    DamagedBlob
        These are other bytes, or damaged.
    """
    header, whole_state = decode(data)
    model, features = header["learned_from"]["model"], header["learned_from"]["features"]
    parameters = {name: model[name] for name in ("alpha", "beta", "l1", "l2", "bits")}
    parameters |= {"expert": model["kind"], "crosses": features["crosses"]}
    state = state_of(whole_state, slots=(1 << model["bits"]) + 1)
    return LogisticRegression.from_bytes(pack(parameters, sorted(features["numbers"]), state))
