"""What is said of the measured cells: tables for a terminal and for the docs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from rich.table import Table

from benchmarks.delays import DELAYS, REAL
from benchmarks.learner_peers import BASE_RATE, PEERS

OURS = "riverd"
GOALS = {"0": 0.99, "50": 1.00, "500": 1.01, "5000": 1.06, "lognormal": 1.00, REAL: 0.99}
LONG_ROWS = 20_000  # the speed of less is mostly chance


@dataclass(frozen=True, slots=True)
class Cell:
    """One model on one stream with one delay."""

    stream: str
    delay: str
    model: str
    rows: int | None  # of the stream were asked for; None: all
    digest: str  # of the code
    events: int
    labels: int
    logloss: float
    auc: float
    ece: float
    events_per_s: float
    experts: list[float]  # log loss of each


@dataclass(frozen=True, slots=True)
class Grid:
    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def overview(cells: Sequence[Cell], *, title: str) -> Grid:
    """A line per stream and delay: our model, the best of its experts in hindsight, and the best peer in hindsight."""
    header = (
        "stream", "delay", "labels", "base rate", "best expert", "riverd", "/ expert", "AUC", "ECE", "events/s",
        "best peer", "logloss", "riverd / peer", "AUC", "ECE",
    )  # fmt: skip
    rows = []
    for (stream, delay), models in _lines(cells).items():
        ours, prior, peer = models.get(OURS), models.get(BASE_RATE), _best_peer(models)
        any_cell = next(iter(models.values()))
        row = [stream, delay, f"{any_cell.labels:,}", _loss(prior)]
        if ours is None:
            row += [""] * 6
        else:
            expert = min(ours.experts, default=math.nan)
            row += [
                f"{expert:.4f}", f"{ours.logloss:.4f}", f"{ours.logloss / expert:.3f}", f"{ours.auc:.4f}",
                f"{ours.ece:.4f}", f"{ours.events_per_s:,.0f}",
            ]  # fmt: skip
        if peer is None:
            row += [""] * 5
        else:
            ratio = f"{ours.logloss / peer.logloss:.3f}" if ours else ""
            row += [peer.model, f"{peer.logloss:.4f}", ratio, f"{peer.auc:.4f}", f"{peer.ece:.4f}"]
        rows.append(tuple(row))
    return Grid(title, header, rows)


def goals(cells: Sequence[Cell], *, title: str) -> Grid:
    """Geometric means over the streams, by delay."""
    header = (
        "delay",
        "streams",
        "riverd / best expert",
        "goal",
        "riverd / best peer",
        "beats it on",
        "riverd / base rate",
    )
    rows = []
    for delay in (*DELAYS, REAL):
        lines = [m for (_, d), m in _lines(cells).items() if d == delay and OURS in m and m[OURS].experts]
        if not lines:
            continue
        peers = [(m[OURS].logloss, peer.logloss) for m in lines if (peer := _best_peer(m))]
        rows.append(
            (
                delay,
                str(len(lines)),
                f"{_geometric(m[OURS].logloss / min(m[OURS].experts) for m in lines):.3f}",
                f"{GOALS[delay]:.2f}",
                f"{_geometric(ours / peer for ours, peer in peers):.3f}",
                f"{sum(ours < peer for ours, peer in peers)} of {len(peers)}",
                f"{_geometric(m[OURS].logloss / m[BASE_RATE].logloss for m in lines if BASE_RATE in m):.3f}",
            )
        )
    return Grid(f"{title}: geometric means of log loss", header, rows)


def by_model(cells: Sequence[Cell], *, title: str) -> Grid:
    """Each model's log loss as a multiple of ours, geometric mean over the streams; AUC, ECE; events per second."""
    lines = _lines(cells)
    delays = [delay for delay in (*DELAYS, REAL) if any(d == delay for _, d in lines)]
    header = ("model", *(f"delay {delay}" for delay in delays), "mean AUC", "mean ECE", "events/s")
    rows = []
    for model in dict.fromkeys(cell.model for cell in cells):
        own = [m[model] for m in lines.values() if model in m]
        both = [(line, m) for line, m in lines.items() if {model, OURS} <= m.keys()]
        ratios = [
            _geometric(m[model].logloss / m[OURS].logloss for (_, d), m in both if d == delay) for delay in delays
        ]
        aucs = [cell.auc for cell in own if not math.isnan(cell.auc)]
        eces = [cell.ece for cell in own if not math.isnan(cell.ece)]
        speeds = [cell.events_per_s for cell in own if cell.events >= LONG_ROWS]
        rows.append(
            (
                model,
                *(f"{ratio:.3f}" for ratio in ratios),
                f"{sum(aucs) / len(aucs):.4f}" if aucs else "",
                f"{sum(eces) / len(eces):.4f}" if eces else "",
                f"{median(speeds):,.0f}" if speeds else "",
            )
        )
    return Grid(f"{title}: log loss by model, riverd = 1", header, rows)


def matrices(cells: Sequence[Cell], *, title: str) -> list[Grid]:
    """Every figure: a line per stream and delay, a column per model."""
    kinds: list[tuple[str, Callable[[Cell], str]]] = [
        ("log loss", lambda cell: f"{cell.logloss:.4f}"),
        ("ROC AUC", lambda cell: f"{cell.auc:.4f}"),
        ("ECE", lambda cell: f"{cell.ece:.4f}"),
        ("events/s", lambda cell: f"{cell.events_per_s:,.0f}"),
    ]
    models = tuple(dict.fromkeys(cell.model for cell in cells))
    lines = _lines(cells)
    return [
        Grid(
            f"{title}: {kind}",
            ("stream", "delay", *models),
            [(*line, *(said(m[name]) if name in m else "" for name in models)) for line, m in lines.items()],
        )
        for kind, said in kinds
    ]


def worse_than_base_rate(cells: Sequence[Cell]) -> str:
    worse = [
        f"{stream} at {delay} ({m[OURS].logloss / m[BASE_RATE].logloss:.2f})"
        for (stream, delay), m in _lines(cells).items()
        if {OURS, BASE_RATE} <= m.keys() and m[OURS].logloss > m[BASE_RATE].logloss
    ]
    return f"riverd is worse than the running base rate on: {', '.join(worse) or 'none'}"


def shown(grid: Grid) -> Table:
    table = Table(title=grid.title, title_justify="left")
    for i, name in enumerate(grid.header):
        table.add_column(
            name, justify="left" if i == 0 or name == "best peer" else "right", no_wrap=i == 0 or name == "best peer"
        )
    for row in grid.rows:
        table.add_row(*row)
    return table


def markdown(grid: Grid) -> str:
    lines = [grid.header, ("---", *("---:" for _ in grid.header[1:])), *grid.rows]
    return f"### {grid.title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _lines(cells: Iterable[Cell]) -> dict[tuple[str, str], dict[str, Cell]]:
    """By stream and delay, then by model."""
    lines: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in cells:
        lines.setdefault((cell.stream, cell.delay), {})[cell.model] = cell
    return lines


def _best_peer(models: dict[str, Cell]) -> Cell | None:
    return min((models[name] for name in PEERS if name in models), key=lambda cell: cell.logloss, default=None)


def _geometric(ratios: Iterable[float]) -> float:
    logs = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def _loss(cell: Cell | None) -> str:
    return f"{cell.logloss:.4f}" if cell else ""
