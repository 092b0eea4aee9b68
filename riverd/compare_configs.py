"""Whether two configs speak of the same events and outcomes, so that their losses can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from riverd.config import Config, resolve_path
from riverd.errors import ConfigError

SOURCE = ("kind", "path", "bootstrap_servers")
EVENTS = ("topic", "id", "time", "label", "positive_when", "dedupe")
LABELS = ("topic", "id", "time", "value", "positive_when", "missing")
OF_SILENCE = ("window", "early_window")  # with missing = "negative" they say what a negative is


def refuse_incomparable(first: Config, first_path: Path, second: Config, second_path: Path) -> None:
    """Return at once if the two may be compared.

    Raises
    ------
    ConfigError
        With every key that would have to be the same.
    """
    differing = list(differences(first, first_path, second, second_path))
    if differing:
        raise ConfigError(
            f"{first_path} and {second_path} don't speak of the same events and outcomes:\n"
            + "".join(f"  {key}: {one}, and {other}\n" for key, one, other in differing)
            + "  Make these equal; model, features, monitors and the way labels are learned may differ."
        )


def differences(first: Config, first_path: Path, second: Config, second_path: Path) -> Iterator[tuple[str, str, str]]:
    """Each key that makes events or outcomes others, with both values."""
    silent = all(config.labels is not None and config.labels.missing == "negative" for config in (first, second))
    keys = (*LABELS, *OF_SILENCE) if silent else LABELS
    one, other = _meaning(first, first_path, keys), _meaning(second, second_path, keys)
    for key in dict.fromkeys([*one, *other]):
        if one.get(key) != other.get(key):
            yield key, _shown(one.get(key)), _shown(other.get(key))


def _meaning(config: Config, config_path: Path, of_labels: Sequence[str]) -> dict[str, Any]:
    values = config.model_dump()
    found = {f"[source] {key}": values["source"].get(key) for key in SOURCE}
    if config.source.kind == "files":
        found["[source] path"] = str(resolve_path(config_path, config.source.path).resolve())
    found |= {f"[events] {key}": values["events"].get(key) for key in EVENTS}
    if config.labels is not None:
        found |= {f"[labels] {key}": values["labels"].get(key) for key in of_labels}
    return found


def _shown(value: Any) -> str:
    return "nothing" if value is None else f'"{value}"' if isinstance(value, str) else str(value)
