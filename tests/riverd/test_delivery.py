"""Alerts reach their receivers: at least once, in order, under one id, and at nobody's cost."""

import logging
import socket
import threading
import time

import pytest

from riverd.config_alerts import Delivery as DeliveryConfig
from riverd.delivery import receivers as receiving
from riverd.delivery.alertmanager import change_of, notice_of
from riverd.delivery.outbox import LAST_RETRY_S, Delivery
from riverd.delivery.receivers import Receiver
from riverd.errors import ConfigError
from tests.riverd.deliveries import DAY_US, WALL_US, World, change


def test_a_notice_holds_all_of_a_change():
    assert change_of(notice_of(change(), "webhook")) == change()
    undefined = change_of(notice_of(change(value=float("nan")), "webhook"))
    assert undefined.value != undefined.value


def test_the_webhook_is_alertmanagers_version_4(receiver, world, monkeypatch):
    monkeypatch.setenv("RIVERD_WEBHOOK_TOKEN", "s3cret")
    hook = receiver()
    it = world(webhook=f"{hook.url}/alerts?x=1")
    it.commit(change())
    it.now_s = 90.0
    it.commit(change(state="resolved", at=21 * DAY_US, value=0.5))
    assert it.delivery.round() == 60.0
    first, second = hook.received
    assert first.path == "/alerts?x=1"
    assert first.headers["Authorization"] == "Bearer s3cret"
    assert first.headers["Content-Type"] == "application/json"
    labels = {"alertname": "loss", "model": "shops", "severity": "critical"}
    annotations = {
        "summary": "loss fires: logloss over 1d is 0.7123, bound 0.6000, at 1970-01-21T00:00:00Z of event time",
        "metric": "logloss",
        "window": "1d",
        "value": "0.712346",
        "bound": "0.6",
        "event_time": "1970-01-21T00:00:00Z",
        "event_time_started": "1970-01-21T00:00:00Z",
    }
    assert first.content == {
        "version": "4",
        "groupKey": '{}:{alertname="loss", model="shops"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "riverd",
        "groupLabels": {"alertname": "loss", "model": "shops"},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "http://here:1",
        "alerts": [
            {
                "status": "firing",
                "labels": labels,
                "annotations": annotations,
                "startsAt": "2027-01-15T08:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://here:1/status",
                "fingerprint": first.content["alerts"][0]["fingerprint"],
            }
        ],
    }
    [over] = second.content["alerts"]
    assert second.content["status"] == over["status"] == "resolved"
    assert (over["startsAt"], over["endsAt"]) == ("2027-01-15T08:00:00Z", "2027-01-15T08:01:30Z")
    assert over["labels"] == labels  # no value among them, or it would be another alert
    assert over["fingerprint"] == first.content["alerts"][0]["fingerprint"]
    assert over["annotations"]["event_time"] == "1970-01-22T00:00:00Z"
    assert (it.status().waiting, it.status().delivered) == (0, 2)


def test_failing_and_back_nothing_is_lost_and_the_id_stays(receiver, world, caplog):
    hook = receiver(500, 503, 429)
    it = world(webhook=hook.url)
    it.commit(change(), change("other"))
    with caplog.at_level(logging.INFO, "riverd"):
        for now_s, attempts in ((0.0, 1), (0.9, 1), (1.0, 2), (2.9, 2), (3.0, 3), (6.9, 3), (7.0, 5)):
            it.now_s = now_s
            it.delivery.round()
            assert len(hook.received) == attempts
    assert [received.content["commonLabels"]["alertname"] for received in hook.received] == ["loss"] * 4 + ["other"]
    assert len({received.headers["Idempotency-Key"] for received in hook.received[:4]}) == 1
    assert hook.received[4].headers["Idempotency-Key"] != hook.received[0].headers["Idempotency-Key"]
    lines = [record.getMessage() for record in caplog.records if "webhook" in record.getMessage()]
    assert len(lines) == 2  # however often it failed
    assert "can't be told of alerts, which wait in the outbox" in lines[0]
    assert "HTTP 500 'no, because'" in lines[0]
    assert lines[1] == f"webhook ({hook.url}) is back, and was told of 2"
    assert (it.status().failures, it.status().delivered, it.status().last_error) == (3, 2, None)
    hook.codes.append(500)  # once more: it begins from one second again
    it.commit(change("again"))
    assert it.delivery.round() == 1.0


def test_the_wait_grows_to_ten_minutes_and_no_further(world):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        it = world(webhook=f"http://127.0.0.1:{closed.getsockname()[1]}/secret")
        it.commit(change())
        it.delivery = Delivery(
            it.store, {"webhook": it.receivers["webhook"]},
            now_us=it.wall_us, monotonic_s=lambda: it.now_s, jitter=lambda: 1.0,
        )  # fmt: skip
        waits = []
        for _ in range(13):
            waits.append(it.delivery.round())
            it.now_s += waits[-1]
    assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == LAST_RETRY_S == 600.0
    status = it.status()
    assert (status.waiting, status.oldest_at, status.failures) == (1, WALL_US, 13)
    assert "refused" in status.last_error
    assert "secret" not in status.last_error  # the path of a webhook may be one


def test_one_that_is_refused_holds_up_its_own_rule_alone(receiver, world):
    hook = receiver(400)
    it = world(webhook=hook.url)
    it.commit(change(), change(state="resolved", at=21 * DAY_US), change("other"))
    assert it.delivery.round() == 1.0
    told = [(received.content["groupLabels"]["alertname"], received.content["status"]) for received in hook.received]
    assert told == [("loss", "firing"), ("other", "firing")]
    it.now_s = 1.0
    it.delivery.round()
    told = [(received.content["groupLabels"]["alertname"], received.content["status"]) for received in hook.received]
    assert told[2:] == [("loss", "firing"), ("loss", "resolved")]


def test_a_redirect_is_not_followed(receiver, world, monkeypatch):
    monkeypatch.setenv("RIVERD_WEBHOOK_TOKEN", "s3cret")
    hook = receiver(307)
    it = world(webhook=hook.url)
    it.commit(change())
    it.delivery.round()
    assert [received.path for received in hook.received] == ["/"]
    assert "HTTP 307" in it.status().last_error


def test_a_token_that_is_none_is_refused(world, monkeypatch):
    monkeypatch.setenv("RIVERD_WEBHOOK_TOKEN", "s3\ncret")
    with pytest.raises(ConfigError, match=r"RIVERD_WEBHOOK_TOKEN is not a token.\n  Set it"):
        world(webhook="http://127.0.0.1:1")


def test_the_log_is_told_once(world, caplog):
    it = world()
    it.commit(change(), change(state="resolved", at=21 * DAY_US, value=0.5), channel="log")
    with caplog.at_level(logging.INFO, "riverd"):
        it.delivery.round()
        it.delivery.round()
    assert [(record.levelname, record.getMessage()[:22]) for record in caplog.records] == [
        ("WARNING", "alert loss fires: logl"),
        ("INFO", "alert loss is over: lo"),
    ]


def test_a_receiver_that_hangs_delays_nobody_else(receiver, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(receiving, "READ_TIMEOUT_S", 0.2)
    hook = receiver(hangs=True)
    it = World(tmp_path, webhook=hook.url)
    it.delivery = Delivery(it.store, it.receivers, now_us=it.wall_us)
    it.delivery.start()
    it.commit(change(started_at=50 * 10**6))
    it.delivery.wake()
    hook.wait_for(1)  # it is hanging now
    before_s = time.monotonic()
    for number in range(50):  # the writer goes on
        it.commit(change(started_at=number * 10**6))
        it.delivery.wake()
    took_s = time.monotonic() - before_s
    while not it.status().failures:
        time.sleep(0.01)
    hook.released.set()
    hook.wait_for(52)  # one was given up on, and told again
    it.delivery.close(within_s=10.0)
    it.store.close()
    assert took_s < 2.0
    assert hook.received[0].headers["Idempotency-Key"] == hook.received[1].headers["Idempotency-Key"]
    told = [each.content["alerts"][0]["annotations"]["event_time_started"] for each in hook.received[1:]]
    assert len(set(told)) == len(told) == 51


def test_on_the_way_out_what_is_due_is_sent_and_no_longer_waited_for(receiver, tmp_path):
    good, hanging = receiver(), receiver(hangs=True)
    for hook, within_s, told in ((good, 5.0, 3), (hanging, 0.3, 1)):
        folder = tmp_path / str(told)
        folder.mkdir()
        it = World(folder, webhook=hook.url)
        it.delivery = Delivery(it.store, it.receivers, now_us=it.wall_us)
        it.commit(change("a"), change("b"), change("c"))
        it.delivery.start()
        before_s = time.monotonic()
        it.delivery.close(within_s=within_s)
        assert time.monotonic() - before_s < within_s + 1.0
        assert len(hook.wait_for(told)) == told
        hook.released.set()
        it.delivery._thread.join()
        it.store.close()


def test_on_the_way_out_a_slow_receiver_is_left_in_the_middle(world):
    it = world()
    slow = Receiver("here", lambda _: threading.Event().wait(0.05))
    delivery = Delivery(it.store, {"log": slow}, now_us=it.wall_us)
    it.commit(*(change(f"rule-{number}") for number in range(200)), channel="log")
    delivery.start()
    delivery.close(within_s=0.3)
    delivery._thread.join(2.0)
    assert not delivery._thread.is_alive()
    assert 0 < delivery.statuses[0].delivered < 20


def test_it_survives_its_own_faults(world, caplog):
    it = world()
    sent = threading.Event()

    def send(_):
        if not faults:
            sent.set()
            return
        raise faults.pop()

    faults = [RuntimeError("a bug")]
    broken = Receiver("here", send)
    delivery = Delivery(it.store, {"log": broken}, now_us=it.wall_us)
    it.commit(change(), channel="log")
    delivery.start()
    while faults:
        time.sleep(0)
    delivery.wake()
    assert sent.wait(10.0)
    delivery.close(within_s=5.0)
    assert "delivering to log failed" in caplog.text


def test_the_config_has_no_place_for_secrets():
    assert set(DeliveryConfig.model_fields) == {"webhook", "alertmanager"}
