"""The pieces of a Grafana dashboard as its JSON wants them, and their places on its 24 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

COLUMNS = 24
SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
DASHED: Json = {
    "matcher": {"id": "byRegexp", "options": "/provisional|expected|bound/"},
    "properties": [{"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [6, 6]}}],
}


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes
    ----------
    of
        What it shows, and when to worry: its tooltip.
    queries
        Expressions by legend.
    """

    title: str
    of: str
    queries: Mapping[str, str]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 7
    options: Json = field(default_factory=dict)
    defaults: Json = field(default_factory=dict)
    overrides: Sequence[Json] = ()
    transformations: Sequence[Json] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under a heading."""

    title: str
    panels: Sequence[Panel]


def graph(title: str, of: str, queries: Mapping[str, str], *, unit: str = "short", **how: Any) -> Panel:
    """Lines over time; what is provisional or only expected is dashed."""
    drawn: Json = {"lineWidth": 2, "fillOpacity": 0, "showPoints": "never", "spanNulls": True}
    options: Json = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel(title, of, queries, unit=unit, options=options, defaults={"custom": drawn}, overrides=[DASHED], **how)


def figure(
    title: str,
    of: str,
    query: str,
    *,
    unit: str = "short",
    steps: Sequence[tuple[float | None, str]],
    names: Mapping[int, str] | None = None,
) -> Panel:
    """One number, coloured by the step it has reached, or its name."""
    options: Json = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "background",
        "graphMode": "none",
        "textMode": "value",
    }
    thresholds = {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}
    defaults: Json = {
        "thresholds": thresholds,
        "mappings": _mappings({k: {"text": v} for k, v in (names or {}).items()}),
    }
    return Panel(title, of, {"": query}, kind="stat", unit=unit, width=4, height=4, options=options, defaults=defaults)


def states(title: str, of: str, queries: Mapping[str, str], *, names: Mapping[int, tuple[str, str]]) -> Panel:
    """A band for each series, coloured by its state: name and colour by value."""
    shown = {value: {"text": text, "color": color} for value, (text, color) in names.items()}
    return Panel(
        title,
        of,
        queries,
        kind="state-timeline",
        width=12,
        height=8,
        options={"showValue": "never", "mergeValues": True, "rowHeight": 0.8, "legend": {"showLegend": True}},
        defaults={"mappings": _mappings(shown), "custom": {"fillOpacity": 80, "lineWidth": 0}},
    )


def table(title: str, of: str, queries: Mapping[str, str], *, columns: Sequence[str], **how: Any) -> Panel:
    """The newest values, a row for each combination of these labels and a column for each query."""
    legends = list(queries)
    order = [*columns, *(f"Value #{_letter(number)}" for number in range(len(legends)))]
    tidy: Json = {
        "indexByName": {name: place for place, name in enumerate(order)},
        "renameByName": {f"Value #{_letter(number)}": legend for number, legend in enumerate(legends)},
    }
    transformations: list[Json] = [
        {"id": "merge", "options": {}},
        {"id": "filterFieldsByName", "options": {"include": {"names": order}}},
        {"id": "organize", "options": tidy},
    ]
    return Panel(
        title, of, queries, kind="table", width=12, height=8,
        options={"showHeader": True, "cellHeight": "sm"},
        defaults={"decimals": 4, "custom": {"align": "auto"}},
        transformations=transformations, **how,
    )  # fmt: skip


def placed(sections: Sequence[Section]) -> list[Json]:
    """All panels from left to right and from top to bottom, each section under its row."""
    panels: list[Json] = []
    top = 0
    for section in sections:
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": section.title, "collapsed": False, "panels": []}
            | {"gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1}}
        )
        top += 1
        left, height = 0, 0
        for panel in section.panels:
            if left + panel.width > COLUMNS:
                left, top, height = 0, top + height, 0
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            panels.append(_panel(panel, len(panels) + 1, place))
            left, height = left + panel.width, max(height, panel.height)
        top += height
    return panels


def _panel(panel: Panel, number: int, place: Json) -> Json:
    written: Json = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.of,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, **panel.defaults},
            "overrides": list(panel.overrides),
        },
        "options": panel.options,
        "targets": [
            _target(panel, _letter(number), legend, expression)
            for number, (legend, expression) in enumerate(panel.queries.items())
        ],
    }
    return written | ({"transformations": list(panel.transformations)} if panel.transformations else {})


def _target(panel: Panel, letter: str, legend: str, expression: str) -> Json:
    target: Json = {"refId": letter, "datasource": SOURCE, "expr": expression}
    if panel.kind == "table":
        return target | {"instant": True, "range": False, "format": "table"}
    return target | {"range": True, "legendFormat": legend}


def _letter(number: int) -> str:
    return "ABCDEFGHIJ"[number]


def _mappings(shown: Mapping[int, Json]) -> list[Json]:
    if not shown:
        return []
    return [{"type": "value", "options": {str(value): how | {"index": value} for value, how in shown.items()}}]
