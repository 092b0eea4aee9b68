"""Where a snapshot comes from: enough to judge it, and, where a replay taught it, to make it again."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import riverd
from riverd.config import Config
from riverd.durations import format_duration
from riverd.engine import Engine
from riverd.state_format import FORMAT

METRICS = ("logloss", "roc_auc", "ece", "observed_expected")


def lineage_of(config: Config, *, positions: Sequence[Any], metrics: Mapping[str, float | None]) -> dict[str, Any]:
    """What is the same for every snapshot of a checkpoint; JSON-able.

    ``parent`` is the snapshot that was put in place to become this one, and ``start`` the one that a replay went on
    from; ``range`` and ``excluded`` say what a replay taught. riverd has no calibrator of its own yet.
    """
    return {
        "born": "live",
        "parent": None,
        "positions": positions,
        "range": None,
        "excluded": [],
        "start": None,
        "config_sha256": config_sha256(config),
        "settings": config.learned_from,
        "riverd": riverd.__version__,
        "versions": {
            "python": platform.python_version(),
            "numpy": version("numpy"),
            "numba": version("numba"),
            "state": FORMAT,
        },
        "metrics": dict(metrics),
        "threshold": config.monitors.threshold,
        "calibrator": None,
    }


def config_sha256(config: Config) -> str:
    """Digest of the settings on which what is learned depends."""
    return hashlib.sha256(json.dumps(config.learned_from, sort_keys=True).encode()).hexdigest()


def metrics_at_birth(engine: Engine) -> dict[str, Any]:
    """How good what was served has been, over the longest window in which no label is missing any more."""
    window_us = max(engine.config.monitors.windows)
    judged = engine.judgement.windows().get((window_us, "final"))
    if judged is None:
        return {}
    return {"window": format_duration(window_us)} | {name: getattr(judged.quality, name) for name in METRICS}
