"""What fires under the name of a rule that was taken out of the config is closed, and whoever heard of it is told."""

import pytest

from riverd.delivery.alertmanager import change_of, notice_of
from riverd.removed_rules import close_alerts_of_removed_rules
from storage.checkpoint import Checkpoint
from storage.outbox import mark_delivered, read_due
from storage.store import Store
from stream.records import AlertChange
from tests.riverd.streams import ALERTS, config

FIRED, NOW_US = 1_357_000_000_000_000, 1_800_000_000_000_000
WATERMARK = FIRED + 60_000_000
DELIVERY = {"webhook": "http://hook.example", "alertmanager": "http://am.example"}


def fired(rule, state="firing", started_at=FIRED):
    return AlertChange(rule, state, started_at, started_at, "logloss", "2h", 0.9, 0.7, "critical")


@pytest.fixture
def store():
    made = Store.open("sqlite://", "shops", now=lambda: NOW_US)
    made.acquire()
    made.load()
    yield made
    made.close()


def commit(store, told):
    """Alerts that fire, each with the channels that are told of it."""
    notices = [notice_of(change, channel) for change, channels in told for channel in channels]
    store.commit(Checkpoint(b"", alerts=[change for change, _ in told], notices=notices))


def waiting(store, channel):
    with store.writing() as connection:
        return read_due(connection, "shops", channel, at=NOW_US, limit=100)


def deliver(store, channel):
    with store.writing() as connection:
        for pending in read_due(connection, "shops", channel, at=NOW_US, limit=100):
            mark_delivered(connection, pending.number, at=NOW_US)


def close(store, watermark=WATERMARK):
    """Start with a config that still has the rule "loss" and no other."""
    kept = config(alerts=ALERTS[:1], delivery=DELIVERY)
    close_alerts_of_removed_rules(store, kept, firing=["calibration-drift shop=c"], watermark=watermark, now_us=NOW_US)


def states(store):
    return {alert.rule: (alert.state, alert.resolved_at) for alert in store.alerts()}


def test_it_is_resolved_and_those_who_heard_of_it_are_told(store, caplog):
    caplog.set_level("WARNING", "riverd")
    kept = [(fired("loss"), ["log", "webhook"]), (fired("labels-stalled"), ["log", "webhook"])]
    commit(store, [*kept, (fired("old"), ["webhook", "alertmanager"])])
    for channel in ("log", "webhook"):
        deliver(store, channel)  # Alertmanager has not heard of it yet
    close(store)
    assert states(store) == {
        "loss": ("firing", None), "labels-stalled": ("firing", None), "old": ("resolved", WATERMARK)
    }  # fmt: skip
    (told,) = waiting(store, "webhook")
    assert change_of(told.notice) == AlertChange(
        "old", "resolved", FIRED, WATERMARK, "logloss", "2h", 0.9, 0.7, "critical"
    )
    assert waiting(store, "log") == []  # it was never told
    assert [pending.notice.state for pending in waiting(store, "alertmanager")] == ["firing"]
    deliver(store, "alertmanager")
    assert [pending.notice.state for pending in waiting(store, "alertmanager")] == ["resolved"]
    assert "alert old is closed: it fired since 2013-01-01T00:26:40Z, but the config has no rule of that" in caplog.text


def test_once_is_enough(store, caplog):
    caplog.set_level("WARNING", "riverd")
    commit(store, [(fired("old"), ["webhook"])])
    close(store)
    caplog.clear()
    close(store, WATERMARK + 1)
    assert states(store) == {"old": ("resolved", WATERMARK)}
    assert caplog.text == ""


def test_slices_that_are_no_longer_watched_are_closed_and_others_go_on(store):
    commit(store, [(fired("calibration-drift shop=c"), []), (fired("calibration-drift user=7"), [])])
    close(store)
    assert states(store) == {
        "calibration-drift shop=c": ("firing", None), "calibration-drift user=7": ("resolved", WATERMARK)
    }  # fmt: skip


@pytest.mark.parametrize("watermark", [None, FIRED - 1])
def test_it_never_ends_before_it_began(store, watermark):
    commit(store, [(fired("silent"), [])])  # on the clock of the wall, or before any event
    close(store, watermark)
    assert states(store) == {"silent": ("resolved", FIRED)}


def test_a_receiver_that_was_removed_too_gets_no_message_that_would_wait_for_ever(store):
    commit(store, [(fired("old"), ["webhook"])])
    deliver(store, "webhook")
    close_alerts_of_removed_rules(store, config(), firing=(), watermark=WATERMARK, now_us=NOW_US)
    assert states(store) == {"old": ("resolved", WATERMARK)}
    assert waiting(store, "webhook") == []
