"""What happens to each change of the config when riverd goes on from its stored state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from riverd.config import Config, resolve_path
from storage.arrays import decode
from storage.errors import DamagedBlob
from storage.inspection import DatabaseSeen

SQLITE = "sqlite:///"
# Sections on which nothing that was learned depends.
APPLIED = ("source", "storage", "dead_letters", "alerts", "delivery", "web")


@dataclass(frozen=True, slots=True)
class Fate:
    """One key that differs from what the state was learned under."""

    key: str
    then: Any
    now: Any
    fate: str  # "applied" | "needs a replay" | "refused"


def database_path(config: Config, config_path: Path) -> Path | None:
    """The file of the config's database, or None where it is none."""
    url = config.storage.url
    if not url.startswith(SQLITE) or url == SQLITE:
        return None
    return resolve_path(config_path, url.removeprefix(SQLITE))


def stored_settings(seen: DatabaseSeen | None) -> Mapping[str, Any] | None:
    """The settings under which the newest checkpoint was learned, or None before the first.

    Raises
    ------
    DamagedBlob
        The checkpoint is not what was written.
    """
    if seen is None or seen.model is None or seen.model.state is None:
        return None
    header, _ = decode(seen.model.state)
    settings = header.get("settings")
    if not isinstance(settings, dict):
        raise DamagedBlob("the newest checkpoint holds no settings")
    return settings


def fates(config: Config, stored: Mapping[str, Any]) -> list[Fate]:
    """Every key that differs, in order; what the state does not depend on is applied and not listed."""
    then, now = _flat(stored), _flat(config.learned_from)
    return [
        Fate(key, then.get(key), now.get(key), "refused")
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    ]


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {f"[{section}] {key}": value for section, keys in settings.items() for key, value in (keys or {}).items()}
