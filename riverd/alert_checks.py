"""Whether the alerts of a config can ever speak: their windows, features, bounds and receivers are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitors.calibration_watch import WATCH_RULES
from monitors.quality import METRICS as QUALITY_METRICS
from monitors.quality import WITH_ERROR
from monitors.traffic_figures import FEATURE_METRICS, GUARDRAILS
from riverd.durations import format_duration

if TYPE_CHECKING:
    from riverd.config import Config
    from riverd.config_alerts import Alert, Delivery

# nobody has to ask for them
DEAD_LETTER_RULE, STALL_RULE, SKEW_RULE = "dead-letters", "labels-stalled", "serving-skew"
BUILT_IN_ALERTS = (DEAD_LETTER_RULE, STALL_RULE, SKEW_RULE, *WATCH_RULES)
BEFORE_ALL_TIMES = 0  # the event time of an alert that fired when no message had one


def check_alerts(config: Config) -> None:
    """Raise ValueError for the first [[alerts]] table that the rest of the config does not bear out."""
    windows = config.monitors.windows
    names = [alert.name for alert in config.alerts]
    for alert in config.alerts:
        place = f"[[alerts]] {alert.name!r}"
        if alert.name in BUILT_IN_ALERTS:
            raise ValueError(f"{place} is the name of an alert of riverd's own.\n  Choose another.")
        if names.count(alert.name) > 1:
            raise ValueError(f"{place} stands there twice.\n  Give each rule a name of its own.")
        if (alert.above is None) == (alert.below is None):
            raise ValueError(f"{place} needs either above or below.\n  Write one of them.")
        _check_significance(alert, place)
        _check_recovery(alert, place)
        _check_delivery(alert, config.delivery, place)
        _check_target(alert, config, place)
        _check_slice(alert, config.monitors.slices, place)
        if alert.liveness:
            continue
        if alert.window is None:
            raise ValueError(f'{place} window is missing.\n  Add window = "{format_duration(windows[0])}" there.')
        if alert.window not in windows:
            known = ", ".join(f'"{format_duration(window)}"' for window in windows)
            raise ValueError(
                f'{place}: window = "{format_duration(alert.window)}" is not among [monitors] windows ({known}).\n'
                f"  Add it there, or use one of those."
            )


def _check_target(alert: Alert, config: Config, place: str) -> None:
    if alert.liveness and alert.window is not None:
        raise ValueError(f'{place}: metric = "{alert.metric}" looks at the clock, not at a window.\n  Remove window.')
    if alert.liveness and "pause" in alert.action:
        raise ValueError(
            f'{place}: metric = "{alert.metric}" can\'t pause learning, which must not depend on the clock.\n'
            '  Take "pause" out of action.'
        )
    if alert.liveness and "retrain" in alert.action:
        raise ValueError(
            f'{place}: metric = "{alert.metric}" can\'t begin a retrain, which must not depend on the clock.\n'
            '  Take "retrain" out of action.'
        )
    if alert.liveness and alert.relative_to is not None:
        raise ValueError(f'{place}: metric = "{alert.metric}" has no reference.\n  Remove relative_to.')
    if alert.metric not in FEATURE_METRICS:
        if alert.feature is not None:
            raise ValueError(f'{place}: metric = "{alert.metric}" is not of a feature.\n  Remove feature.')
        return
    known = _features_with(config, alert.metric)
    named = ", ".join(f'"{name}"' for name in known) or f"none; see {_listed(alert.metric)}"
    if alert.feature is None:
        raise ValueError(f'{place} metric = "{alert.metric}" needs a feature.\n  Name one of: {named}.')
    if alert.feature not in known:
        raise ValueError(
            f'{place}: feature = "{alert.feature}" has no {alert.metric}.\n  Those that have one: {named}.'
        )


def _check_slice(alert: Alert, fields: list[str], place: str) -> None:
    if alert.slice is None:
        return
    if alert.metric not in QUALITY_METRICS:
        raise ValueError(f'{place}: metric = "{alert.metric}" is not of a slice.\n  Remove slice.')
    if not any(alert.slice.startswith(f"{name}=") and alert.slice != f"{name}=" for name in fields):
        known = ", ".join(f'"{name}=..."' for name in fields) or "none yet: list a field under [monitors] slices"
        raise ValueError(f'{place}: slice = "{alert.slice}" is none of [monitors] slices.\n  Those are: {known}.')


def _features_with(config: Config, metric: str) -> list[str]:
    """The fields of which a metric can be taken."""
    features, guardrails = config.features, config.monitors.guardrails
    numbers = [*dict.fromkeys([*features.numbers, *guardrails])]
    if metric in GUARDRAILS:
        return guardrails
    if metric == "clipped_rate":
        return [] if config.model.kind == "external" else features.numbers
    if metric in ("null_rate", "psi", "psi_excess"):
        return [*dict.fromkeys([*features.categories, *numbers, *features.buckets])]
    return features.categories if metric == "unseen_rate" else numbers


def _check_delivery(alert: Alert, delivery: Delivery, place: str) -> None:
    for channel, url in (("webhook", delivery.webhook), ("alertmanager", delivery.alertmanager)):
        if channel in alert.action and url is None:
            raise ValueError(
                f'{place} action = "{channel}" needs its address.\n  Add {channel} = "https://..." under [delivery].'
            )


def _check_significance(alert: Alert, place: str) -> None:
    for side, other in (("above", "below"), ("below", "above")):
        if getattr(alert, f"{side}_by_se") is None:
            continue
        if getattr(alert, side) is None:
            raise ValueError(
                f"{place} {side}_by_se goes with {side}.\n  Write {other}_by_se, since the bound is {other}."
            )
        if alert.metric not in WITH_ERROR:
            raise ValueError(
                f'{place}: metric = "{alert.metric}" has no standard error.\n'
                f"  Remove {side}_by_se, or watch one of {', '.join(WITH_ERROR)}."
            )


def _check_recovery(alert: Alert, place: str) -> None:
    if alert.recover is None:
        return
    if alert.above is not None and alert.recover > alert.above:
        raise ValueError(f"{place} recover lies above the bound.\n  Write at most {alert.above:g}.")
    if alert.below is not None and alert.recover < alert.below:
        raise ValueError(f"{place} recover lies below the bound.\n  Write at least {alert.below:g}.")


def _listed(metric: str) -> str:
    """Where the config lists the fields of which a metric can be taken."""
    if metric in GUARDRAILS:
        return "[monitors] guardrails"
    return {
        "null_rate": "[features]",
        "psi": "[features]",
        "psi_excess": "[features]",
        "unseen_rate": "[features] categories",
    }.get(metric, "[features] numbers")
