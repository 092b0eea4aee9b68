"""The slices that are furthest from what was promised of them, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from riverd.screen.notation import count, figure, plain, share
from riverd.screen.style import BAD, grid
from riverd.status import SliceStatus, WindowStatus

MIN_LABELLED = 100  # under that, luck decides
ALARMING_Z = 3.0  # chance alone gives 1 in 370


def worst_slices(windows: Sequence[WindowStatus]) -> tuple[str, list[SliceStatus]]:
    """The name of the longest final window that has slices, and these, the least calibrated first."""
    judged = [
        (window.window, worthwhile)
        for window in windows
        if window.final and (worthwhile := [part for part in window.slices if part.labelled >= MIN_LABELLED])
    ]
    nothing: tuple[str, list[SliceStatus]] = ("", [])
    window, slices = max(judged, key=lambda of: sum(part.labelled for part in of[1]), default=nothing)
    return window, sorted(slices, key=lambda part: -abs(part.spiegelhalter_z or 0.0))


def slices_table(window: str, slices: Sequence[SliceStatus], *, width: int) -> Table:
    """A row per slice; what chance does not explain is marked."""
    narrow = width < 76
    table = grid(
        f"Slice, final {plain(window)}", ">Labelled", ">Logloss", ">AUC", *([] if narrow else [">Positive"]), ">O/E"
    )
    for part in slices:
        alarming = abs(part.spiegelhalter_z or 0.0) >= ALARMING_Z
        table.add_row(
            plain(f"{part.field}={part.value}"),
            count(part.labelled),
            figure(part.logloss),
            figure(part.roc_auc, 3),
            *([] if narrow else [share(part.positive_rate)]),
            Text(figure(part.observed_expected, 2), style=BAD if alarming else ""),
        )
    return table
