"""What is to be sent to topics: in order, again until it is taken, and never by one that lost the lease."""

import pytest

from riverd.delivery.receivers import UnreachableError
from riverd.delivery.topics import LAST_RETRY_S, TopicSender
from riverd.outgoing import parcels_of, topics_of
from riverd.predictions import Served
from storage.checkpoint import Checkpoint
from storage.outgoing import Message, pack
from storage.store import Store
from tests.riverd.streams import config


class Brokers:
    """Takes messages, unless they are down for a topic; then only some of them."""

    def __init__(self):
        self.taken, self.down, self.connected = [], set(), 0

    def connect(self):
        self.connected += 1
        return self

    def send(self, topic, messages):
        if topic in self.down:
            self.taken += [(topic, message.value) for message in messages[:1]]
            raise UnreachableError("down")
        self.taken += [(topic, message.value) for message in messages]

    def close(self):
        pass


class Scene:
    def __init__(self, url="sqlite://", reached=lambda _: None):
        self.now_s, self.brokers = 0.0, Brokers()
        self.store = Store.open(url, "m", now=lambda: 7)
        self.store.acquire()
        self.store.load()
        self.sender = TopicSender(
            self.store, ["a", "b"], self.brokers.connect, reached=reached, monotonic_s=lambda: self.now_s
        )

    def commit(self, *parcels):
        made = [pack(topic, [Message(b"k", value, []) for value in values]) for topic, values in parcels]
        self.store.commit(Checkpoint(state=b"", outgoing=made))

    def status(self, topic):
        return next(status for status in self.sender.statuses if status.channel == topic)


def test_parcels_go_in_order_and_once():
    scene = Scene()
    scene.commit(("a", [b"1", b"2"]), ("b", [b"3"]))
    scene.commit(("a", [b"4"]))
    scene.sender.round()
    assert scene.brokers.taken == [("a", b"1"), ("a", b"2"), ("a", b"4"), ("b", b"3")]
    scene.sender.round()
    assert len(scene.brokers.taken) == 4
    assert (scene.status("a").delivered, scene.status("a").waiting) == (3, 0)


def test_a_topic_that_is_down_is_left_alone_for_longer_and_longer_and_the_other_is_not():
    scene, waits = Scene(), []
    scene.brokers.down.add("a")
    scene.commit(("a", [b"1", b"2"]), ("b", [b"3"]))
    for _ in range(9):
        waits.append(scene.sender.round())
        scene.now_s += waits[-1] - 0.5
        tried = len(scene.brokers.taken)
        scene.sender.round()  # a commit in between hurries nobody
        assert len(scene.brokers.taken) == tried
        scene.now_s += 0.5
    assert waits == [1, 2, 4, 8, 16, 32, LAST_RETRY_S, LAST_RETRY_S, LAST_RETRY_S]
    assert ("b", b"3") in scene.brokers.taken
    status = scene.status("a")
    assert (status.waiting, status.oldest_at, status.failures, status.last_error) == (2, 7, 9, "down")
    scene.brokers.down.clear()
    scene.brokers.taken.clear()
    scene.sender.round()
    assert scene.brokers.taken == [("a", b"1"), ("a", b"2")]  # all of the parcel again
    assert scene.status("a").last_error is None


def test_what_was_sent_and_not_noted_is_sent_again():
    class Killed(BaseException):
        pass

    def killed(place):
        raise Killed(place)

    scene = Scene(reached=killed)
    scene.commit(("a", [b"1"]))
    with pytest.raises(Killed, match=r"topics\.sent"):
        scene.sender.round()
    scene.sender = TopicSender(scene.store, ["a"], scene.brokers.connect)
    scene.sender.round()
    assert scene.brokers.taken == [("a", b"1"), ("a", b"1")]


def test_who_lost_the_lease_sends_nothing(tmp_path):
    url = f"sqlite:///{tmp_path / 'm.db'}"
    scene = Scene(url)
    scene.commit(("a", [b"1"]))
    scene.store._lease.release()
    other = Store.open(url, "m")
    other.acquire()
    scene.sender.round()
    assert scene.brokers.taken == []
    TopicSender(other, ["a"], scene.brokers.connect).round()
    assert scene.brokers.taken == [("a", b"1")]


def test_a_checkpoint_that_was_passed_over_takes_what_it_sent_with_it():
    scene = Scene()
    scene.commit(("a", [b"1"]))
    scene.commit(("a", [b"2"]))
    scene.store._last = 1  # as after a fallback to the first
    scene.commit(("a", [b"2 again"]))
    scene.sender.round()
    assert scene.brokers.taken == [("a", b"1"), ("a", b"2 again")]


def test_without_topics_nothing_is_kept_for_them():
    from riverd.engine import Unsaved

    assert topics_of(config()) == []
    assert parcels_of(config(), Unsaved(served=[Served([("e",)], None, None)]), checkpoint=1) == []
