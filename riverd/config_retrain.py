"""The table [retrain] of riverd.toml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from riverd.config_sections import Duration, Section
from riverd.durations import UNITS_US


class Retrain(Section):
    """How often a model may be trained anew, and when its challenger is promoted; see retraining.md."""

    cool_down: Duration = UNITS_US["d"]
    """Event time after the start of a retrain in which no alert begins another; a command does."""
    history: Duration | None = None
    """How much of the past a challenger learns, in event time before its retrain began; without it, all there is."""
    level: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Chance, at most, that a challenger is promoted that is not better than the model that serves."""
    max_events: Annotated[int, Field(ge=1_000)] = 200_000
    """A challenger that has not been promoted by so many judged events is given up."""
