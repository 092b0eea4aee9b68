"""``riverd check --backtest``: how often the rules of a config would have fired on the history that is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from monitors.quality import METRICS as QUALITY_METRICS
from monitors.rules import LIVENESS_METRICS, Rule, Rules
from monitors.traffic_figures import GUARDRAILS
from riverd.assembly import rule_of
from riverd.config import Config
from riverd.database_url import database_url
from riverd.durations import UNITS_US, format_duration
from riverd.load_config import load_config
from riverd.replay_history import stored_name
from riverd.screen.notation import count, moment
from storage.history import Figures
from storage.inspection import read_stored_history

DAY_US = UNITS_US["d"]
FIRST = {"run": "run riverd over the stream", "replay": "riverd replay", "compare": "riverd replay --compare"}


@dataclass(frozen=True, slots=True)
class Backtest:
    """What one rule would have done; times are event times in microseconds."""

    rule: str
    target: str  # "logloss[carrier=UA]"
    judged: int  # stored windows in which the rule had a verdict
    firings: list[int]  # when it began to fire
    firing_us: int  # how long in all
    why: str | None = None  # it can't be judged by the history


def backtest(config_path: Path, *, of: str = "run", as_json: bool) -> int:
    """Print how often each rule would have fired on the history of the daemon ("run"), or of the last "replay".

    The history has 24 ends of a window in its length, not each tick.
    """
    config = load_config(config_path)
    name = config.model.name if of == "run" else stored_name(config.model.name, of)
    history = read_stored_history(database_url(config, config_path), name)
    outcomes = backtest_of(config, history)
    if as_json:
        rules = [{name: getattr(each, name) for name in Backtest.__slots__} for each in outcomes]
        print(json.dumps({"rules": rules, "from": _ends(history)[0], "to": _ends(history)[1]}))
    else:
        _print(outcomes, history, of=of)
    return 0


def backtest_of(config: Config, history: Sequence[Figures]) -> list[Backtest]:
    """Each rule of a config on these figures, in the order of their time.

    Examples
    --------
    >>> from riverd.load_config import parse_config
    >>> config = parse_config({
    ...     "model": {"name": "clicks"}, "source": {"kind": "files", "path": "data"},
    ...     "events": {"topic": "clicks", "time": "at", "label": "y"}, "features": {"numbers": ["x"]},
    ...     "monitors": {"windows": ["1d"]},
    ...     "alerts": [{"name": "loss", "metric": "logloss", "window": "1d", "above": 0.5}],
    ... }, "riverd.toml")
    >>> hour_us = 3_600_000_000
    >>> losses = [0.4, 0.6, 0.6, 0.4, 0.7, 0.3]
    >>> figures = [
    ...     Figures(i * hour_us, "1d", "outcomes", {"logloss": loss, "labelled": 900.0, "coverage": 1.0})
    ...     for i, loss in enumerate(losses)
    ... ]
    >>> outcome, = backtest_of(config, figures)
    >>> outcome.judged, len(outcome.firings), outcome.firing_us // hour_us
    (6, 2, 3)
    """
    return [_of_rule(rule_of(alert), config, history) for alert in config.alerts]


def _of_rule(rule: Rule, config: Config, history: Sequence[Figures]) -> Backtest:
    if rule.metric in LIVENESS_METRICS:
        return Backtest(rule.name, rule.target, 0, [], 0, "looks at the clock on the wall, of which nothing is stored")
    kind = "slices" if rule.slice is not None else _kind_of(rule)
    end = "final" if kind in ("traffic", "slices") else rule.on
    rules, firings, firing_us, judged, at = Rules([rule]), list[int](), 0, 0, 0
    began_at: int | None = None
    for figures in history:
        if (figures.window, figures.kind, figures.end) != (rule.window, kind, end):
            continue
        at, value = figures.at, _verdict(rule, figures.values)
        judged += value is not None
        error = _error(rule, figures.values)
        for change in rules.evaluate(at, lambda _, value=value: value, lambda _, error=error: error):
            if change.state == "firing":
                firings.append(at)
                began_at = at
            elif began_at is not None:
                firing_us += at - began_at
                began_at = None
    if began_at is not None:
        firing_us += at - began_at
    why = None if judged else _why(rule, config)
    return Backtest(rule.name, rule.target, judged, firings, firing_us, why)


def _kind_of(rule: Rule) -> str:
    return "outcomes" if rule.metric in QUALITY_METRICS or rule.metric.startswith("label_delay") else "traffic"


def _verdict(rule: Rule, values: Mapping[str, float]) -> float | None:
    """As ``Rule.verdict``, as far as the history tells: traffic and slices are stored without their events."""
    name = rule.measure.replace(rule.metric, GUARDRAILS.get(rule.metric, rule.metric), 1)
    value = values.get(name)
    if value is None or rule.slice is not None or rule.metric not in QUALITY_METRICS:
        return value
    support = values.get("events" if rule.metric == "coverage" else "labelled", float("inf"))
    enough = support >= rule.min_events and values.get("coverage", 1.0) >= rule.min_coverage
    return value if enough else None


def _error(rule: Rule, values: Mapping[str, float]) -> float | None:
    """The standard error of that value, if the rule asks for one and it was stored."""
    return 0.0 if rule.by_se is None else values.get(rule.measure.replace(rule.metric, f"{rule.metric}_error", 1))


def _why(rule: Rule, config: Config) -> str:
    windows = [format_duration(window) for window in config.monitors.windows]
    return f"the history has no {rule.target} of a window of {rule.window} ({', '.join(windows)} are kept)"


def _ends(history: Sequence[Figures]) -> tuple[int | None, int | None]:
    return (history[0].at, history[-1].at) if history else (None, None)


def _print(outcomes: Sequence[Backtest], history: Sequence[Figures], *, of: str) -> None:
    if not history:
        print(f"history      none is stored yet: {FIRST[of]} first")
        return
    first, last = history[0].at, history[-1].at
    print(f"history      {moment(first)} to {moment(last)}, {count(len(history))} documents")
    if not outcomes:
        print("rules        the config has no [[alerts]]")
    for each in outcomes:
        if each.why is not None:
            print(f"{each.rule}\n  not judged: {each.why}")
            continue
        days = max((last - first) / DAY_US, 1e-9)
        times = ", ".join(moment(at) for at in each.firings[:5]) + (", …" if len(each.firings) > 5 else "")
        print(
            f"{each.rule}\n  {each.target}: fires {count(len(each.firings))} times in {days:,.1f} days"
            f" ({share_of(each.firing_us, last - first)} of the time)" + (f": {times}" if times else "")
        )


def share_of(part_us: int, whole_us: int) -> str:
    """A share of time.

    >>> share_of(1, 3)
    '33.3%'
    """
    return f"{part_us / max(whole_us, 1):.1%}"
