"""Named places at which a test may kill the process, as the kernel would: with SIGKILL, at once.

``RIVERD_FAILPOINT=checkpoint.blocks:3`` kills it when it comes to ``checkpoint.blocks`` for the third time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from storage.checkpoint import FAIL_POINTS as CHECKPOINT_POINTS

VARIABLE = "RIVERD_FAILPOINT"
ENGINE_POINTS = (
    "engine.polled",
    "engine.decoded",
    "engine.merged",
    "engine.joined",
    "engine.learned",
    "engine.judged",
    "engine.ticked",
    "engine.stepped",
    "engine.captured",
)
DELIVERY_POINTS = ("delivery.sent",)
TOPIC_POINTS = ("topics.sent",)  # reached where something goes to a topic
FAIL_POINTS = (*ENGINE_POINTS, *CHECKPOINT_POINTS, *DELIVERY_POINTS)


def fail_points(setting: str | None) -> Callable[[str], None]:
    """What to tell of each place that is reached; it does nothing unless ``setting`` names one.

    Raises
    ------
    ValueError
        A place that does not exist, so that no test waits for it in vain.
    """
    if not setting:
        return lambda _: None
    name, _, count = setting.partition(":")
    if name not in (*FAIL_POINTS, *TOPIC_POINTS):
        raise ValueError(f"{VARIABLE}={setting}: no such place; known are {', '.join(FAIL_POINTS)}")
    left = int(count or 1)

    def reached(place: str) -> None:
        nonlocal left
        if place == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return reached
