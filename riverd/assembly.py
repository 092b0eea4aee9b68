"""From the config to the parts of the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.external import ExternalModel
from models.hashing import NULL, CategoryHashes, hash_feature
from models.learner import make_settings
from models.stream_model import StreamModel
from monitors.calibration_watch import CalibrationWatch, WatchConfig
from monitors.feature_drift import FeatureDrift
from monitors.grid import PaneGrid
from monitors.labelled_sample import LabelledSample
from monitors.panes import Panes
from monitors.ring import Ring
from monitors.rules import Rule, Rules
from monitors.slices import SlicePanes
from monitors.traffic import CategoryColumn, TrafficPanes
from riverd.alert_checks import DEAD_LETTER_RULE
from riverd.config import Config
from riverd.config_alerts import Alert
from riverd.config_sections import as_tuple
from riverd.durations import UNITS_US, format_duration
from riverd.skew import SkewCheck
from stream.decoding import EventDecoder, LabelDecoder
from stream.join_state import Policy
from stream.joiner import Joiner
from stream.merge import Merger
from stream.rows import RowTable
from stream.schema import Bucket, Category, EventSchema, LabelSchema, TimePart
from stream.source import Batch, Partition

# 1970-01-01 was a Thursday
WEEKDAYS = ("thursday", "friday", "saturday", "sunday", "monday", "tuesday", "wednesday")
TIME_PARTS = {"hour": (UNITS_US["h"], tuple(range(24))), "weekday": (UNITS_US["d"], WEEKDAYS)}


@dataclass(frozen=True, slots=True)
class Parts:
    """All that a record passes through, from decoding to judgement."""

    event_decoder: EventDecoder
    label_decoder: LabelDecoder | None
    merger: Merger
    table: RowTable
    joiner: Joiner
    model: StreamModel | ExternalModel
    panes: Panes
    traffic: TrafficPanes
    slices: SlicePanes
    drift: FeatureDrift
    labelled: LabelledSample
    rules: Rules
    dead_letter_rule: Rules  # the one that nobody has to ask for
    skew: SkewCheck | None
    watch: CalibrationWatch

    @property
    def rings(self) -> dict[str, Ring]:
        """What the monitors remember, by the names under which it is stored."""
        return {
            "panes": self.panes.ring,
            "traffic": self.traffic.ring,
            "slices": self.slices.ring,
            "drift": self.drift.ring,
            "labelled": self.labelled.ring,
        }


def assemble(config: Config, *, now_us: Callable[[], int]) -> Parts:
    """Build the parts that the config asks for; ``now_us`` is the wall clock."""
    event_decoder = EventDecoder(_event_schema(config), now_us=now_us)
    label_schema = _label_schema(config)
    label_decoder = LabelDecoder(label_schema, now_us=now_us) if label_schema else None
    model = model_of(config)
    table = RowTable(slices=len(config.monitors.slices), said=model.said)
    policy = _policy(config)
    grid = PaneGrid(
        pane_us=policy.tick_us,
        windows_us=tuple(config.monitors.windows),
        join_window_us=policy.window_us,
        stall_us=policy.window_us if policy.missing_is_negative else 0,
    )
    quiet_us = policy.window_us + policy.early_us + policy.remember_us + grid.longest_us + 2 * policy.tick_us
    return Parts(
        event_decoder=event_decoder,
        label_decoder=label_decoder,
        merger=_merger(event_decoder),
        table=table,
        joiner=Joiner(policy, table, cells=model.cells, quiet_us=quiet_us),
        model=model,
        panes=Panes(grid),
        traffic=TrafficPanes(grid, categories=_watched(config), numbers=_numbers(config)),
        slices=SlicePanes(grid, config.monitors.slices),
        drift=FeatureDrift(
            grid,
            categories=_watched(config),
            numbers=_numbers(config),
            reference=config.monitors.compared_with,
        ),
        labelled=LabelledSample(categories=_watched(config), numbers=_numbers(config)),
        rules=Rules(rule_of(alert) for alert in config.alerts if not alert.liveness),
        dead_letter_rule=Rules([_dead_letter_rule(config)]),
        skew=_skew(config, model),
        watch=CalibrationWatch(_watch_config(config), config.monitors.slices),
    )


def _watched(config: Config) -> list[CategoryColumn]:
    """The categories of an event, and numbers that are seen through buckets alone."""
    features = config.features
    watched = [
        CategoryColumn(name, column, hash_feature(name, NULL)) for column, name in enumerate(features.categories)
    ]
    first = len(features.categories) + len(features.time_parts)
    for column, name in enumerate(features.buckets, start=first):
        if name not in _numbers(config):
            watched.append(CategoryColumn(name, column, hash_feature(bucket_name(name), NULL)))
    return watched


def _numbers(config: Config) -> tuple[str, ...]:
    """The columns of numbers: first those that the model knows."""
    return tuple(dict.fromkeys([*config.features.numbers, *config.monitors.guardrails]))


def _event_schema(config: Config) -> EventSchema:
    events, features = config.events, config.features
    predictions = config.predictions.topic is not None
    return EventSchema(
        topic=events.topic,
        time=events.time,
        # a labelled event needs no id unless duplicates are looked for: nothing has to find it again
        id=_ids(events.id) if config.labels is not None or events.dedupe is not None or predictions else None,
        label=events.label,
        positive=_positive(events.positive_when),
        weight=events.weight,
        score=events.score,
        categories={name: CategoryHashes(name) for name in features.categories},
        numbers=_numbers(config),
        time_parts=tuple(_time_part(name) for name in features.time_parts),
        buckets={name: _bucket(name, edges) for name, edges in features.buckets.items()},
        words={name: CategoryHashes(name) for name in features.words},
        slices={name: CategoryHashes(name) for name in config.monitors.slices},
    )


def _ids(ids: Any) -> str | tuple[str, ...] | None:
    names = as_tuple(ids)
    return (names[0] if len(names) == 1 else names) if names else None


def _positive(values: Any) -> frozenset[Category] | None:
    return None if values is None else frozenset(as_tuple(values))


def bucket_name(name: str) -> str:
    """The category that a bucketed number is."""
    return f"{name}#bucket"


def _bucket(name: str, edges: Sequence[float]) -> Bucket:
    texts = [f"below {edges[0]:g}", *(f"from {edge:g}" for edge in edges), None]
    hashes: NDArray[np.uint64] = np.array([hash_feature(bucket_name(name), text) for text in texts], dtype=np.uint64)
    return np.array(edges, dtype=np.float64), hashes


def _time_part(name: str) -> TimePart:
    unit_us, values = TIME_PARTS[name]
    hashes: NDArray[np.uint64] = np.array([hash_feature(name, value) for value in values], dtype=np.uint64)
    return unit_us, hashes


def _label_schema(config: Config) -> LabelSchema | None:
    labels = config.labels
    if labels is None:
        return None
    return LabelSchema(
        topic=labels.topic,
        id=_ids(labels.id) or (),
        time=labels.time,
        value=labels.value,
        positive=_positive(labels.positive_when),
    )


def _merger(event_decoder: EventDecoder) -> Merger:
    # labels have the same columns whatever their fields are called
    label_decoder = LabelDecoder(LabelSchema(topic="", id="id", time="time"), now_us=lambda: 0)
    nothing = Batch(Partition("", ""), np.zeros(0, np.int64), 0, [])
    return Merger(
        events_empty=event_decoder.decode(nothing, 0).columns,  # pyrefly: ignore
        labels_empty=label_decoder.decode(nothing, 0).columns,  # pyrefly: ignore
    )


def _policy(config: Config) -> Policy:
    labels, tick_us = config.labels, config.monitors.tick_us
    if labels is None:
        known_us = config.events.dedupe or 0
        return Policy(0, 0, known_us, tick_us, at_maturity=False, missing_is_negative=False, labelled=True)
    return Policy(
        window_us=labels.window,
        early_us=labels.early_window,
        remember_us=labels.window if labels.remember is None else labels.remember,
        tick_us=tick_us,
        at_maturity=labels.at_maturity,
        missing_is_negative=labels.missing == "negative",
        labelled=False,
    )


def learner_settings(config: Config) -> NDArray[np.float64]:
    """The constants of the learner that the config asks for."""
    model = config.model
    kind = "mixture" if model.kind == "external" else model.kind  # then nobody learns
    return make_settings(kind, alpha=model.alpha, beta=model.beta, l1=model.l1, l2=model.l2)


def model_of(config: Config) -> StreamModel | ExternalModel:
    """The model that the config describes, with nothing learned."""
    model, features = config.model, config.features
    if model.kind == "external":
        return ExternalModel()
    return StreamModel(
        learner_settings(config),
        bits=model.bits,
        categories=[*features.categories, *features.time_parts, *map(bucket_name, features.buckets)],
        numbers=features.numbers,
        crosses=features.crosses,
        words=features.words,
    )


def _watch_config(config: Config) -> WatchConfig:
    return WatchConfig(
        false_alarm_every=config.monitors.false_alarm_every,
        tolerance=config.monitors.tolerance,
        missing_is_negative=config.labels is not None and config.labels.missing == "negative",
        learner=config.model.kind != "external",
    )


def _skew(config: Config, model: StreamModel | ExternalModel) -> SkewCheck | None:
    return SkewCheck(config.skew, model) if config.skew is not None and isinstance(model, StreamModel) else None


def rule_of(alert: Alert) -> Rule:
    """The rule that an [[alerts]] table describes."""
    return Rule(
        name=alert.name,
        metric=alert.metric,
        window_us=alert.window or 0,
        window="" if alert.window is None else format_duration(alert.window),
        feature=alert.feature,
        slice=alert.slice,
        above=alert.above,
        below=alert.below,
        by_se=alert.above_by_se if alert.below_by_se is None else alert.below_by_se,
        relative_to=alert.relative_to,
        for_us=alert.for_,
        recover=alert.recover,
        on=alert.on,
        min_coverage=alert.min_coverage,
        min_events=alert.min_labelled,
        cool_down_us=alert.cool_down,
        severity=alert.severity,
        actions=tuple(alert.action),
    )


def _dead_letter_rule(config: Config) -> Rule:
    bound = config.dead_letters.pause_above
    return Rule(
        name=DEAD_LETTER_RULE,
        metric="dead_share",
        window="latest",
        above=bound,
        recover=bound / 2,
        severity="critical",
    )
