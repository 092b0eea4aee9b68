"""Whether the alerts of a config can ever speak: their windows, features, bounds and receivers are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitors.quality import METRICS as QUALITY_METRICS
from monitors.traffic_figures import FEATURE_METRICS, GUARDRAILS
from riverd.durations import format_duration

if TYPE_CHECKING:
    from riverd.config import Config
    from riverd.config_sections import Alert, Delivery

DEAD_LETTER_RULE, STALL_RULE = BUILT_IN_ALERTS = ("dead-letters", "labels-stalled")  # nobody has to ask for them
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
    if metric == "null_rate":
        return [*dict.fromkeys([*features.categories, *numbers, *features.buckets])]
    return features.categories if metric == "unseen_rate" else numbers


def _check_delivery(alert: Alert, delivery: Delivery, place: str) -> None:
    for channel, url in (("webhook", delivery.webhook), ("alertmanager", delivery.alertmanager)):
        if channel in alert.action and url is None:
            raise ValueError(
                f'{place} action = "{channel}" needs its address.\n  Add {channel} = "https://..." under [delivery].'
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
    return {"null_rate": "[features]", "unseen_rate": "[features] categories"}.get(metric, "[features] numbers")
