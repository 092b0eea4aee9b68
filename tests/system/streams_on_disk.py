"""A folder with topics as files, and configs that read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.riverd.streams import ALERTS, pairs, settings, split, to_toml, write


def write_data(folder: Path, *, count: int) -> Path:
    """So many events and their labels on two partitions each, with all that goes wrong in streams."""
    write(split(pairs(count, seed=1, disorder=True), partitions=2), folder)
    return folder


def configure(
    folder: Path, data: Path, *, alerts: Sequence[Mapping[str, Any]] | None = None, **sections: Mapping[str, Any]
) -> Path:
    """Make the folder, with a riverd.toml that reads ``data`` and takes a checkpoint whenever it can."""
    folder.mkdir(exist_ok=True)
    changed: dict[str, Mapping[str, Any]] = {
        "source": {"path": str(data), "poll_records": 50, "idle_after": "100ms"},
        "storage": {"checkpoint": "0s"},
        "monitors": {"windows": ["2h"]},
    }
    if alerts is None:
        alerts = [alert | {"window": "2h"} for alert in ALERTS]
    values = settings(alerts=alerts, **{**changed, **sections})
    (folder / "riverd.toml").write_text(to_toml(values), encoding="utf-8")
    return folder
