"""How far a replay has come, and how long the rest will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from riverd.engine import Engine
from stream.merge import BEGINNING

RECENT_S = 30.0  # the time left is told by the pace of so long: the first seconds go into compiling
FEWEST_S = 2.0


@dataclass(frozen=True, slots=True)
class Done:
    """How it stands now."""

    share: float | None  # of the work; None where the source can't tell
    left_s: float | None


class Progress:
    """Reads how far engines have come that replay the same stretch, one beside the other.

    The work is the bytes or offsets of the source. A stretch that ends before them ends earlier, at the same pace
    of event time by byte as so far.

    Parameters
    ----------
    to_us
        Where the stretch ends, or None.
    monotonic_s
        Seconds of a clock that never goes back.

    Examples
    --------
    >>> clock = iter(range(100))
    >>> progress = Progress(to_us=None, monotonic_s=lambda: next(clock))
    >>> progress.done_of([0.0]).left_s is None, progress.done_of([0.1]).left_s, progress.done_of([0.2])
    (True, None, Done(share=0.2, left_s=8.0))
    """

    def __init__(self, *, to_us: int | None, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._to_us = to_us
        self._monotonic_s = monotonic_s
        self._began_us: int | None = None
        self._marks: deque[tuple[float, float]] = deque()  # (seconds, share)

    def done(self, engines: Sequence[Engine]) -> Done:
        """How it stands between two steps."""
        return self.done_of([self._share(engine) for engine in engines])

    def done_of(self, shares: Sequence[float | None]) -> Done:
        """The same of shares that are known already."""
        known = [min(share, 1.0) for share in shares if share is not None]
        if len(known) < len(shares) or not known:
            return Done(None, None)
        now_s, share = self._monotonic_s(), sum(known) / len(known)
        marks = self._marks
        marks.append((now_s, share))
        while len(marks) > 2 and marks[1][0] <= now_s - RECENT_S:
            marks.popleft()
        then_s, then = marks[0]
        gained, took_s = share - then, now_s - then_s
        return Done(share, took_s * (1.0 - share) / gained if gained > 0 and took_s >= FEWEST_S else None)

    def _share(self, engine: Engine) -> float | None:
        """Of the messages, or of the time until the stretch ends, whichever is farther."""
        read = engine.source.progress()
        lanes = engine.parts.merger.lanes.values()
        reached = [lane.last_order for lane in lanes if not (lane.closed or engine.source.at_end(lane.partition))]
        if self._to_us is None or read is None:
            return read
        if not reached:
            return 1.0 if lanes else read
        at_us = min(reached)
        if at_us == BEGINNING:
            return read
        if self._began_us is None:
            self._began_us = at_us
        return max(read, (at_us - self._began_us) / max(self._to_us - self._began_us, 1))
