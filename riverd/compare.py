"""``riverd replay --compare``: two configs on one stretch of history, and whether the difference is chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from monitors.bins import Tally
from monitors.metrics import logloss, roc_auc
from monitors.paired import Paired
from riverd.compare_configs import refuse_incomparable
from riverd.compare_rows import Pairs
from riverd.config import Config
from riverd.replay import Scratch, described, run_through
from riverd.replay_history import COMPARED, ReplayHistory
from riverd.service import Show, Stop, open_source
from riverd.time_ranges import Stretch

CERTAIN = 0.05  # a p-value below it is called a difference


def compare(
    config: Config,
    config_path: Path,
    other: Config,
    other_path: Path,
    *,
    stretch: Stretch,
    keep_history: bool = True,
    show: Show | None = None,
) -> dict[str, Any]:
    """Replay both side by side, each with a new model; judge them on the events that both have judged.

    An event is judged by the score served when it came and the label that came first, in time. Each one's history is
    kept in the database that its config names: under "name@replay", the other one's under "name@compare".

    Raises
    ------
    ConfigError
        The two differ in what an event or its outcome is.
    SourceError, StorageError
        What can't be read or written, and what to do about it.
    """
    refuse_incomparable(config, config_path, other, other_path)
    stop = Stop()
    with ExitStack() as opened:
        source = opened.enter_context(closing(open_source(config, config_path, bounded=True)))
        other_source = opened.enter_context(closing(open_source(other, other_path, bounded=True)))
        history = other_history = None
        if keep_history:
            history = opened.enter_context(ReplayHistory(config, config_path))
            other_history = opened.enter_context(ReplayHistory(other, other_path, of=COMPARED))
        opened.enter_context(stop.on_signals())
        first = Scratch(config, source, stretch, history=history)
        second = Scratch(other, other_source, stretch, history=other_history)
        pairs = Pairs(first.engine, second.engine)
        run_through([first, second], stretch, stop, show, after_step=pairs.after_step)
        pairs.finish()
        results = [first.finish().result, second.finish().result]
    names = names_of(config_path, other_path)
    return {
        "configs": names,
        "stretch": described(stretch),
        "complete": not stop.asked,
        "replays": results,
        "comparison": comparison_of(pairs, names),
    }


def names_of(first: Path, second: Path) -> list[str]:
    """What the two configs are called: as short as tells them apart."""
    return [first.name, second.name] if first.name != second.name else [str(first), str(second)]


def comparison_of(pairs: Pairs, names: Sequence[str]) -> dict[str, Any]:
    """The figures of both over the same events, their difference, and what it means."""
    losses = pairs.losses
    paired = losses.paired()
    found: dict[str, Any] = {
        "events": 0 if paired is None else paired.events,
        "judged_by_one_alone": pairs.alone,
        "logloss": [logloss(losses.first), logloss(losses.second)],
        "roc_auc": [_area(losses.first), _area(losses.second)],
    }
    if paired is not None:
        found |= {name: getattr(paired, name) for name in Paired.__slots__}
    return found | {"verdict": in_words(paired, names)}


def _area(tally: Tally) -> float | None:
    found = roc_auc(tally)
    return None if found is None else found[0]


def in_words(paired: Paired | None, names: Sequence[str]) -> str:
    """What the difference means.

    Examples
    --------
    >>> paired = Paired(84_000, 400, 0.0031, 0.0005, 21, 0.0021, 0.0041, 2e-9, 0.0015)
    >>> in_words(paired, ["riverd.toml", "other.toml"])
    'other.toml is better by 0.0031 nats per event (95 % interval 0.0021 to 0.0041, p = 2e-9)'
    >>> paired = Paired(84_000, 400, 0.0003, 0.0007, 21, -0.0012, 0.0018, 0.67, 0.002)
    >>> in_words(paired, ["riverd.toml", "other.toml"])
    'no difference that 84,000 events can show (p = 0.67); one of 0.0020 nats per event would be found 4 times in 5'
    """
    if paired is None:
        return "nothing to compare: no event was judged by both"
    if paired.low is None or paired.high is None or paired.p_value is None or paired.detectable is None:
        return f"too little to tell a difference from chance: {_events(paired)}, at {paired.blocks} times"
    if not paired.difference and not paired.standard_error:
        return f"no difference at all: both lost the same on {_events(paired)}"
    digits = _digits(paired.detectable)
    if paired.p_value >= CERTAIN:
        return (
            f"no difference that {_events(paired)} can show (p = {paired.p_value:.2g}); one of "
            f"{paired.detectable:.{digits}f} nats per event would be found 4 times in 5"
        )
    better, sign = (names[1], 1) if paired.difference > 0 else (names[0], -1)
    low, high = sorted([sign * paired.low, sign * paired.high])
    return (
        f"{better} is better by {abs(paired.difference):.{digits}f} nats per event "
        f"(95 % interval {low:.{digits}f} to {high:.{digits}f}, {_chance(paired.p_value)})"
    )


def _events(paired: Paired) -> str:
    return "1 event" if paired.events == 1 else f"{paired.events:,} events"


def _digits(size: float) -> int:
    """Decimals that show two digits of it."""
    return min(max(1 - math.floor(math.log10(size)), 0), 12) if size > 0 else 6


def _chance(p_value: float) -> str:
    if p_value < 1e-100:
        return "p < 1e-100"
    if p_value >= 1e-3:
        return f"p = {p_value:.2g}"
    digit, power = f"{p_value:.0e}".split("e")
    return f"p = {digit}e{int(power)}"
