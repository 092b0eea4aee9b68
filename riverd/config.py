"""riverd.toml: what is read, learned, judged and kept. Every key, its meaning and its default stand here."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    field_validator,
    model_validator,
)

from monitors.panes import PANES_AT_MOST, panes_needed
from monitors.quality import THRESHOLD
from monitors.rules import LIVENESS_METRICS, METRICS
from riverd.addresses import Listen, check_url, parse_listen
from riverd.alert_checks import check_alerts
from riverd.durations import UNITS_US, format_duration, parse_duration

Duration = Annotated[
    int, BeforeValidator(parse_duration), PlainSerializer(format_duration, when_used="always", return_type=str)
]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Url = Annotated[str, AfterValidator(check_url)]

TICKS_PER_WINDOW = 24
SHORTEST_TICK_US = UNITS_US["m"]
TIME_PARTS = ("hour", "weekday")
CHANNELS = ("log", "webhook", "alertmanager")  # actions that tell somebody


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        populate_by_name=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


Ids = Name | Annotated[list[Name], Field(min_length=1, max_length=8)]  # one field, or several together
Scalar = str | int | float | bool
Values = Scalar | Annotated[list[Scalar], Field(min_length=1, max_length=100)]


class Model(Section):
    """The learner."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    """Keys all that is stored: another name learns the stream anew."""
    kind: Literal["ftrl", "external"] = "ftrl"
    """"ftrl" learns; "external" judges the scores that events bring from another model."""
    bits: Annotated[int, Field(ge=8, le=28)] = 18
    """There are 2^bits weights; `riverd check` says how many features share one."""
    alpha: Annotated[float, Field(gt=0, le=100)] = 0.3
    """Learning rate of a weight before its gradients have shrunk it."""
    beta: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    """Steps that keep the first learning rate."""
    l1: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Weights whose evidence stays below it are exactly zero; the bias is left alone."""
    l2: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Pull of every weight towards zero; the bias is left alone."""


class Source(Section):
    """Where messages come from."""

    kind: Literal["files"] = "files"
    """Topics are folders of JSON lines."""
    path: str = "data"
    """A topic is the folder `path/<topic>/` with `*.jsonl`, `.jsonl.gz` and `.jsonl.zst`; relative to this file."""
    poll_records: Annotated[int, Field(ge=1, le=1 << 20)] = 8192
    """Messages of each partition that are taken at once; the result does not depend on it."""
    max_message_bytes: Annotated[int, Field(ge=1024, le=1 << 28)] = 1 << 20
    """A longer message is a dead letter."""
    idle_after: Duration = 10 * UNITS_US["s"]
    """A partition that has been silent this long no longer holds the others back."""
    max_skew: Duration = UNITS_US["h"]
    """Nor does one that has nothing more and lies this far behind them."""


class Events(Section):
    """What is scored."""

    topic: Name
    """Where they come from."""
    time: Name
    """Field of the event time: RFC 3339 text (UTC without a zone), or epoch seconds or milliseconds."""
    id: Ids | None = None
    """Field of the id, or a list of fields; needed where labels come on a topic of their own."""
    label: Name | None = None
    """Field of the label, where each event brings its own; there is no [labels] then."""
    positive_when: Values | None = None
    """Values of the label that are positive, where it is not true or false, 1 or 0."""
    dedupe: Duration | None = None
    """For events with labels: an id is known this long, and a second event with it is ignored."""
    weight: Name | None = None
    """Field that says how much the event counts in learning; null is 1."""
    score: Name | None = None
    """With kind = "external": field of the other model's probability."""

    @property
    def ids(self) -> tuple[str, ...]:
        return as_tuple(self.id)


class Labels(Section):
    """The outcomes, on a topic of their own."""

    topic: Name
    """Where they come from."""
    id: Ids
    """Field of the id of the event that is answered, or a list of fields."""
    time: Name
    """Field of the time at which the outcome became known."""
    value: Name | None = None
    """Field of the outcome: true or false, 1 or 0. Left out: that a label comes means positive."""
    positive_when: Values | None = None
    """Values of it that are positive, where it is neither."""
    window: Duration = UNITS_US["d"]
    """How long after its event a label may come."""
    early_window: Duration = UNITS_US["m"]
    """How long before its event a label may come; it waits so long."""
    remember: Duration | None = None
    """An id stays known this long after the window, to tell duplicates; left out: as long as the window."""
    missing: Literal["drop", "negative"] = "drop"
    """What a prediction without a label is when its window has passed: dropped, or learned as negative."""
    learn: Literal["arrival", "maturity"] | None = None
    """Learn at once, or at the end of the window. Left out: "maturity" with "negative", else "arrival"."""

    @property
    def at_maturity(self) -> bool:
        return (self.learn or ("maturity" if self.missing == "negative" else "arrival")) == "maturity"


class Features(Section):
    """Which fields the model sees."""

    categories: list[Name] = []
    """Text, booleans, or numbers that are names; null is a value."""
    numbers: list[Name] = []
    """Standardised as they come; null is a feature of its own."""
    crosses: list[Annotated[list[Name], Field(min_length=2, max_length=2)]] = []
    """Pairs of categories whose combinations are features too."""
    time_parts: list[Literal["hour", "weekday"]] = []
    """Of the event time, in UTC, as categories: "hour", "weekday"."""
    words: list[Name] = []
    """Lists of text, of which the first 64 are used."""
    buckets: dict[Name, Annotated[list[float], Field(min_length=1, max_length=1000)]] = {}
    """Numbers cut at edges into categories: `{age = [18, 30, 65]}`."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [*self.categories, *self.numbers, *self.time_parts, *self.words]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"names {twice[0]!r} twice.\n  A field is a category or a number, once.")
        for name, edges in self.buckets.items():
            if name in self.categories or name in self.words:
                raise ValueError(f"buckets {name!r}, which is no number.\n  Take it out of categories and words.")
            if any(low >= high for low, high in pairwise(edges)):
                raise ValueError(f"buckets {name!r} at edges that do not rise.\n  Sort them, each once.")
        known = {*self.categories, *self.time_parts}
        for name in (name for pair in self.crosses for name in pair):
            if name not in known:
                raise ValueError(f"crosses {name!r}, which is not among categories or time_parts.\n  Add it there.")
        return self

    @property
    def fields(self) -> list[str]:
        """All fields of the event that are read."""
        return [*dict.fromkeys([*self.categories, *self.numbers, *self.words, *self.buckets])]


class Storage(Section):
    """What survives."""

    url: str = "sqlite:///riverd.db"
    """`sqlite:///file`, relative to this file."""
    checkpoint: Duration = UNITS_US["m"]
    """Wall time between two checkpoints; writing takes at most a tenth of the time."""
    snapshot: Duration = UNITS_US["h"]
    """Wall time between two snapshots of the model; the newest 48 are kept."""


class DeadLetters(Section):
    """How messages that can't be used are kept."""

    keep: Duration = 30 * UNITS_US["d"]
    """How long, by the wall clock; at most 100,000 of them."""
    redact: list[Name] = []
    """Fields, by name or path, whose values are not stored."""
    pause_above: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the messages of a tick at which learning stops; 1 is never."""


class Monitors(Section):
    """How what was served is judged."""

    windows: Annotated[list[Duration], Field(min_length=1, max_length=8)] = [UNITS_US["d"], 7 * UNITS_US["d"]]
    """Of event time, each a multiple of the tick: 1/24 of the shortest, at least a minute."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = THRESHOLD
    """Probability from which on somebody acts."""
    guardrails: Annotated[list[Name], Field(max_length=32)] = []
    """Number fields whose mean and sum are watched."""

    @property
    def tick_us(self) -> int:
        return max(min(self.windows) // TICKS_PER_WINDOW, SHORTEST_TICK_US)


class Alert(Section):
    """One rule: it fires when the metric lies past its bound for a while."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    """Its identity, across restarts."""
    metric: Literal[METRICS]  # pyrefly: ignore
    """What is looked at; see concepts.md."""
    feature: Name | None = None
    """The field that the metric is of, where it is of one."""
    window: Duration | None = None
    """One of [monitors] windows; metrics of liveness have none."""
    above: float | None = None
    """The bound: a value above it is a breach."""
    below: float | None = None
    """Or: a value below it is a breach."""
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
    action: list[Literal["log", "webhook", "alertmanager", "pause"]] = ["log"]
    """Whom to tell; "pause" also stops learning, until `riverd learning resume`."""

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


class Web(Section):
    """HTTP: /metrics, /status, /livez, /readyz. Changes, and reading from other machines, need RIVERD_TOKEN."""

    listen: str = "127.0.0.1:8765"
    """Address and port; empty for none. It is not opened by `--until-idle` and `replay`."""

    @field_validator("listen")
    @classmethod
    def _parsed(cls, listen: str) -> str:
        if listen:
            parse_listen(listen)
        return listen

    @property
    def address(self) -> Listen | None:
        return parse_listen(self.listen) if self.listen else None


class Config(Section):
    """A whole riverd.toml."""

    model: Model
    source: Source = Source()
    events: Events
    labels: Labels | None = None
    features: Features = Features()
    storage: Storage = Storage()
    dead_letters: DeadLetters = DeadLetters()
    monitors: Monitors = Monitors()
    alerts: list[Alert] = []
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
        self._kinds_fit()
        self._no_leaks()
        self._paths_fit()
        self._windows_fit()
        return self

    def _kinds_fit(self) -> None:
        external = self.model.kind == "external"
        if external and self.events.score is None:
            raise ValueError(
                '[model] kind = "external" needs the score.\n'
                '  Add score = "..." under [events], the field with the probability.'
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

    def _paths_fit(self) -> None:
        events, labels = self.events, self.labels
        of_event = [*events.ids, events.time, events.label, events.weight, events.score, *self.features.fields]
        of_label = [*as_tuple(labels.id), labels.time, labels.value] if labels else []
        for paths in (of_event, of_label):
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
        for name in self.features.fields:
            if name in taken:
                raise ValueError(f"[features] {name!r} is {taken[name]} of the event.\n  Remove it from the features.")
        taken |= dict.fromkeys(self.features.categories, "a category") | dict.fromkeys(self.features.words, "words")
        for name in self.monitors.guardrails:
            if name in taken:
                raise ValueError(
                    f"[monitors] guardrails {name!r} is {taken[name]} of the event.\n  A guardrail is a number: name "
                    "another field."
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
        panes = panes_needed(pane_us=tick_us, windows_us=windows, join_window_us=join_window)
        if panes > PANES_AT_MOST:
            raise ValueError(
                f"[monitors] windows and [labels] window need {panes:,} panes of {format_duration(tick_us)} "
                f"(1/{TICKS_PER_WINDOW} of the shortest window), but {PANES_AT_MOST:,} fit into memory.\n"
                f"  Make the shortest window longer, or the longest or the join window shorter."
            )
        check_alerts(self)

    @property
    def learned_from(self) -> dict[str, Any]:
        """The settings on which what has been learned depends: a state fits no others."""
        dump = self.model_dump(
            mode="json", include={"model", "events", "labels", "features", "monitors"}, by_alias=True
        )
        dump["model"].pop("name")
        dump["monitors"].pop("threshold")  # figures are read off with it, nothing is kept under it
        return dump


def as_tuple(values: Any) -> tuple[Any, ...]:
    """One value, several, or none, as a tuple."""
    return () if values is None else tuple(values) if isinstance(values, list) else (values,)


def resolve_path(config_path: Path, path: str) -> Path:
    """A path of the config, relative to the config's own folder."""
    return (config_path.parent / path).resolve()
