"""Families of metrics from rows; an undefined figure is absent, never 0."""

from __future__ import annotations

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Rows = list[tuple[tuple[str, ...], float | None]]


def one(name: str, of: str, value: float) -> Metric:
    """A gauge without labels."""
    return gauge(name, of, (), [((), value)])


def gauge(name: str, of: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    """What goes up and down."""
    return _filled(GaugeMetricFamily(name, of, labels=labels), rows)


def counter(name: str, of: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    """What only grows while this process lives; its series end in ``_total``."""
    return _filled(CounterMetricFamily(name, of, labels=labels), rows)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, rows: Rows) -> Metric:
    for values, value in rows:
        if value is not None:
            family.add_metric(values, value)
    return family
