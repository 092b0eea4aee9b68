"""Runs a stretch of history with a new model, at full speed: what it would have learned, served and alerted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

from riverd.assembly import assemble
from riverd.config import Config
from riverd.delivery.receivers import log_alert
from riverd.engine import Engine, Unsaved, watermark_of
from riverd.publishing import Publisher
from riverd.replay_history import ReplayHistory
from riverd.replay_progress import Progress
from riverd.result import result_of
from riverd.screen.progress import progress_line
from riverd.service import DRAW_S, Run, Show, Stop, calm_garbage_collection, open_source, wall_clock_us
from riverd.status import Status
from riverd.time_ranges import Stretch, format_range, limit
from stream.merge import BEGINNING
from stream.source import Source
from stream.timestamps import to_text

log = logging.getLogger("riverd")

LOG_S = 10.0
EVERYTHING = Stretch()


class Scratch:
    """An engine that begins from nothing and leaves nothing behind but a history, if it is given one.

    Parameters
    ----------
    config
        Of the model, which starts anew.
    source
        With fixed ends; closed by whoever opened it.
    stretch
        The part of history that is replayed.
    history
        Takes metrics and alerts; None forgets them.
    """

    def __init__(self, config: Config, source: Source, stretch: Stretch, *, history: ReplayHistory | None) -> None:
        self.engine = Engine(config, assemble(config, now_us=wall_clock_us), source, bounded=True)
        limit(self.engine.parts.merger, config, stretch)
        self._publisher = Publisher(self.engine)
        self._history = history

    @property
    def watermark(self) -> int:
        """Event time up to which everything has had its effect."""
        reached = watermark_of(self.engine.parts)
        return BEGINNING if reached is None else reached

    def step(self) -> None:
        """Take what the source has, and keep what it led to."""
        self.engine.step()
        for change in self._publisher.observe():
            log_alert(change)  # nothing is delivered
        unsaved, self.engine.unsaved = self.engine.unsaved, Unsaved()
        if self._history is not None:
            self._history.add(unsaved.history, unsaved.alerts)

    def status(self, phase: str, *, done: float | None) -> Status:
        """How it stands, with this share of the work done."""
        return changed(self._publisher.status(phase), progress=done)

    def finish(self) -> Run:
        """What it came to."""
        status = self._publisher.status("done")
        result = result_of(self.engine, status)
        return Run(status, result if self._history is None else result | {"history": self._history.finish()})


def replay(
    config: Config,
    config_path: Path,
    *,
    stretch: Stretch = EVERYTHING,
    keep_history: bool = False,
    show: Show | None = None,
) -> Run:
    """Run over a stretch of history with a new model.

    Of it nothing is stored, unless ``keep_history``: then the history of metrics and the alerts take the place of
    those of the last replay, under a name of their own. A model that runs meanwhile is not disturbed.

    Raises
    ------
    ConfigError, SourceError, StorageError
        What can't be read or written, and what to do about it.
    """
    stop = Stop()
    with (
        closing(open_source(config, config_path, bounded=True)) as source,
        ReplayHistory(config, config_path) if keep_history else nullcontext(None) as history,
        stop.on_signals(),
    ):
        scratch = Scratch(config, source, stretch, history=history)
        run_through([scratch], stretch, stop, show)
        ended = scratch.finish()
    return Run(ended.status, ended.result | {"stretch": described(stretch), "complete": not stop.asked})


def run_through(
    scratches: Sequence[Scratch],
    stretch: Stretch,
    stop: Stop,
    show: Show | None,
    *,
    after_step: Callable[[], None] = lambda: None,
) -> None:
    """Step all of them to the end of the stretch, whichever is behind in event time first, or until told to stop."""
    calm_garbage_collection()
    progress = Progress(to_us=stretch.to_us)
    engines = [scratch.engine for scratch in scratches]
    drawn_s, logged_s = 0.0, time.monotonic()
    if show is not None:
        show(scratches[0].status("compiling", done=None))
    running = list(scratches)
    progress.done(engines)
    while running and not stop.asked:
        behind = min(running, key=lambda scratch: scratch.watermark)
        behind.step()
        after_step()
        if behind.engine.finished:
            running.remove(behind)
        now_s = time.monotonic()
        if show is not None and now_s - drawn_s >= DRAW_S:
            drawn_s = now_s
            done = progress.done(engines)
            show(scratches[0].status("reading", done=done.share))
        elif show is None and now_s - logged_s >= LOG_S:
            logged_s = now_s
            done = progress.done(engines)
            status = scratches[0].status("reading", done=done.share)
            log.info(progress_line(status, done=done.share, left_s=done.left_s))


def described(stretch: Stretch) -> dict[str, Any]:
    """The stretch as results tell it."""
    return {
        "from": None if stretch.from_us is None else to_text(stretch.from_us),
        "to": None if stretch.to_us is None else to_text(stretch.to_us),
        "excluded": [format_range(excluded) for excluded in stretch.excluded],
    }
