"""A store, a delivery out of it, and clocks that stand still until they are set."""

from __future__ import annotations

from riverd.delivery.alertmanager import notice_of
from riverd.delivery.outbox import Delivery
from riverd.delivery.receivers import receivers_of
from storage.checkpoint import Checkpoint
from storage.store import Store
from stream.records import AlertChange
from tests.riverd.streams import config

DAY_US = 86_400_000_000
WALL_US = 1_800_000_000_000_000  # 2027-01-15T08:00:00Z


def change(rule="loss", state="firing", *, at=20 * DAY_US, started_at=20 * DAY_US, value=0.71234567):
    return AlertChange(rule, state, started_at, at, "logloss", "1d", value, 0.6, "critical")


class World:
    """A store, a delivery to its receivers, and clocks that stand still until they are set."""

    def __init__(self, folder, *, now_s=0.0, begins_us=WALL_US, **delivery):
        self.now_s = now_s
        self.begins_us = begins_us
        self.receivers = receivers_of(config(delivery=delivery), external_url="http://here:1", now_us=self.wall_us)
        self.store = Store.open(f"sqlite:///{folder}/riverd.db", "shops", now=self.wall_us)
        self.store.acquire()
        self.store.load()
        self.delivery = Delivery(
            self.store, self.receivers,
            now_us=self.wall_us, monotonic_s=lambda: self.now_s, jitter=lambda: 1.0,
        )  # fmt: skip

    def wall_us(self):
        return self.begins_us + int(self.now_s * 1e6)

    def commit(self, *changes, channel="webhook"):
        self.store.commit(Checkpoint(b"", notices=[notice_of(each, channel) for each in changes]))

    def status(self, channel="webhook"):
        return next(status for status in self.delivery.statuses if status.channel == channel)
