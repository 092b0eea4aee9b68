"""Show a running engine: frames on a terminal, log lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from riverd.screen.frame import describe, render
from riverd.screen.notation import count, figure, moment, plain, share
from riverd.screen.summary import summary
from riverd.status import AlertEvent, Status

__all__ = ["LiveScreen", "log_line", "render", "screen", "summary"]

FRAME_S = 1 / 8
LOG_LINE_S = 5.0


class LiveScreen:
    """Show what an engine says of itself while it runs.

    The thread that calls ``update`` draws, at most eight times a second; no other thread is started. On a
    terminal the frame is wiped at the end, to make room for the summary. Elsewhere there is one line every
    five seconds, and one for each alert that fires or is resolved.

    Parameters
    ----------
    console
        Where to draw: standard output, unless given.
    clock
        Monotonic seconds.
    """

    def __init__(self, console: Console | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console or Console()
        self._clock = clock
        self._due_s = float("-inf")
        self._logged: Sequence[AlertEvent] = ()
        drawn = self._console.is_terminal and not self._console.is_dumb_terminal
        self._live = Live(console=self._console, auto_refresh=False, transient=True) if drawn else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def update(self, status: Status) -> None:
        """Show the status, unless the last frame or line is too young for another; no alert is left out of the log."""
        now_s = self._clock()
        due = now_s >= self._due_s
        if self._live:
            if due:
                self._due_s = now_s + FRAME_S
                size = self._console.size
                frame = render(status, width=size.width, height=size.height - 1)  # a row for the cursor
                self._live.update(frame, refresh=True)
            return
        for event in status.events:
            if event not in self._logged:
                self._log(describe(event))
        self._logged = tuple(status.events)
        if due:
            self._due_s = now_s + LOG_LINE_S
            self._log(log_line(status))

    def say(self, words: Text) -> None:
        """Show this in place of a status."""
        if self._live:
            self._live.update(words, refresh=True)

    def _log(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def screen() -> Iterator[Callable[[Status], None]]:
    """A live screen on standard output, as the function that shows a status."""
    with LiveScreen() as live:
        yield live.update


def log_line(status: Status) -> str:
    """The status in one line."""
    line = f"{plain(status.phase)}: {count(status.counts.get('events', 0))} events"
    if status.watermark is not None:
        line += f" until {moment(status.watermark)} UTC"
    line += f", {count(status.events_per_second)} a second"
    if status.progress is not None:
        line += f", {share(status.progress)} read"
    if status.windows:
        window = status.windows[0]
        line += f"; {plain(window.window)}: logloss {figure(window.logloss)}, AUC {figure(window.roc_auc, 3)}"
        line += f", labelled {share(window.coverage)}"
    return line
