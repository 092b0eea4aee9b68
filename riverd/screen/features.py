"""The features that have moved by more than chance, as a table: those first that say most in the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from riverd.screen.notation import figure, plain, share
from riverd.screen.style import BAD, grid
from riverd.status import FeatureStatus, WindowStatus

BEYOND_NOISE = 1.0
FAR_BEYOND = 3.0  # then it is no matter of hours and days that differ a little


def drifted_features(windows: Sequence[WindowStatus]) -> tuple[str, dict[str, FeatureStatus]]:
    """The name of the fullest final window in which a feature drifts, and these, in the order of the status."""
    found: tuple[str, dict[str, FeatureStatus]] = ("", {})
    for window in sorted(windows, key=lambda window: window.events):
        if window.final and window.traffic is not None and (drifted := _drifted(window.traffic.features)):
            found = window.window, drifted
    return found


def _drifted(features: Mapping[str, FeatureStatus]) -> dict[str, FeatureStatus]:
    return {name: status for name, status in features.items() if (status.psi_excess or 0.0) > BEYOND_NOISE}


def leak_line(name: str, area: float) -> str:
    """That a feature may have seen the answer.

    >>> leak_line("refund", 0.9994)
    'leak? refund ranks the labels alone, AUC 0.999'
    """
    return f"leak? {plain(name)} ranks the labels alone, AUC {figure(area, 3)}"


def features_table(window: str, features: Mapping[str, FeatureStatus], *, width: int) -> Table:
    """A row per feature; what lies far beyond its noise is marked."""
    narrow = width < 76
    table = grid(
        f"Drift, final {plain(window)}", ">PSI", ">Noise", *([] if narrow else [">Weight"]), ">PSI x weight", ">Nulls"
    )
    for name, status in features.items():
        table.add_row(
            plain(name),
            Text(figure(status.psi, 3), style=BAD if (status.psi_excess or 0.0) > FAR_BEYOND else ""),
            figure(status.psi_noise, 3),
            *([] if narrow else [figure(status.weight, 3)]),
            figure(status.impact, 3),
            share(status.null_rate),
        )
    return table
