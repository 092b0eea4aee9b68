"""What a running riverd can be told: by HTTP, from the command line."""

from __future__ import annotations

import logging

from riverd.engine import Engine
from riverd.web.document import Command
from stream.timestamps import to_text

log = logging.getLogger("riverd")


def obey(engine: Engine, command: Command) -> None:
    """Carry a command out between two steps; it takes effect from the next record on, and outlives restarts."""
    match command.what:
        case "pause":
            engine.pause_learning("a command")
        case "resume":
            engine.resume_learning()
        case "thaw":
            _thaw(engine)


def _thaw(engine: Engine) -> None:
    since_us = engine.parts.joiner.stalled_since
    if since_us is None:
        log.info("nothing was frozen: predictions expire as usual")
        return
    engine.parts.joiner.thaw()
    engine.unsaved.learning = True  # stored within a second, as a pause is
    log.warning(
        "labels thawed by a command: predictions that have waited since %s of event time expire as negatives, until "
        "labels flow again, at most for one window",
        to_text(since_us),
    )
