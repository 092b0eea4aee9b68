"""What of a window's figures goes into the history."""

from __future__ import annotations

from collections.abc import Mapping

from monitors.quality import METRICS as QUALITY_METRICS
from monitors.quality import WITH_ERROR, Quality
from monitors.rules import Judged
from monitors.slices import Slice
from monitors.traffic_figures import WHOLE_METRICS
from riverd.config_sections import TICKS_PER_WINDOW
from storage.history import Figures

OF_A_FEATURE = ("null_rate", "unseen_rate", "mean", "spread", "sum", "psi", "psi_excess", "clipped_rate")


def history_due(tick_us: int, window_us: int) -> bool:
    """Whether a window is kept at this tick: so many times in its own length."""
    return tick_us % max(window_us // TICKS_PER_WINDOW, 1) == 0


def slices_due(tick_us: int, window_us: int) -> bool:
    """Whether its slices are kept as well: once in its length, since there may be many."""
    return tick_us % window_us == 0


def history_of_slices(slices: Mapping[Slice, Quality], window: str, *, decided_us: int) -> list[Figures]:
    """Every figure that is defined, of every slice: "logloss[carrier=UA]"."""
    values = {f"{metric}[{of}]": value for of, judged in slices.items() for metric, value in _defined(judged).items()}
    return [Figures(decided_us, window, "slices", values)] if values else []


def provisional_history(judged: Quality, window: str, *, at_us: int) -> list[Figures]:
    """What could be said of the latest events at that time, of how many labels "coverage" tells."""
    values = _defined(judged)
    return [Figures(at_us, window, "outcomes", values | _support(judged), "provisional")] if values else []


def _defined(judged: Quality) -> dict[str, float]:
    figures = {metric: getattr(judged, metric) for metric in QUALITY_METRICS}
    return {metric: value for metric, value in figures.items() if value is not None}


def _support(judged: Quality) -> dict[str, float]:
    """How much the figures rest on, and their standard errors; nothing where there are none."""
    if not _defined(judged):
        return {}
    errors = {f"{metric}_error": judged.standard_error(metric) for metric in WITH_ERROR}
    known = {name: error for name, error in errors.items() if error is not None}
    return {"events": judged.events, "labelled": judged.labelled, **known}


def history_of(judged: Judged, window: str, *, decided_us: int, asked_us: int) -> list[Figures]:
    """Every figure that is defined.

    Parameters
    ----------
    judged
        A window of final panes.
    window
        Its name, as configured: "1d".
    decided_us
        Where the window of labels ends.
    asked_us
        Where the window of events and messages ends: those are known a join window earlier.
    """
    outcomes: dict[str, float | None] = {**_defined(judged.quality), **_support(judged.quality)}
    traffic: dict[str, float | None] = {}
    for metric in WHOLE_METRICS:
        (outcomes if metric.startswith("label_delay") else traffic)[metric] = getattr(judged.traffic, metric)
    for name, figures in judged.traffic.features.items():
        traffic |= {f"{metric}[{name}]": getattr(figures, metric) for metric in OF_A_FEATURE}
    return [
        Figures(at, window, kind, defined)
        for at, kind, values in ((decided_us, "outcomes", outcomes), (asked_us, "traffic", traffic))
        if (defined := {metric: value for metric, value in values.items() if value is not None})
    ]
