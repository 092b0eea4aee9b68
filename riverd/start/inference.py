"""From samples to a whole config: every guess, with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riverd.durations import format_duration
from riverd.errors import RiverdError
from riverd.screen.notation import share
from riverd.start.guess_crosses import Cross, guess_crosses
from riverd.start.guess_features import Feature, guess_features
from riverd.start.guess_join import Join, guess_join
from riverd.start.guess_label import Label, guess_label
from riverd.start.guess_roles import Guess, Ids, guess_id, guess_time
from riverd.start.guess_rules import GuessedRule, guess_rules, typical_count
from riverd.start.guess_windows import DAY, JoinWindow, Windows, class_gap, guess_join_window, guess_windows
from riverd.start.sample import Sample, valid

DEFAULT_BITS, MOST_BITS = 18, 24
DEDUPE = "1d"
FEWEST = 10  # events from which anything can be guessed
CLASS_GAP = 0.5  # of the median delay, by which the labels of one class come later
SLOTS_PER_FEATURE = 20  # so that five in a hundred share a slot


@dataclass(frozen=True, slots=True)
class Inferred:
    """What ``riverd init`` writes down."""

    values: dict[str, Any]  # the config, without [[alerts]]
    event_time: Guess
    event_id: Ids | None
    label: Label | None  # None: a label means positive
    label_time: Guess | None
    join: Join | None
    window: JoinWindow | None
    missing: str  # why a missing label is taken as it is
    learn: str  # why events are learned at the end of their window, if they are
    features: list[Feature]
    time_parts: str
    crosses: list[Cross]
    no_crosses: str  # why there are none
    windows: Windows
    rules: list[GuessedRule]

    def kept(self, kind: str) -> list[Feature]:
        return [feature for feature in self.features if feature.kind == kind]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The label of each event that has one."""

    label: Label | None
    event: NDArray[np.int64]
    positive: NDArray[np.bool_]
    labelled: int  # labels that count, missing ones that mean negative included
    positive_share: float


def infer(
    events: Sample, labels: Sample | None, *, name: str, topics: tuple[str, str], label: str | None, now_us: int
) -> Inferred:
    """Guess a config for events, and labels if they come on a topic of their own.

    Raises
    ------
    RiverdError
        A field that is needed can't be told from the sample; the message says which, and what to do.
    """
    if len(events) < FEWEST:
        raise RiverdError(
            f"{events.path}: {len(events)} different {'message is' if len(events) == 1 else 'messages are'} too few to "
            "tell what the fields are.\n  Give it a few hundred."
        )
    event_time = guess_time(events, now_us=now_us)
    if labels is None:
        return _labelled_events(events, event_time, name=name, topic=topics[0], label=label, now_us=now_us)
    label_time = guess_time(labels, now_us=now_us)
    join = guess_join(events, labels, event_time.path, label_time.path)
    taken = {label_time.path, *join.label_id.paths}
    guess = guess_label(labels, taken, wanted=label, in_events=False)
    if guess is not None and label is None and all(map(guess.is_positive, labels.columns[guess.path].present)):
        guess = None  # every label says yes: it is its coming that tells
    says_yes = np.ones(len(labels), np.bool_) if guess is None else _positive(labels, guess)
    negative = guess is None
    first, places = np.unique(join.event, return_index=True)
    places = places[first >= 0]
    matched = first[first >= 0]
    if negative:
        all_events = np.arange(len(events))
        outcome = _Outcome(guess, all_events, np.isin(all_events, matched), len(events), len(matched) / len(events))
    else:
        positive = says_yes[places]
        outcome = _Outcome(guess, matched, positive, len(matched), float(positive.mean()))
    window = guess_join_window(join.delay_us)
    values: dict[str, Any] = {
        "events": {"topic": topics[0], "id": join.event_id.value, "time": event_time.path},
        "labels": {"topic": topics[1], "id": join.label_id.value, "time": label_time.path}
        | ({"value": guess.path} | _positive_when(guess) if guess else {})
        | {"window": format_duration(window.window_us), "early_window": format_duration(window.early_us)}
        | {"missing": "negative" if negative else "drop"},
    }
    learn = ""
    if not negative:
        gap = class_gap(join.delay_us, says_yes[join.label])
        if abs(gap) > CLASS_GAP:
            values["labels"]["learn"] = "maturity"
            sooner, later = ("negatives", "positives") if gap > 0 else ("positives", "negatives")
            learn = (
                f"{later} come later than {sooner}: learned on arrival, {sooner} would seem more frequent than they are"
            )
    with_label = share(len(matched) / len(events))
    if negative:
        missing = f"labels mean yes and {with_label} of the events have one: none within the window means no"
    else:
        missing = f"{with_label} of the events have a label; the others are judged by nothing and not learned"
    return _completed(
        events, labels, outcome, values, name=name, event_time=event_time, event_id=join.event_id, now_us=now_us,
        label_time=label_time, join=join, window=window, missing=missing, learn=learn,
    )  # fmt: skip


def _labelled_events(
    events: Sample, event_time: Guess, *, name: str, topic: str, label: str | None, now_us: int
) -> Inferred:
    guess = guess_label(events, {event_time.path}, wanted=label, in_events=True)
    assert guess is not None  # in events it is found or refused
    event_id = guess_id(events, {event_time.path, guess.path})
    values: dict[str, Any] = {
        "events": {"topic": topic}
        | ({"id": event_id.value} if event_id else {})
        | {"time": event_time.path, "label": guess.path}
        | _positive_when(guess)
        | ({"dedupe": DEDUPE} if event_id and events.repeated else {})
    }
    column = events.columns[guess.path]
    with_label = np.array([i for i, value in enumerate(column.values) if value is not None], dtype=np.int64)
    positive = _positive(events, guess)[with_label]
    outcome = _Outcome(guess, with_label, positive, len(with_label), float(positive.mean()))
    return _completed(
        events, None, outcome, values, name=name, event_time=event_time, event_id=event_id, now_us=now_us,
        label_time=None, join=None, window=None, missing="",
    )  # fmt: skip


def _positive(sample: Sample, label: Label) -> NDArray[np.bool_]:
    """Which messages say yes; one without a value does not."""
    values = sample.columns[label.path].values
    return np.fromiter((value is not None and label.is_positive(value) for value in values), np.bool_, len(values))


def _positive_when(label: Label) -> dict[str, Any]:
    if label.positive is None:
        return {}
    values = label.positive.values
    return {"positive_when": values[0] if len(values) == 1 else list(values)}


def _completed(
    events: Sample,
    labels: Sample | None,
    outcome: _Outcome,
    values: dict[str, Any],
    *,
    name: str,
    event_time: Guess,
    event_id: Ids | None,
    label_time: Guess | None,
    join: Join | None,
    window: JoinWindow | None,
    missing: str,
    now_us: int,
    learn: str = "",
) -> Inferred:
    """Add what the model sees and how it is judged."""
    taken = {event_time.path, *(event_id.paths if event_id else ())}
    if labels is None and outcome.label is not None:
        taken.add(outcome.label.path)
    features = guess_features(events, taken, outcome.event, outcome.positive)
    if not any(feature.kind in ("category", "number", "words") for feature in features):
        lines = "\n".join(f"    {feature.path}: {feature.why}" for feature in features[:12])
        raise RiverdError(
            f"{events.path}: no field is a feature.\n  Give the events more fields. These were left out:\n{lines}"
        )
    all_times = events.times(event_time.path)
    times = all_times[valid(all_times)]
    span_us = int(times.max() - times.min())
    parts, why_parts = _time_parts(span_us)
    crosses, no_crosses = guess_crosses(events, features, parts, all_times, outcome.event, outcome.positive)
    windows = guess_windows(
        span_us=span_us,
        labelled=outcome.labelled,
        positive_share=outcome.positive_share,
        join_window_us=window.window_us if window else 0,
    )
    values = {"model": {"name": name} | _bits(events, features, crosses)} | values
    seen: dict[str, Any] = {
        "categories": [feature.path for feature in features if feature.kind == "category"],
        "numbers": [feature.path for feature in features if feature.kind == "number"],
        "time_parts": parts,
    }
    words = [feature.path for feature in features if feature.kind == "words"]
    if words:
        seen["words"] = words
    if crosses:
        seen["crosses"] = [list(cross.pair) for cross in crosses]
    values["features"] = seen
    values["monitors"] = {"windows": [format_duration(us) for us in windows.lengths_us]}
    count = typical_count(window_us=windows.lengths_us[0], span_us=span_us, labelled=outcome.labelled)
    rules = guess_rules(
        values, events, labels, min_labelled=count, positive_share=outcome.positive_share,
        span_us=(int(times.min()), int(times.max())), now_us=now_us,
    )  # fmt: skip
    return Inferred(
        values=values, event_time=event_time, event_id=event_id, label=outcome.label, label_time=label_time,
        join=join, window=window, missing=missing, learn=learn, features=features, time_parts=why_parts,
        crosses=crosses, no_crosses=no_crosses, windows=windows, rules=rules,
    )  # fmt: skip


def _time_parts(span_us: int) -> tuple[list[str], str]:
    if span_us >= 14 * DAY:
        return ["hour", "weekday"], "of the event time, in UTC: the sample covers weeks"
    if span_us >= 2 * DAY:
        return ["hour"], 'of the event time, in UTC; add "weekday" once the stream covers weeks'
    return [], '"hour" and "weekday" of the event time can\'t be learned from less than two days'


def _bits(events: Sample, features: list[Feature], crosses: list[Cross]) -> dict[str, int]:
    distinct = sum(len(set(map(str, events.columns[f.path].present))) for f in features if f.kind == "category")
    distinct += sum(cross.combinations for cross in crosses)
    wanted = math.ceil(math.log2(max(distinct * SLOTS_PER_FEATURE, 1)))
    return {"bits": min(wanted, MOST_BITS)} if wanted > DEFAULT_BITS else {}
