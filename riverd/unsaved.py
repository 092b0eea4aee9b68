"""What has happened since the last checkpoint and goes into the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riverd.predictions import Served
from storage.history import Figures
from storage.requests import Done
from storage.retrains import Decision
from stream.records import AlertChange, DeadLetter


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot that is to be stored with the next checkpoint."""

    reason: str
    whole_state: Mapping[str, NDArray[np.generic]]
    watermark: int
    promoted: bool = False
    born: Mapping[str, Any] = field(default_factory=dict)  # of its lineage: a replay's range
    line: str | None = None  # of which model it is, as ``NewSnapshot`` has it
    parent: int | str | None = None


@dataclass(slots=True)
class Unsaved:
    """Effects that wait for their checkpoint."""

    alerts: list[AlertChange] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    history: list[Figures] = field(default_factory=list)
    served: list[Served] = field(default_factory=list)  # predictions that are to be sent on
    learning: bool = False  # was paused or resumed, or labels thawed
    decisions: list[Decision] = field(default_factory=list)  # about retraining
    snapshots: list[Taken] = field(default_factory=list)  # of models that take a place or leave it
    done: list[Done] = field(default_factory=list)  # requests

    @property
    def urgent(self) -> bool:
        """Somebody waits for it to be stored: an alert is delivered only then."""
        return self.learning or bool(self.alerts or self.decisions or self.done)
