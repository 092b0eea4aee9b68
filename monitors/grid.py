"""How event time is cut into panes, and which of them make a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from stream.records import MICROSECONDS

PANES_AT_MOST = 4096  # 64 MiB
SPARE_PANES = 4  # ops may run ahead of the watermark, up to the next tick
NEVER = -(2**62)  # a pane or a time before all others

End = Literal["final", "provisional"]


def panes_needed(*, pane_us: int, windows_us: Sequence[int], join_window_us: int) -> int:
    """Length of the ring: the longest window, the join window, and the panes still open."""
    # the pane in which the watermark stands, and one that the join window may cut
    return max(windows_us, default=pane_us) // pane_us + -(-join_window_us // pane_us) + 2 + SPARE_PANES


class Reach(NamedTuple):
    """The panes ``first`` to ``last`` of a window, of which those up to ``reached`` may be read."""

    first: int
    last: int
    reached: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PaneGrid:
    """The panes of event time, counted from the epoch, and the windows over them.

    Pane k holds the events from k * ``pane_us`` up to (k + 1) * ``pane_us``. It is final, and never changes again,
    once the watermark has passed its end by the join window; until then it is provisional.

    Parameters
    ----------
    pane_us
        Length of a pane.
    windows_us
        Lengths of the windows to be asked for, each a multiple of ``pane_us``.
    join_window_us
        How long after its event time a label may come.
    stall_us
        How far finality may lag behind that, when labels are waited for beyond their window.

    Raises
    ------
    ValueError
        If a window is no multiple of the pane, or more than 4,096 panes would have to be kept.

    Examples
    --------
    >>> hour_us = 3_600_000_000
    >>> grid = PaneGrid(pane_us=hour_us, windows_us=(24 * hour_us,), join_window_us=2 * hour_us)
    >>> grid.length
    32
    >>> grid.window("final", 24 * hour_us, now_us=100 * hour_us, watermark_us=100 * hour_us)
    Reach(first=74, last=97, reached=97)
    """

    pane_us: int
    windows_us: tuple[int, ...]
    join_window_us: int
    stall_us: int = 0

    def __post_init__(self) -> None:
        pane_us, join_window_us = self.pane_us, self.join_window_us
        if pane_us <= 0 or join_window_us < 0:
            raise ValueError(f"a pane of {pane_us} us and a join window of {join_window_us} us: need > 0 and >= 0")
        for window_us in self.windows_us:
            if window_us <= 0 or window_us % pane_us:
                raise ValueError(f"the window of {window_us} us is no multiple of the pane of {pane_us} us")
        if self.length > PANES_AT_MOST:
            raise ValueError(
                f"a window of {_seconds(max(self.windows_us, default=pane_us))} and a join window of "
                f"{_seconds(join_window_us)} in panes of {_seconds(pane_us)} make {self.length:,} panes, "
                f"more than {PANES_AT_MOST:,}.\n"
                "  Make the shortest window longer (it sets the pane), or the longest window shorter."
            )

    @property
    def length(self) -> int:
        """Panes to be kept; while labels have stalled, finality stands still and they reach further back."""
        return panes_needed(
            pane_us=self.pane_us, windows_us=self.windows_us, join_window_us=self.join_window_us + self.stall_us
        )

    @property
    def longest_us(self) -> int:
        return max(self.windows_us, default=self.pane_us)

    def final_before(self, watermark_us: int) -> int:
        """The first pane that is not final; ``watermark_us`` may be ``NEVER``."""
        return NEVER if watermark_us == NEVER else (watermark_us - self.join_window_us) // self.pane_us

    def window(self, end: End, window_us: int, *, now_us: int, watermark_us: int) -> Reach:
        """The panes of one window.

        ``"final"`` is the latest whole window of final panes: it ends a join window ago. Panes that the watermark
        has not made final are not, whatever ``now_us`` says. ``"provisional"`` ends with the pane that holds the
        microsecond before ``now_us``; labels are still missing.

        Raises
        ------
        ValueError
            If ``window_us`` is none of the windows of the grid.
        """
        self.require(window_us)
        last = reached = (now_us - 1) // self.pane_us
        if end == "final":
            last = self.final_end(now_us=now_us, watermark_us=watermark_us) // self.pane_us - 1
            reached = min(last, self.final_before(watermark_us) - 1)
        return Reach(last - window_us // self.pane_us + 1, last, reached)

    def final_end(self, *, now_us: int, watermark_us: int) -> int:
        """Event time up to which panes are final at ``now_us``."""
        known_us = now_us if watermark_us == NEVER else min(now_us, watermark_us)
        return (known_us - self.join_window_us) // self.pane_us * self.pane_us

    def require(self, window_us: int) -> None:
        if window_us not in self.windows_us:
            raise ValueError(f"no window of {window_us} us, only {self.windows_us}")


def _seconds(duration_us: int) -> str:
    return f"{duration_us / MICROSECONDS:,.0f} s"
