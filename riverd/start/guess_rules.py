"""Alert rules that are quiet on what is normal: the daemon runs over the sample, and the bounds leave room above it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from monitors.rules import Rules
from riverd.assembly import assemble
from riverd.config import Config
from riverd.durations import format_duration
from riverd.engine import Engine
from riverd.load_config import parse_config
from riverd.screen.notation import moment
from riverd.start.guess_windows import HOUR, MINUTE
from riverd.start.importing import TimeOf
from riverd.start.sample import Sample
from stream.memory import MemorySource
from stream.source import Partition

UNREACHED = 1e300
SIGMAS = 4.0  # by which a ratio of counts may stray by chance alone
TICKS = 3  # verdicts that a reference needs

Reading = tuple[int, float]  # event time of the tick, and the value


@dataclass(frozen=True, slots=True)
class GuessedRule:
    """A rule as the config has it, and what its bound rests on."""

    keys: dict[str, Any]
    why: str


class _Recorder(Rules):
    """Rules that never fire, and remember every verdict."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules.rules)
        self.readings: dict[str, list[Reading]] = {rule.name: [] for rule in rules.rules}

    def evaluate(self, now_us: int, *arguments: Any, **named: Any) -> Any:
        changes = super().evaluate(now_us, *arguments, **named)
        for name, standing in self.standings.items():
            if standing.value is not None:
                self.readings[name].append((now_us, standing.value))
        return changes


def guess_rules(
    values: Mapping[str, Any],
    events: Sample,
    labels: Sample | None,
    *,
    min_labelled: int,
    positive_share: float,
    span_us: tuple[int, int],
    now_us: int,
) -> list[GuessedRule]:
    """Run the config over the sample and set bounds by windows that end in the first half of it.

    While the model knows nothing yet its figures are bad; that time sets no bound, but how long a breach has
    to last, so that a new model raises no alert. A rule is left out where the sample says too little to set
    it. The second half sets nothing either: should it breach a bound, that is what the rule is for, and its
    comment says so.

    Parameters
    ----------
    values
        The config without alerts.
    min_labelled
        Labelled events that a verdict needs.
    positive_share
        Positives among labelled events.
    span_us
        Event time of the first event and of the last.
    """
    metrics = ["normalized_entropy", "observed_expected"]
    if labels is not None and values["labels"].get("missing") != "negative":
        metrics.append("coverage")
    measured = _measure(values, metrics, events, labels, min_labelled=min_labelled, now_us=now_us)
    config = measured.config
    window_us, tick_us = config.monitors.windows[0], config.monitors.tick_us
    join_us = config.labels.window if config.labels else 0
    half_us = sum(span_us) // 2 + join_us  # when a window that ends there is final
    expected = 2 * min_labelled * positive_share
    rules: list[GuessedRule] = []
    for metric, taken in measured.readings.items():
        # from then on windows hold nothing that was scored by a blank model, before a label could come
        steady_us = taken[0][0] + window_us + join_us if taken else 0
        reference = [value for at_us, value in taken if steady_us <= at_us <= half_us]
        if len(reference) < TICKS:
            continue
        for bounds in _BOUNDS[metric](reference, expected):
            warming = [at_us for at_us, value in taken if at_us < steady_us and _breached(bounds, value)]
            for_us = _round(warming[-1] - taken[0][0] + 2 * tick_us if warming else 2 * tick_us)
            name = bounds.pop("name")
            keys = {"name": name, "metric": metric, "window": format_duration(window_us), **bounds}
            keys |= {"for": format_duration(for_us), "min_labelled": min_labelled}
            rules.append(GuessedRule(keys, _why(keys, reference, [r for r in taken if r[0] > half_us])))
    return rules


@dataclass(frozen=True, slots=True)
class _Measured:
    config: Config
    readings: dict[str, list[Reading]]  # by metric, in order of event time


def _measure(
    values: Mapping[str, Any],
    metrics: Sequence[str],
    events: Sample,
    labels: Sample | None,
    *,
    min_labelled: int,
    now_us: int,
) -> _Measured:
    """Every verdict on the shortest window."""
    window = values["monitors"]["windows"][0]
    probes = [
        {"name": metric, "metric": metric, "window": window, "above": UNREACHED, "min_labelled": min_labelled}
        for metric in metrics
    ]
    config = parse_config({**values, "alerts": probes}, "the config that was guessed")
    parts = assemble(config, now_us=lambda: now_us)
    recorder = _Recorder(parts.rules)
    engine = Engine(config, replace(parts, rules=recorder), MemorySource(_topics(config, events, labels)), bounded=True)
    engine.step()  # a source is known to be finished once it has been asked
    while not engine.finished:
        engine.step()
        engine.unsaved.dead_letters.clear()
    return _Measured(config, recorder.readings)


def _topics(config: Config, events: Sample, labels: Sample | None) -> dict[Partition, list[bytes]]:
    topics = {Partition(config.events.topic, "sample"): _in_order(events.messages, config.events.time)}
    if labels is not None and config.labels is not None:
        topics[Partition(config.labels.topic, "sample")] = _in_order(labels.messages, config.labels.time)
    return topics


def _in_order(messages: Sequence[bytes], time: str | None) -> list[bytes]:
    return sorted(messages, key=TimeOf(time)) if time is not None else list(messages)


def _entropy_bounds(reference: Sequence[float], _: float) -> list[dict[str, Any]]:
    highest, typical = max(reference), float(np.median(reference))
    # as far again as it strayed, and at least a quarter of what is left to "knows nothing"
    bound = _rounded(highest + max(0.05, highest - typical, (1 - highest) / 4))
    return [{"name": "worse-than-usual", "above": bound, "recover": _rounded((bound + highest) / 2)}]


def _ratio_bounds(reference: Sequence[float], expected_positives: float) -> list[dict[str, Any]]:
    strayed = max(abs(math.log(value)) if value > 0 else 1.0 for value in reference)
    width = min(max(1.3 * strayed + 0.1, SIGMAS / math.sqrt(max(expected_positives, 1))), 1.5)
    above, below = _rounded(math.exp(width)), _rounded(math.exp(-width))
    return [
        {"name": "more-positives-than-predicted", "above": above, "recover": _rounded(math.exp(width * 0.7))},
        {"name": "fewer-positives-than-predicted", "below": below, "recover": _rounded(math.exp(-width * 0.7))},
    ]


def _coverage_bounds(reference: Sequence[float], _: float) -> list[dict[str, Any]]:
    lowest = min(reference)
    bound = _rounded(lowest - max(0.05, (1 - lowest) / 2, float(np.median(reference)) - lowest))
    if bound <= 0.05:
        return []
    return [{"name": "labels-missing", "below": bound, "recover": _rounded((bound + lowest) / 2)}]


_BOUNDS = {"normalized_entropy": _entropy_bounds, "observed_expected": _ratio_bounds, "coverage": _coverage_bounds}


def _rounded(value: float) -> float:
    return float(f"{value:.2f}") if abs(value) >= 0.1 else float(f"{value:.2g}")


def _round(duration_us: int) -> int:
    """Up to whole minutes, ten minutes or hours, as people would write it."""
    unit_us = MINUTE if duration_us < HOUR else 10 * MINUTE if duration_us < 6 * HOUR else HOUR
    return -(-duration_us // unit_us) * unit_us


def _breached(keys: Mapping[str, Any], value: float) -> bool:
    return value > keys.get("above", math.inf) or value < keys.get("below", -math.inf)


def _why(keys: Mapping[str, Any], reference: Sequence[float], later: Sequence[Reading]) -> str:
    low, high = f"{min(reference):.2f}", f"{max(reference):.2f}"
    text = f"the first half of the sample has {low}" + (f" to {high}" if high != low else "")
    breach = next((at_us for at_us, value in later if _breached(keys, value)), None)
    return text + (f"; breached at {moment(breach)}: look there" if breach is not None else "")


def typical_count(*, window_us: int, span_us: int, labelled: int) -> int:
    """Labelled events below which a window gives no verdict: half of what it usually has.

    >>> typical_count(window_us=300, span_us=3000, labelled=10_000)
    500
    """
    return max(20, round(0.5 * labelled * min(window_us / max(span_us, 1), 1.0)))
