"""The status of an engine as one frame of text, for a terminal of any size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from riverd.alert_checks import BEFORE_ALL_TIMES
from riverd.screen.features import drifted_features, features_table, leak_line
from riverd.screen.notation import count, figure, moment, plain, share, span, volume
from riverd.screen.retrains import decision_line, retrain_line
from riverd.screen.slices import slices_table, worst_slices
from riverd.screen.style import BAD, FAINT, GOOD, STRONG, grid, line
from riverd.status import AlertEvent, AlertStatus, CheckpointStatus, Status, WindowStatus

FIRED, RESOLVED = "▲", "▼"
_BLOCKS = "▁▂▃▄▅▆▇█"
_LOG_LINES = 8
_SLICE_LINES = 5
_FEATURE_LINES = 5
_LEAK_LINES = 3
_PHASES = {"compiling": "compiling, which takes some 20 s and happens once"}

# Fates that are shown when there are any; pending and matched always are.
_FATES = (
    ("expired", "never labelled", ""),
    ("waiting", "labels waiting", ""),
    ("late", "labels too late", ""),
    ("duplicate_events", "duplicate events", ""),
    ("duplicate_labels", "duplicate labels", ""),
    ("correction", "corrections", ""),
    ("orphan", "orphan labels", ""),
    ("tombstones", "tombstones", ""),
    ("conflict", "conflicts", BAD),
    ("dead", "dead letters", BAD),
)


def render(status: Status, *, width: int, height: int | None = None) -> RenderableType:
    """Draw one frame, never wider than ``width``; at 24 rows it fits for a handful of windows and rules.

    When ``height`` is short, the log of alerts gives way first, then slices, then features that drift, then the
    rules, quiet ones before firing ones.
    """
    blocks: list[tuple[int, RenderableType]] = []  # rows, each block after an empty line

    def add(rows: int, *content: RenderableType) -> None:
        blocks.append((rows + 1, Group(Text(), *content)))

    figures = list(_flow(_figures(status), width))
    add(len(figures), *figures)
    if status.windows:
        add(len(status.windows) + 1, _windows(status.windows, width))
    if trend := list(_trend(status, width)):
        add(len(trend), *trend)
    if leaks := [line((leak_line(name, area), BAD), width=width) for name, area in status.leaks.items()][:_LEAK_LINES]:
        add(len(leaks), *leaks)
    foot = [line(checkpoint_line(status.checkpoint), width=width)] if status.checkpoint else []
    head = list(_head(status, width))
    free = math.inf if height is None else height - len(head) - sum(rows for rows, _ in blocks) - 2 * len(foot)
    if status.alerts and free >= 3:
        alerts = sorted(status.alerts, key=_urgency)[: int(min(free - 2, len(status.alerts)))]
        add(len(alerts) + 1, _alerts(alerts, status.watermark, width))
        free -= len(alerts) + 2
    window, features = drifted_features(status.windows)
    if features and free >= 4:
        shown = dict([*features.items()][: int(min(free - 2, _FEATURE_LINES))])
        add(len(shown) + 1, features_table(window, shown, width=width))
        free -= len(shown) + 2
    window, slices = worst_slices(status.windows)
    if slices and free >= 4:
        slices = slices[: int(min(free - 2, _SLICE_LINES))]
        add(len(slices) + 1, slices_table(window, slices, width=width))
        free -= len(slices) + 2
    story = [
        *(decision_line(decision, year=width >= 100) for decision in status.decisions[-2:]),
        *([retrain_line(status.retrain)] if status.retrain is not None else []),
    ]
    if story and free >= len(story) + 1:
        add(len(story), *(line(text, width=width) for text in story))
        free -= len(story) + 1
    if status.events and free >= 2:
        latest = status.events[-int(min(free - 1, _LOG_LINES)) :]
        add(len(latest), *(line(event_line(event, year=width >= 100), width=width) for event in latest))
    if foot:
        add(1, *foot)
    return Group(*head, *(block for _, block in blocks))


def event_line(event: AlertEvent, *, year: bool = True) -> Text:
    """An alert that fired or was resolved, with its mark."""
    firing = event.state == "firing"
    mark, style = (FIRED, BAD) if firing else (RESOLVED, GOOD)
    return Text.assemble((f"{mark} ", style), describe(event, year=year))


def describe(event: AlertEvent, *, year: bool = True) -> str:
    """Say when a rule fired or was resolved, and on what figures."""
    side = ">" if event.value > event.bound else "<" if event.value < event.bound else "="
    reading = f"{event.metric} {event.window} {figure(event.value)} {side} {figure(event.bound)}"
    lasted = "" if event.started_at == BEFORE_ALL_TIMES else f" after {span((event.at - event.started_at) / 1e6)}"
    fate = "fired" if event.state == "firing" else f"resolved{lasted}"
    at = "at once" if event.at == BEFORE_ALL_TIMES else moment(event.at, year=year)
    return plain(f"{at}  {event.rule} {fate}: {reading}")


def checkpoint_line(checkpoint: CheckpointStatus) -> str:
    """The last checkpoint, its cost included."""
    cost = f"{figure(checkpoint.milliseconds, 0)} ms, of them {figure(checkpoint.pause_milliseconds, 1)} ms pause"
    size = volume(checkpoint.bytes)
    return f"checkpoint {checkpoint.number}: {count(checkpoint.events)} events, {size}, {cost}"


def _head(status: Status, width: int) -> Iterator[Text]:
    name, phase = plain(status.model), _PHASES.get(status.phase, plain(status.phase))
    paused = f"  learning paused by {plain(status.paused_by)}" if status.paused_by is not None else ""
    paused += "  labels stalled" if status.stalled_since is not None else ""
    now = f"{moment(status.watermark)} UTC" if status.watermark is not None else ""
    gap = width - cell_len(f"{name}  {phase}{paused}{now}")
    yield line((name, STRONG), f"  {phase}", (paused, BAD), " " * gap + now if gap >= 2 else "", width=width)
    if status.progress is not None:
        done = min(max(status.progress, 0.0), 1.0)
        left = status.seconds * (1 - done) / done if 0.02 < done < 1 and status.seconds > 0 else None
        words = f"  {100 * done:3.0f} %  {span(status.seconds)}" + (f", {span(left)} left" if left is not None else "")
        bar = max(width - len(words), 0)
        full = round(bar * done)
        yield line(("━" * full, GOOD), ("━" * (bar - full), FAINT), words, width=width)


def _figures(status: Status) -> Iterator[tuple[str, str, str]]:
    counts = status.counts
    yield count(status.events_per_second), "events/s", ""
    yield count(counts.get("events", 0)), "events", ""
    yield count(counts.get("pending", 0)), "pending", ""
    yield count(counts.get("matched", 0)), "matched", ""
    for fate, words, style in _FATES:
        if number := counts.get(fate, 0):
            yield count(number), words, style


def _flow(items: Iterable[tuple[str, str, str]], width: int) -> Iterator[Text]:
    parts: list[tuple[str, str]] = []
    used = 0
    for number, words, style in items:
        size = len(number) + 1 + len(words)
        if parts and used + 3 + size > width:
            yield line(*parts, width=width)
            parts.clear()
            used = 0
        if parts:
            parts.append(("   ", ""))
            used += 3
        parts += [(number, style or STRONG), (f" {words}", style)]
        used += size
    yield line(*parts, width=width)


def _windows(windows: Sequence[WindowStatus], width: int) -> Table:
    wide, narrow = width >= 100, width < 76
    names = ["Window", "Labels", *(["Until"] if wide else []), *([] if narrow else [">Events"])]
    table = grid(*names, ">Labelled", ">Logloss", ">NE", ">AUC", *([] if narrow else [">Positive"]))
    for window in sorted(windows, key=lambda window: not window.final):
        good = window.normalized_entropy is None or not window.normalized_entropy >= 1
        middle = [*([moment(window.until)] if wide else []), *([] if narrow else [count(window.events)])]
        cells = (
            plain(window.window),
            "final" if window.final else "provisional",
            *middle,
            share(window.coverage),
            figure(window.logloss),
            Text(figure(window.normalized_entropy, 3), style="" if good else BAD),
            figure(window.roc_auc, 3),
            *([] if narrow else [share(window.positive_rate)]),
        )
        table.add_row(*cells, style="" if window.final else FAINT)
    return table


def _trend(status: Status, width: int) -> Iterator[Text]:
    name = plain(status.windows[0].window) if status.windows else ""
    series = (
        ("logloss", [logloss for _, logloss, _ in status.history], max, 4),
        ("AUC", [roc_auc for _, _, roc_auc in status.history], min, 3),
    )
    for title, values, worst, digits in series:
        known = [value for value in values if math.isfinite(value)]
        if len(known) < 2:
            continue
        label = f"{title} {name}  "[:16].ljust(12)
        words = f"  {figure(values[-1], digits)}"
        if width >= 76:
            words += f" now, {figure(min(known), digits)} to {figure(max(known), digits)}"
        bars = sparkline(values, width=max(width - len(label) - len(words), 0), worst=worst)
        yield line((label, FAINT), bars, (words, FAINT), width=width)


def sparkline(values: Sequence[float], *, width: int, worst: Callable[[Sequence[float]], float] = max) -> str:
    """A series as at most ``width`` blocks, each the worst of its stretch, so that no peak is lost; NaN is a gap."""
    cells = min(width, len(values))
    cuts = [len(values) * i // cells for i in range(cells + 1)] if cells else [0]
    stretches = [[v for v in values[a:b] if math.isfinite(v)] for a, b in pairwise(cuts)]
    peaks = [worst(stretch) if stretch else None for stretch in stretches]
    known = [peak for peak in peaks if peak is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    top = len(_BLOCKS) - 1
    # halved, since the difference of two large floats may not be a float
    scale = high / 2 - low / 2
    height = {peak: round(top * ((peak / 2 - low / 2) / scale)) if scale > 0 else top // 2 for peak in known}
    return "".join(" " if peak is None else _BLOCKS[height[peak]] for peak in peaks)


def _urgency(alert: AlertStatus) -> int:
    return {"firing": 0, "pending": 1}.get(alert.state, 2)


def _alerts(alerts: Sequence[AlertStatus], watermark: int | None, width: int) -> Table:
    narrow = width < 76
    table = grid("  Rule", *([] if narrow else ["Metric"]), ">Now", "Fires", "State")
    for alert in alerts:
        mark, style = (FIRED, BAD) if alert.state == "firing" else ("·", STRONG if alert.state == "pending" else "")
        state = plain(alert.state)
        if alert.since is not None and watermark is not None and alert.state != "quiet":
            state += f" for {span((watermark - alert.since) / 1e6)}"
            if width >= 100:
                state += f", since {moment(alert.since, year=False)}"
        table.add_row(
            f"{mark} {plain(alert.rule)}",
            *([] if narrow else [f"{plain(alert.metric)} {plain(alert.window)}"]),
            figure(alert.value),
            f"{'above' if alert.above else 'below'} {figure(alert.bound)}",
            state,
            style=style,
        )
    return table
