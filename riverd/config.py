"""riverd.toml as a whole: what is read, learned, judged and kept, and what fits together."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from monitors.grid import PANES_AT_MOST, panes_needed
from riverd.alert_checks import check_alerts
from riverd.config_alerts import Alert, Delivery
from riverd.config_retrain import Retrain
from riverd.config_sections import (
    TICKS_PER_WINDOW,
    DeadLetters,
    Events,
    Features,
    Labels,
    Model,
    Monitors,
    Predictions,
    Section,
    Source,
    Storage,
    Web,
    as_tuple,
)
from riverd.config_skew import Skew
from riverd.durations import format_duration

SLICE_PANES_AT_MOST = 2048  # 260 MiB, when every place is taken


class Config(Section):
    """A whole riverd.toml."""

    model: Model
    source: Source = Source()
    events: Events
    labels: Labels | None = None
    features: Features = Features()
    storage: Storage = Storage()
    predictions: Predictions = Predictions()
    skew: Skew | None = None
    dead_letters: DeadLetters = DeadLetters()
    monitors: Monitors = Monitors()
    alerts: list[Alert] = Field(default_factory=list)
    retrain: Retrain = Retrain()
    delivery: Delivery = Delivery()
    web: Web = Web()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.labels is None and self.events.label is None:
            raise ValueError(
                "has neither [labels] nor [events] label, so nothing would ever be learned.\n"
                '  Add a [labels] table, or label = "..." under [events] if each event carries its own.'
            )
        if self.labels is not None and self.events.label is not None:
            raise ValueError(
                "has both [labels] and [events] label.\n  Keep the one that is true: labels on a topic of their own, "
                "or in the event."
            )
        if self.labels is not None and self.labels.topic == self.events.topic:
            raise ValueError(
                f'[labels] topic = "{self.labels.topic}" is the topic of the events.\n  Name the topic on which the '
                f'labels come; if each event brings its own, write label = "..." under [events] and no [labels].'
            )
        if self.labels is not None and self.events.id is None:
            raise ValueError(
                "[events] id is missing: labels find their events by it.\n"
                '  Add id = "...", the field of the event\'s id.'
            )
        self._times_fit()
        self._kinds_fit()
        self._topics_fit()
        self._no_leaks()
        self._paths_fit()
        self._windows_fit()
        return self

    def _times_fit(self) -> None:
        for section, of in (("events", self.events), ("labels", self.labels)):
            if of is not None and of.time is None and self.source.kind != "kafka":
                raise ValueError(
                    f"[{section}] time is missing: messages in files have no time of their own.\n"
                    '  Add time = "...", the field of the time.'
                )

    def _kinds_fit(self) -> None:
        external = self.model.kind == "external"
        retraining = [alert.name for alert in self.alerts if "retrain" in alert.action]
        if external and retraining:
            raise ValueError(
                f'[[alerts]] {retraining[0]!r} has the action "retrain", but [model] kind = "external": riverd has no '
                "model to train.\n"
                '  Leave "retrain" out of the action, and have the webhook start your own training.'
            )
        if external and self.events.score is None:
            raise ValueError(
                '[model] kind = "external" needs the score.\n'
                '  Add score = "..." under [events], the field with the probability.'
            )
        if external and self.skew is not None:
            raise ValueError(
                '[skew] checks what was served by riverd\'s own model, and [model] kind = "external" has none.\n'
                "  Remove [skew]."
            )
        if not external and self.events.score is not None:
            raise ValueError(
                '[events] score is only read with [model] kind = "external".\n'
                "  Remove it, or list the field under [features] numbers to learn from it."
            )
        if not external and not self.features.fields:
            raise ValueError(
                "[features] names no field.\n  List at least one field under categories, numbers, words or buckets."
            )
        if self.events.dedupe is not None and (self.events.label is None or self.events.id is None):
            raise ValueError(
                "[events] dedupe is for labelled events with an id.\n"
                "  Add label and id, or remove it: with [labels] duplicates are always ignored."
            )
        for section, of, value in (
            ("events", self.events, self.events.label),
            ("labels", self.labels, self.labels.value if self.labels else None),
        ):
            if of is not None and of.positive_when is not None and value is None:
                raise ValueError(
                    f"[{section}] positive_when says which values are positive, but not of which field.\n"
                    f"  Name the field as {'label' if section == 'events' else 'value'}."
                )

    def _topics_fit(self) -> None:
        read = [self.events.topic, *([self.labels.topic] if self.labels else [])]
        for section, topic in (("predictions", self.predictions.topic), ("dead_letters", self.dead_letters.topic)):
            if topic is None:
                continue
            if self.source.kind != "kafka":
                raise ValueError(f'[{section}] topic needs [source] kind = "kafka".\n  Remove it.')
            if topic in read:
                raise ValueError(f'[{section}] topic = "{topic}" is one that is read.\n  Name another one.')
        if self.predictions.topic is not None and self.events.id is None:
            raise ValueError('[predictions] topic needs an id of the event.\n  Add id = "..." under [events].')
        if self.predictions.topic is not None and self.predictions.topic == self.dead_letters.topic:
            raise ValueError("[predictions] topic is that of [dead_letters].\n  Name another one.")

    def _paths_fit(self) -> None:
        events, labels = self.events, self.labels
        of_event = [*events.ids, events.time, events.label, events.weight, events.score, *self.features.fields]
        of_label = [*as_tuple(labels.id), labels.time, labels.value] if labels else []
        of_skew = [self.skew.score, self.skew.version, self.skew.row_hash] if self.skew else []
        for paths in (of_event, of_label, of_skew):
            for path in filter(None, paths):
                below = next((other for other in filter(None, paths) if other.startswith(f"{path}.")), None)
                if below is not None:
                    raise ValueError(
                        f"{path!r} can't be a field and hold the field {below!r}.\n  Correct the one that is wrong."
                    )

    def _no_leaks(self) -> None:
        ids = self.events.ids
        taken = dict.fromkeys(ids, "the id") | {self.events.time: "the event time", self.events.label: "the label"}
        taken |= {self.events.weight: "the weight", self.events.score: "the score"}
        if self.skew is not None:
            taken |= {self.skew.score: "the served score", self.skew.version: "the served version"}
            taken |= {self.skew.row_hash: "the row hash"}
        for section, names, remedy in (
            ("[features]", self.features.fields, "Remove it from the features."),
            ("[monitors] slices", self.monitors.slices, "Name another field."),
        ):
            for name in names:
                if name in taken:
                    raise ValueError(f"{section} {name!r} is {taken[name]} of the event.\n  {remedy}")
        taken |= dict.fromkeys(self.features.categories, "a category") | dict.fromkeys(self.features.words, "words")
        for name in self.monitors.guardrails:
            if name in taken:
                raise ValueError(
                    f"[monitors] guardrails {name!r} is {taken[name]} of the event.\n  A guardrail is a number: name "
                    "another field."
                )

    def _slices_fit(self) -> None:
        others = {*self.features.numbers, *self.features.words, *self.features.buckets, *self.monitors.guardrails}
        for name in self.monitors.slices:
            if self.monitors.slices.count(name) > 1:
                raise ValueError(f"[monitors] slices names {name!r} twice.\n  Name each field once.")
            if name in others:
                raise ValueError(
                    f"[monitors] slices {name!r} is read as a number or as words.\n"
                    "  Name a category, or a field that is not used otherwise."
                )

    def _windows_fit(self) -> None:
        windows = self.monitors.windows
        for window in windows:
            if not window or window % self.monitors.tick_us:
                raise ValueError(
                    f'[monitors] windows: "{format_duration(window)}" is not a multiple of the tick, '
                    f"{format_duration(self.monitors.tick_us)} (1/{TICKS_PER_WINDOW} of the shortest, at least 1m).\n"
                    f"  Choose windows that are multiples of the shortest."
                )
        tick_us = self.monitors.tick_us
        join_window = self.labels.window if self.labels else 0
        if self.labels and self.labels.missing == "negative":
            join_window *= 2  # stalled labels are waited for once more
        self._slices_fit()
        panes = panes_needed(pane_us=tick_us, windows_us=windows, join_window_us=join_window)
        if panes > PANES_AT_MOST:
            raise ValueError(
                f"[monitors] windows and [labels] window need {panes:,} panes of {format_duration(tick_us)} "
                f"(1/{TICKS_PER_WINDOW} of the shortest window), but {PANES_AT_MOST:,} fit into memory.\n"
                f"  Make the shortest window longer, or the longest or the join window shorter."
            )
        slices = len(self.monitors.slices)
        if panes * slices > SLICE_PANES_AT_MOST:
            raise ValueError(
                f"[monitors] slices: {slices} field{'s' if slices > 1 else ''} in {panes:,} panes of "
                f"{format_duration(tick_us)} (1/{TICKS_PER_WINDOW} of the shortest window) are {panes * slices:,}, "
                f"but {SLICE_PANES_AT_MOST:,} fit into memory.\n"
                "  Name fewer fields, or make the shortest window longer."
            )
        check_alerts(self)

    @property
    def learned_from(self) -> dict[str, Any]:
        """The settings on which what has been learned depends: a state fits no others."""
        dump = self.model_dump(
            mode="json", include={"model", "events", "labels", "features", "monitors"}, by_alias=True
        )
        dump["model"].pop("name")
        for key in ("threshold", "false_alarm_every", "tolerance"):
            dump["monitors"].pop(key)  # figures are read off with it, nothing is kept under it
        return dump


def resolve_path(config_path: Path, path: str) -> Path:
    """A path of the config, relative to the config's own folder."""
    return (config_path.parent / path).resolve()
