"""How long labels take, and the windows over which a stream of this rate can be judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitors.grid import PANES_AT_MOST, panes_needed
from riverd.config_sections import SHORTEST_TICK_US, TICKS_PER_WINDOW
from riverd.durations import UNITS_US, format_duration
from riverd.screen.notation import span
from stream.records import MICROSECONDS

MINUTE, HOUR, DAY = UNITS_US["m"], UNITS_US["h"], UNITS_US["d"]
ROUND_US = (
    *(n * MINUTE for n in (1, 2, 5, 10, 15, 30)),
    *(n * HOUR for n in (1, 2, 3, 6, 12)),
    *(n * DAY for n in (1, 2, 3, 7, 14, 30, 60, 90, 180, 365)),
)
WINDOW_QUANTILE = 0.999  # of the delays lie within the join window
EARLY_AT_LEAST_US = MINUTE
LABELLED, OF_A_CLASS = 300, 60  # that a window should hold, so that chance does not move its figures
VERDICTS = 8  # windows that the stream should hold one after another: a first alert must be able to fire
LONGER = 6  # the second window, in lengths of the first


@dataclass(frozen=True, slots=True)
class JoinWindow:
    """The join window and how long before its event a label may come, with the delays they rest on."""

    window_us: int
    early_us: int
    why: str


def guess_join_window(delay_us: NDArray[np.int64]) -> JoinWindow:
    """A round window that almost every label of the sample came within."""
    late = delay_us[delay_us >= 0]
    quantiles = (
        np.quantile(late, (0.5, 0.99, WINDOW_QUANTILE), method="nearest").tolist() if len(late) else [0.0, 0.0, 0.0]
    )
    window_us = round_up(quantiles[-1])
    early = -delay_us[delay_us < 0]
    early_us = (
        round_up(float(np.quantile(early, WINDOW_QUANTILE, method="nearest"))) if len(early) else EARLY_AT_LEAST_US
    )
    shown = ", ".join(
        f"{share} % within {span(us / MICROSECONDS)}" for share, us in zip(("50", "99", "99.9"), quantiles, strict=True)
    )
    return JoinWindow(
        window_us, max(early_us, EARLY_AT_LEAST_US), f"{len(delay_us):,} labels found their event: {shown}"
    )


def class_gap(delay_us: NDArray[np.int64], positive: NDArray[np.bool_]) -> float:
    """How much later positives come than negatives, by the medians, as a share of the median delay.

    >>> class_gap(np.array([10, 10, 30, 30]), np.array([False, False, True, True]))
    1.0
    """
    if not positive.any() or positive.all():
        return 0.0
    typical = abs(float(np.median(delay_us)))
    return float(np.median(delay_us[positive]) - np.median(delay_us[~positive])) / typical if typical else 0.0


def round_up(microseconds: float) -> int:
    """The next round duration, at least a minute.

    >>> format_duration(round_up(0)), format_duration(round_up(5.1 * HOUR)), format_duration(round_up(400 * DAY))
    ('1m', '6h', '400d')
    """
    for candidate in ROUND_US:
        if candidate >= microseconds:
            return candidate
    return -int(-microseconds // DAY) * DAY


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows to judge by, the shortest first, and why these."""

    lengths_us: tuple[int, ...]
    why: str

    @property
    def tick_us(self) -> int:
        return max(self.lengths_us[0] // TICKS_PER_WINDOW, SHORTEST_TICK_US)


def guess_windows(*, span_us: int, labelled: int, positive_share: float, join_window_us: int) -> Windows:
    """The shortest round window that holds enough labels, and a longer one to compare with.

    Parameters
    ----------
    span_us
        Event time that the sample covers.
    labelled
        Labels in that time.
    positive_share
        Positives among them.
    join_window_us
        Until then a window is not final, so no rule looks at it.
    """
    per_us = labelled / max(span_us, 1)
    rarer = min(positive_share, 1 - positive_share)
    needed = max(LABELLED, OF_A_CLASS / rarer if rarer > 0 else LABELLED)
    fitting = [us for us in ROUND_US if us >= 5 * MINUTE and _fits((us,), join_window_us)]
    shortest = next((us for us in fitting if us * per_us >= needed), fitting[-1])
    most = max((us for us in fitting if us * VERDICTS <= span_us - join_window_us), default=fitting[0])
    if most >= DAY:
        shortest = max(shortest, DAY)  # over whole days the time of day cancels out
    held_back = shortest > most
    shortest = min(shortest, most)
    longer = next((us for us in ROUND_US if us >= LONGER * shortest and _fits((shortest, us), join_window_us)), None)
    lengths = (shortest,) if longer is None else (shortest, longer)
    rarer_held = shortest * per_us * rarer
    why = (
        f"{format_duration(shortest)} holds some {shortest * per_us:,.0f} labels, {rarer_held:,.0f} of the rarer class"
    )
    if held_back:
        why += "; few, but the sample is short"
    return Windows(lengths, why)


def _fits(windows_us: Sequence[int], join_window_us: int) -> bool:
    tick_us = max(windows_us[0] // TICKS_PER_WINDOW, SHORTEST_TICK_US)
    panes = panes_needed(pane_us=tick_us, windows_us=windows_us, join_window_us=join_window_us)
    return panes <= PANES_AT_MOST and all(window % tick_us == 0 for window in windows_us)
