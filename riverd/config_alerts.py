"""The tables [[alerts]] and [delivery] of riverd.toml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from monitors.rules import LIVENESS_METRICS, METRICS
from riverd.config_sections import Duration, Name, Section, Url

CHANNELS = ("log", "webhook", "alertmanager")  # actions that tell somebody

StandardErrors = Annotated[float, Field(gt=0, le=100)]


class Alert(Section):
    """One rule: it fires when the metric lies past its bound for a while."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    """Its identity, across restarts."""
    metric: Literal[METRICS]  # pyrefly: ignore
    """What is looked at; see concepts.md."""
    feature: Name | None = None
    """The field that the metric is of, where it is of one."""
    slice: Annotated[str, Field(min_length=3)] | None = None
    """The part of the events that is judged, "carrier=UA"; left out: all of them."""
    window: Duration | None = None
    """One of [monitors] windows; metrics of liveness have none."""
    above: float | None = None
    """The bound: a value above it is a breach."""
    below: float | None = None
    """Or: a value below it is a breach."""
    above_by_se: StandardErrors | None = None
    """With `above`: only a value this many standard errors above it is a breach; see concepts.md."""
    below_by_se: StandardErrors | None = None
    """With `below`: the same downwards."""
    relative_to: Literal["reference"] | None = None
    """With "reference" the bound is a factor: 1.1 is a tenth above what the metric was over [monitors] reference."""
    for_: Annotated[Duration, Field(alias="for")] = 0
    """Event time that a breach must last before the alert fires."""
    recover: float | None = None
    """The alert is resolved when the value is back at this; left out: at the bound."""
    on: Literal["final", "provisional"] = "final"
    """Windows in which no label is missing any more ("final"), or the latest ("provisional")."""
    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of events with a label that a verdict needs."""
    min_labelled: Annotated[int, Field(ge=1)] = 100
    """Labelled events that a verdict needs."""
    cool_down: Duration = 0
    """After it was resolved the rule stays silent this long."""
    severity: Literal["info", "warning", "critical"] = "warning"
    """Passed on to whoever is told."""
    action: list[Literal["log", "webhook", "alertmanager", "pause", "retrain"]] = Field(default=["log"])
    """Whom to tell; "pause" also stops learning, until `riverd learning resume`; "retrain" has a challenger trained
    when it fires, see retraining.md."""

    @property
    def liveness(self) -> bool:
        """Whether it watches the clock on the wall, not the stream."""
        return self.metric in LIVENESS_METRICS


class Delivery(Section):
    """Where alerts go. A token for the webhook comes from the environment: RIVERD_WEBHOOK_TOKEN."""

    webhook: Url | None = None
    """For action = ["webhook"]: Alertmanager's webhook JSON, version 4."""
    alertmanager: Url | None = None
    """For action = ["alertmanager"]: http://host:9093."""

    @property
    def channels(self) -> list[str]:
        """All that can be reached."""
        return [channel for channel in CHANNELS if channel == "log" or getattr(self, channel) is not None]
