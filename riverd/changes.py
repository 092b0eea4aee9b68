"""The fate of each change of the config when riverd goes on from a stored state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from riverd.config import Config

Settings = Mapping[str, Mapping[str, Any] | None]  # by section and key
ChangeFate = Literal["applied", "needs a replay", "refused"]
APPLIED, NEEDS_REPLAY, REFUSED = "applied", "needs a replay", "refused"

# What monitors remember of the past holds under these settings alone; they begin anew, and nothing else does.
ANEW = {
    "[monitors] windows": ("panes", "traffic", "slices", "drift"),
    "[monitors] guardrails": ("traffic", "drift", "labelled"),
    "[monitors] reference": ("drift",),
    "[monitors] slices": ("slices",),
}
# Where the stored positions lead, and how labels find the predictions that wait for them.
REFUSED_KEYS = ("[events] topic", "[events] id", "[events] time", "[labels] topic", "[labels] id", "[labels] time")


@dataclass(frozen=True, slots=True)
class Change:
    """A key that differs from what the state was learned under."""

    key: str
    then: Any
    now: Any
    fate: ChangeFate
    anew: tuple[str, ...] = ()  # what begins anew although the change is applied


def changed_settings(config: Config, stored: Settings) -> list[Change]:
    """Every key that differs, in order; what the state does not depend on is applied, and not listed.

    A change that needs a replay is one of what was learned: the same stream can be learned anew under it. A change
    that is refused makes the stored positions, or the predictions that still wait, those of another stream.
    """
    then, now = _flat(stored), _flat(config.learned_from)
    return [
        Change(key, then.get(key), now.get(key), _fate(key), ANEW.get(key, ()))
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    ]


def changed_model(config: Config, stored: Settings) -> list[Change]:
    """Those of ``changed_settings`` that make a model's weights mean something else."""
    return [change for change in changed_settings(config, stored) if change.key.startswith(("[model]", "[features]"))]


def _fate(key: str) -> ChangeFate:
    if key in ANEW:
        return APPLIED
    return REFUSED if key in REFUSED_KEYS else NEEDS_REPLAY


def _flat(settings: Settings) -> dict[str, Any]:
    return {f"[{section}] {key}": value for section, keys in settings.items() for key, value in (keys or {}).items()}
