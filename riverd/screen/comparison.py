"""A comparison of two configs, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from riverd.screen.notation import count, figure, plain


def comparison(compared: Mapping[str, Any]) -> str:
    """The figures of both on the same events, and what their difference means.

    >>> print(comparison({"configs": ["riverd.toml", "other.toml"], "complete": True, "comparison": {
    ...     "events": 84_000, "logloss": [0.4812, 0.4781], "roc_auc": [0.7012, 0.7093],
    ...     "verdict": "other.toml is better"}}))
                  logloss      AUC
    riverd.toml    0.4812   0.7012
    other.toml     0.4781   0.7093
    on 84,000 events that both have judged
    other.toml is better
    """
    names, found = [plain(name) for name in compared["configs"]], compared["comparison"]
    width = max(map(len, names))
    rows = [f"{'':{width}}  {'logloss':>8} {'AUC':>8}"]
    rows += [
        f"{name:{width}}  {figure(loss):>8} {figure(area):>8}"
        for name, loss, area in zip(names, found["logloss"], found["roc_auc"], strict=True)
    ]
    rows.append(f"on {count(found['events'])} events that both have judged")
    if not compared["complete"]:
        rows.append("stopped before the end")
    return "\n".join([*rows, found["verdict"]])
