"""A standby: it waits until the one that runs the model is gone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger("riverd")

SAID_EVERY_S = 60.0


def standing_by(
    is_stopping: Callable[[], bool],
    *,
    monotonic_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Callable[[float], None]:
    """What to do for so many seconds between two tries for the lease: sleep, and say why, at first and once a minute.

    It raises KeyboardInterrupt when riverd is to stop.
    """
    said_s = float("-inf")

    def wait(seconds: float) -> None:
        nonlocal said_s
        now_s = monotonic_s()
        if now_s - said_s >= SAID_EVERY_S:
            said_s = now_s
            log.info("another riverd runs this model; waiting to take over (Ctrl-C to give up)")
        sleep(seconds)
        if is_stopping():
            raise KeyboardInterrupt

    return wait
