"""How far a replay has come, in one line."""

from __future__ import annotations

from riverd.screen.notation import count, moment, share, span
from riverd.status import Status


def progress_line(status: Status, *, done: float | None, left_s: float | None) -> str:
    """The events, their pace, the share of the work and the time left; what is not known is left out.

    >>> from riverd.status import Status
    >>> status = Status("late-flights", "reading", 1_360_328_400_000_000, 41.0, 8_210.4, {"events": 336_776}, [])
    >>> progress_line(status, done=0.342, left_s=78.9)
    'replay: 336,776 events until 2013-02-08 13:00 UTC, 8,210 a second, 34.2 % done, 1m 19s left'
    """
    line = f"replay: {count(status.counts.get('events', 0))} events"
    if status.watermark is not None:
        line += f" until {moment(status.watermark)} UTC"
    line += f", {count(status.events_per_second)} a second"
    if done is not None:
        line += f", {share(done)} done"
    if left_s is not None:
        line += f", {span(left_s)} left"
    return line
