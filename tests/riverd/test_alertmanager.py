"""Alertmanager forgets: it hears every minute what fires, and for five minutes what is over."""

import logging
from contextlib import closing

import pytest

from riverd.delivery import receivers as receiving
from riverd.delivery.outbox import REFUSALS
from storage.errors import Fenced
from tests.riverd.deliveries import DAY_US, World, change

OVER = {"state": "resolved", "at": 21 * DAY_US}


class Manager:
    """What was sent to /api/v2/alerts: name, begin and end of each alert, by post."""

    def __init__(self, receiver):
        self.receiver = receiver
        self.url = f"{receiver.url}/"

    @property
    def posts(self):
        received = self.receiver.received
        assert {each.path for each in received} <= {"/api/v2/alerts"}
        return [
            [(alert["labels"]["alertname"], alert["startsAt"][11:-1], alert["endsAt"][11:-1]) for alert in each.content]
            for each in received
        ]

    @property
    def names(self):
        return [[name for name, *_ in post] for post in self.posts]


@pytest.fixture
def manager(receiver):
    return Manager(receiver())


@pytest.fixture
def it(world, manager):
    """A delivery to it that has found nothing to do yet."""
    made = world(alertmanager=manager.url)
    made.delivery.round()
    return made


def commit(it, *changes):
    it.commit(*changes, channel="alertmanager")


def round_at(it, now_s):
    it.now_s = now_s
    return it.delivery.round()


def rounds(it, manager):
    """Go on until all its answers are given; return what it waited between."""
    waits = []
    while manager.receiver.codes:
        assert len(waits) < 1000, "it says nothing any more"
        waits.append(it.delivery.round())
        it.now_s += waits[-1]
    return waits


def test_what_fires_is_told_at_once_in_one_message_and_again_every_minute(it, manager):
    commit(it, change(), change("other"))
    assert it.delivery.round() == 60.0
    assert round_at(it, 59.0) == 1.0  # the next is in a minute from the last, whatever happens between
    assert len(manager.posts) == 1
    assert round_at(it, 60.0) == 60.0
    round_at(it, 120.0)
    assert manager.posts == [
        [("loss", "08:00:00", ends), ("other", "08:00:00", ends)] for ends in ("08:05:00", "08:06:00", "08:07:00")
    ]


def test_an_alert_is_its_labels_and_nothing_that_changes_is_among_them(it, manager):
    commit(it, change(value=0.7))
    it.delivery.round()
    it.now_s = 90.0
    commit(it, change(value=0.1, **OVER))
    it.delivery.round()
    first, second = (received.content[0] for received in manager.receiver.received[:2])
    assert first["labels"] == second["labels"] == {"alertname": "loss", "model": "shops", "severity": "critical"}
    assert first["annotations"]["value"] == "0.7"
    assert second["annotations"]["value"] == "0.1"


def test_what_is_over_is_told_again_for_five_minutes(it, manager):
    commit(it, change(), change("other"))
    it.delivery.round()
    it.now_s = 20.0
    commit(it, change(**OVER))
    for now_s in range(20, 500, 20):
        round_at(it, float(now_s))
    assert manager.names == [["loss", "other"], ["loss"], *[["other", "loss"]] * 5, *[["other"]] * 3]
    told = [alert for post in manager.posts[1:] for alert in post if alert[0] == "loss"]
    assert told == [("loss", "08:00:00", "08:00:20")] * 6  # in the past, and always the same


def test_five_minutes_begin_when_it_was_heard(it, manager):
    """However long nobody was there to hear that it is over."""
    commit(it, change())
    it.delivery.round()
    manager.receiver.codes += [503] * 10
    it.now_s = 20.0
    commit(it, change(**OVER))
    rounds(it, manager)
    heard_s = it.now_s
    assert heard_s > 300.0
    it.delivery.round()
    told = len(manager.posts)
    for after_s in range(30, 600, 30):
        round_at(it, heard_s + after_s)
    assert manager.posts[told:] == [[("loss", "08:00:00", "08:00:20")]] * 5


def test_fires_again_it_is_no_longer_said_to_be_over(it, manager):
    commit(it, change())
    it.delivery.round()
    commit(it, change(**OVER))
    it.delivery.round()
    it.now_s = 10.0
    commit(it, change(started_at=22 * DAY_US, at=22 * DAY_US))
    it.delivery.round()
    round_at(it, 60.0)
    assert manager.posts[2:] == [[("loss", "08:00:10", "08:05:10")], [("loss", "08:00:10", "08:06:00")]]


def test_a_restart_tells_at_once(tmp_path, manager):
    """Of what fires, and of what ended less than five minutes before: it may be another that listens now."""
    it = World(tmp_path, alertmanager=manager.url)
    with closing(it.store):
        commit(it, change(), change("other"), change("long over"))
        it.delivery.round()
        commit(it, change("long over", **OVER))
        it.delivery.round()
        it.now_s = 250.0
        commit(it, change(**OVER))
        it.delivery.round()
    told = len(manager.posts)
    it = World(tmp_path, alertmanager=manager.url, now_s=400.0)
    with closing(it.store):
        it.delivery.round()
    assert manager.posts[told:] == [[("other", "08:00:00", "08:11:40"), ("loss", "08:00:00", "08:04:10")]]


def test_out_of_reach_for_long_it_is_tried_every_minute(it, manager):
    """Else it would take what fires for over, although it was gone for less than five minutes."""
    commit(it, change())
    it.delivery.round()
    it.now_s = 60.0
    manager.receiver.codes += [503] * 9
    assert rounds(it, manager) == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_one_that_is_refused_costs_the_others_nothing(it, manager, caplog):
    """Alertmanager answers 400 to all of a message and does not say which it means: each is said by itself then."""
    manager.receiver.codes += [400, 200, 400, 200]
    commit(it, change("a"), change("b"), change("c"))
    assert it.delivery.round() == 1.0
    assert manager.names == [["a", "b", "c"], ["a"], ["b"], ["c"]]
    assert (it.status("alertmanager").delivered, it.status("alertmanager").waiting) == (2, 1)
    assert "refuses firing of b, again in 1 s: HTTP 400 'no, because'" in caplog.text
    round_at(it, 1.0)
    assert manager.names[4:] == [["b"]]
    assert it.status("alertmanager").waiting == 0


def test_what_it_will_not_have_is_given_up_and_said(it, manager, caplog):
    manager.receiver.codes += [422] * REFUSALS
    commit(it, change())
    rounds(it, manager)
    assert 2 * 3600 < it.now_s < 4 * 3600  # time to mend a receiver
    assert caplog.messages[-1].endswith(
        f"has refused firing of loss {REFUSALS} times, and is not asked again: HTTP 422 'no, because'"
    )
    status = it.status("alertmanager")
    assert (status.given_up, status.waiting, status.delivered, status.failures) == (1, 0, 0, REFUSALS)
    told = len(manager.posts)
    for _ in range(3):
        it.now_s += 600.0
        it.delivery.round()
    assert len(manager.posts) == told  # neither once more nor every minute
    commit(it, change(**OVER))
    it.delivery.round()
    assert len(manager.posts) == told + 1  # what comes after it has its own chances


def test_an_outage_counts_for_no_refusal(it, manager):
    commit(it, change())
    manager.receiver.codes += [503] * (REFUSALS + 1) + [400]
    rounds(it, manager)
    it.delivery.round()
    assert (it.status("alertmanager").given_up, it.status("alertmanager").delivered) == (0, 1)


def test_a_repeat_that_is_refused_is_said(it, manager, caplog):
    commit(it, change(), change("other"))
    it.delivery.round()
    manager.receiver.codes += [400, 200, 400]
    with caplog.at_level(logging.ERROR, "riverd"):
        round_at(it, 60.0)
    assert manager.names[1:] == [["loss", "other"], ["loss"], ["other"]]
    [line] = caplog.messages
    assert line.endswith("refuses to hear again of other: HTTP 400 'no, because'")
    round_at(it, 120.0)
    assert manager.names[4:] == [["loss", "other"]]


def test_many_go_in_several_messages(it, manager, monkeypatch):
    names = [f"rule-{number:03}" for number in range(2 * receiving.ALERTS_AT_ONCE + 1)]
    commit(it, *(change(name) for name in names))
    it.delivery.round()
    assert max(len(post) for post in manager.names) == receiving.ALERTS_AT_ONCE
    assert [name for post in manager.names for name in post] == names
    told = len(manager.posts)
    round_at(it, 60.0)
    assert [len(post) for post in manager.names[told:]] == [receiving.ALERTS_AT_ONCE] * 2 + [1]
    assert [name for post in manager.names[told:] for name in post] == names


def test_whoever_has_lost_the_lease_repeats_nothing(it, manager, monkeypatch):
    commit(it, change())
    it.delivery.round()

    def fenced():
        raise Fenced("another has it")

    monkeypatch.setattr(it.store, "check_lease", fenced)
    round_at(it, 60.0)
    assert len(manager.posts) == 1
