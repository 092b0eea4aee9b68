"""What is stored for a config: where, and under which settings it was learned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from riverd.config import Config
from riverd.database_url import database_url
from riverd.state_format import refuse_other_formats
from storage.arrays import decode
from storage.errors import DamagedBlob
from storage.inspection import DatabaseSeen
from storage.sqlite import file_of

# Sections on which nothing that was learned depends.
SECTIONS_APPLIED = ("source", "storage", "skew", "dead_letters", "alerts", "delivery", "web")


def database_path(config: Config, config_path: Path) -> Path | None:
    """The file of the config's database, or None where it is none."""
    url = database_url(config, config_path)
    return file_of(url) if url.get_backend_name() == "sqlite" else None


def stored_settings(seen: DatabaseSeen | None, *, model: str) -> Mapping[str, Any] | None:
    """The settings under which the newest checkpoint was learned, or None before the first.

    Raises
    ------
    DamagedBlob
        The checkpoint is not what was written.
    StateMismatchError
        It was written in another form.
    """
    if seen is None or seen.model is None or seen.model.state is None:
        return None
    header, _ = decode(seen.model.state)
    refuse_other_formats(header, model=model)
    settings = header.get("settings")
    if not isinstance(settings, dict):
        raise DamagedBlob("the newest checkpoint holds no settings")
    return settings
