"""Rules on the clock of the wall: no message, or no checkpoint, for too long.

They can't be replayed, so nothing of them is in a checkpoint's state: what fires is read from the stored alerts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from monitors.rules import FIRING, Rule, Rules, Standing
from storage.alerts import Alert
from stream.records import MICROSECONDS, AlertChange

INTERVAL_US = MICROSECONDS


class Liveness:
    """Evaluates these rules once a second; their alerts begin and end in wall-clock time.

    Parameters
    ----------
    rules
        With a metric of ``LIVENESS_METRICS``.
    before
        Alerts of earlier runs: those that still fire go on.
    now_us
        The wall clock in microseconds.
    silent_s, checkpoint_age_s
        Seconds since the last message, and since the last checkpoint or the start.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        *,
        before: Sequence[Alert],
        now_us: Callable[[], int],
        silent_s: Callable[[], float],
        checkpoint_age_s: Callable[[], float],
    ) -> None:
        self.rules = Rules(rules)
        self._now_us = now_us
        self._values = {"silent_s": silent_s, "checkpoint_age_s": checkpoint_age_s}
        self._next_us = now_us()
        for alert in before:
            if alert.state == "firing" and alert.rule in self.rules.standings:
                value = None if math.isnan(alert.value) else alert.value
                self.rules.standings[alert.rule] = Standing(FIRING, alert.started_at, value)

    def poll(self) -> list[AlertChange]:
        """Return what began to fire or was resolved, if a second has passed."""
        now_us = self._now_us()
        if now_us < self._next_us:
            return []
        self._next_us = now_us + INTERVAL_US
        return self.rules.evaluate(now_us, lambda rule: self._values[rule.metric]())
