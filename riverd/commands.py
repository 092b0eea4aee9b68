"""What a running riverd can be told: by HTTP, from the command line."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor

from riverd.engine import Engine
from riverd.web.document import Answer, Command
from storage.errors import StorageError
from storage.store import Store
from stream.timestamps import to_text

log = logging.getLogger("riverd")


class Asking:
    """Stores requests in a thread of its own: the database may keep it waiting, and the engine waits for nobody."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="riverd-asking")

    def ask(self, command: Command) -> Future[Answer]:
        """Have it stored as a request, which is carried out as those of the command line are; return at once."""
        return self._thread.submit(self._ask, command)

    def close(self) -> None:
        """Wait for the one that is being stored; the others are not."""
        self._thread.shutdown(cancel_futures=True)

    def _ask(self, command: Command) -> Answer:
        try:
            request, is_new = self._store.ask(command.what, command.arguments, keys=command.keys)
        except StorageError as error:
            return Answer(command.number, fault=str(error))
        except Exception:
            log.exception("a request can't be stored")
            return Answer(command.number, fault="a fault of riverd's; its log has the details")
        return Answer(command.number, request, is_new)


def obey(engine: Engine, asking: Asking, command: Command) -> Future[Answer] | None:
    """Carry a command out between two steps; it takes effect from the next record on, and outlives restarts.

    One that has to be stored first is answered when it is.
    """
    match command.what:
        case "pause":
            engine.pause_learning("a command")
        case "resume":
            engine.resume_learning()
        case "thaw":
            _thaw(engine)
        case "retrain":
            return asking.ask(command)
    return None


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
