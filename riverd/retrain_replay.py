"""Training a model by a replay of history: what a retrain's subprocess does, and what can be done over again.

The events of a range of merged time go through a scratch engine, so joins, delays and order are those of the daemon;
nothing is stored. The result depends on the log, the range and what it starts from alone, to the last byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from models.stream_model import StreamModel
from riverd.assembly import assemble
from riverd.changes import changed_model
from riverd.config import Config
from riverd.engine import Engine, Unsaved
from riverd.errors import RiverdError
from riverd.time_ranges import Stretch, limit
from storage.arrays import decode, encode

Told = Callable[[int, float | None], None]  # events so far, and which share of the source is read


class RetrainError(RiverdError):
    """A model can't be trained as asked."""


def train(
    config: Config,
    config_path: Path,
    stretch: Stretch,
    *,
    start: bytes | None = None,
    tell: Told = lambda _, __: None,
) -> tuple[bytes, int]:
    """Train a model; return what a snapshot of it holds, and how many events it was asked about.

    Parameters
    ----------
    config, config_path
        As ``riverd run`` takes them.
    stretch
        What it learns.
    start
        A snapshot's bytes to go on from; None: from nothing.
    tell
        Told now and then how many events there were, and which share of the source is read.

    Raises
    ------
    ConfigError, SourceError
        History can't be read.
    RetrainError
        There is no event in the range.
    """
    from riverd.service import open_source, wall_clock_us

    quiet = config.model_copy(update={"alerts": [], "skew": None})  # nobody is told, and nothing pauses
    with closing(open_source(config, config_path, bounded=True)) as source:
        engine = Engine(quiet, assemble(quiet, now_us=wall_clock_us), source, bounded=True)
        model = engine.parts.model
        assert isinstance(model, StreamModel)
        if start is not None:
            model.take_over(_start_of(start, config, model), next_row=0)
        limit(engine.parts.merger, config, stretch)
        while engine.step() or not engine.finished:
            engine.unsaved = Unsaved()
            tell(engine.parts.joiner.fates()["events"], source.progress())
        events = engine.parts.joiner.fates()["events"]
        if not events:
            raise RetrainError(
                "there is no event in the range to learn from.\n  Widen --from and --to, or leave them out."
            )
        return snapshot_bytes(config, model), events


def _start_of(data: bytes, config: Config, model: StreamModel) -> Mapping[str, NDArray[Any]]:
    header, whole_state = decode(data)
    changes = changed_model(config, header["learned_from"])
    fault = f"it was learned under another {changes[0].key}" if changes else model.misfit(whole_state)
    if fault is not None:
        raise RetrainError(f"the snapshot to go on from does not fit: {fault}.\n  Begin from nothing, or name another.")
    return whole_state


def settings_sha256(config: Config) -> str:
    """Digest of the settings on which what a replay teaches depends."""
    settings = config.learned_from | {"source": config.source.model_dump(mode="json")}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def snapshot_bytes(config: Config, model: StreamModel) -> bytes:
    """What a snapshot of a model holds."""
    return encode({"learned_from": config.learned_from}, model.whole_state(), compress=True)
