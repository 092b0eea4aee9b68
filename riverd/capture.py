"""Copies of all that a checkpoint will hold, and the bytes that they become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riverd.config import Config
from riverd.lineage import lineage_of
from riverd.outgoing import parcels_of
from riverd.unsaved import Taken, Unsaved
from storage.arrays import encode
from storage.blocks import Block
from storage.checkpoint import Checkpoint
from storage.outbox import Notice
from storage.snapshots import NewSnapshot

Arrays = Mapping[str, NDArray[Any]]
RINGS = ("panes", "traffic", "slices", "drift", "labelled")


@dataclass(frozen=True, slots=True)
class Capture:
    """Copies of all that a checkpoint will hold, taken between two steps; nothing of it changes any more."""

    header: dict[str, Any]
    small: Arrays
    notices: list[Notice]
    blocks: dict[tuple[str, int], Arrays | None]  # None: no longer needed
    unsaved: Unsaved
    snapshots: list[Taken]
    with_snapshot: bool  # a periodic one is among them
    version: int  # of the rows
    status: dict[int, NDArray[np.uint8]]  # by segment, as captured
    runs: list[tuple[int, int]]
    weight_blocks: list[int]
    reference_blocks: list[int]
    challenger_blocks: list[int]
    places: dict[str, list[int]]  # by ring
    number: int  # of the checkpoint
    config: Config
    metrics: dict[str, float | None]  # of the longest window of final labels

    @property
    def header_has_challenger(self) -> bool:
        return any(name.startswith("challenger/") for name in self.small)

    def encode(self, reason: str) -> Checkpoint:
        """The bytes to be stored."""
        return Checkpoint(
            state=encode(self.header, self.small, compress=True),
            blocks=[
                Block(kind, number, None if arrays is None else encode({}, arrays, compress=kind in RINGS))
                for (kind, number), arrays in self.blocks.items()
            ],
            alerts=self.unsaved.alerts,
            dead_letters=self.unsaved.dead_letters,
            snapshots=[self._snapshot(taken, reason) for taken in self.snapshots],
            notices=self.notices,
            history=self.unsaved.history,
            outgoing=parcels_of(self.config, self.unsaved, checkpoint=self.number),
            decisions=self.unsaved.decisions,
            done=self.unsaved.done,
        )

    def _snapshot(self, taken: Taken, reason: str) -> NewSnapshot:
        lineage = lineage_of(self.config, positions=self.header["lanes"], metrics=self.metrics)
        data = encode({"learned_from": self.header["settings"]}, taken.whole_state, compress=True)
        return NewSnapshot(
            taken.watermark,
            taken.reason or reason,
            lineage | dict(taken.born),
            data,
            promoted=taken.promoted,
            line=taken.line,
            parent=taken.parent,
        )
