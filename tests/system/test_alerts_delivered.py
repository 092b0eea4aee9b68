"""Alerts come through crashes and to receivers that hang: at least once, under one id, at no cost to the engine."""

import signal
import sqlite3
from contextlib import closing

import pytest

from tests.riverd.http_receiver import HttpReceiver
from tests.riverd.streams import ALERTS
from tests.system.children import finish, run_child
from tests.system.streams_on_disk import configure, write_data

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), count=4000)


@pytest.fixture
def receiver():
    made = HttpReceiver()
    yield made
    made.close()


def with_webhook(folder, data, receiver):
    alerts = [alert | {"window": "2h", "action": ["log", "webhook"]} for alert in ALERTS]
    return configure(folder, data, alerts=alerts, delivery={"webhook": receiver.url})


def outbox(folder):
    with closing(sqlite3.connect(folder / "riverd.db")) as connection:
        columns = "id, rule, started_at, state, channel, delivered_at IS NOT NULL"
        return connection.execute(f"SELECT {columns} FROM outbox ORDER BY number").fetchall()


def changes(folder):
    """Every change that there was, from the history of alerts."""
    with closing(sqlite3.connect(folder / "riverd.db")) as connection:
        alerts = connection.execute("SELECT rule, started_at, state FROM alerts").fetchall()
    fired = {(rule, started_at, "firing") for rule, started_at, _ in alerts}
    return fired | {(rule, started_at, "resolved") for rule, started_at, state in alerts if state == "resolved"}


def told(receiver):
    """What came, in order, without what was told again."""
    heard = {each.headers["Idempotency-Key"]: each.content for each in receiver.received}
    return [(content["groupLabels"]["alertname"], content["status"]) for content in heard.values()]


def test_killed_between_commit_and_delivery(tmp_path, data, receiver):
    folder = with_webhook(tmp_path / "run", data, receiver)
    receiver.released.clear()  # it takes nothing in, so that what is committed is not delivered
    kills = 0
    while not any(channel == "webhook" for *_, channel, _ in (outbox(folder) if kills else [])):
        assert run_child(folder, fails_at="checkpoint.committed:3").wait() == -signal.SIGKILL
        kills += 1
    receiver.released.set()
    receiver.received.clear()
    finish(folder)
    rows = [row for row in outbox(folder) if row[4] == "webhook"]
    assert all(delivered for *_, delivered in rows)
    assert {row[1:4] for row in rows} == changes(folder)
    assert {each.headers["Idempotency-Key"] for each in receiver.received} == {row[0] for row in rows}
    of_each = {}
    for rule, state in told(receiver):
        of_each.setdefault(rule, []).append(state)
    assert set(of_each) == {alert["name"] for alert in ALERTS}
    for states in of_each.values():
        assert states == (["firing", "resolved"] * len(states))[: len(states)]


def test_killed_after_it_was_heard_and_before_that_was_noted(tmp_path, data, receiver):
    folder = with_webhook(tmp_path / "run", data, receiver)
    for _ in range(3):
        assert run_child(folder, fails_at="delivery.sent:2").wait() == -signal.SIGKILL
    finish(folder)
    ids = [each.headers["Idempotency-Key"] for each in receiver.received]
    webhook = [row for row in outbox(folder) if row[4] == "webhook"]
    assert {row[1:4] for row in webhook} == changes(folder)
    assert set(ids) == {row[0] for row in webhook}
    assert len(ids) <= len(set(ids)) + 3  # once more for each kill, at the most


def test_a_receiver_that_hangs_does_not_slow_the_engine(tmp_path, data, receiver):
    undisturbed = finish(configure(tmp_path / "quiet", data))
    folder = with_webhook(tmp_path / "run", data, receiver)
    receiver.released.clear()
    child = run_child(folder)
    assert child.wait() == 0  # it leaves after the time for flushing
    receiver.released.set()
    result = child.result
    steady = ("model_sha256", "counts", "metrics", "alerts")
    assert {key: result[key] for key in steady} == {key: undisturbed[key] for key in steady}
    assert result["seconds"] < undisturbed["seconds"] + 2.0  # one attempt alone hangs for five
    assert not any(delivered for *_, channel, delivered in outbox(folder) if channel == "webhook")
    finish(folder)
    assert all(delivered for *_, delivered in outbox(folder))
    assert {row[1:4] for row in outbox(folder)} == changes(folder)


def test_a_rule_that_is_taken_out_while_it_fires_is_over_for_its_receiver_too(tmp_path, data, receiver):
    always = {"metric": "coverage", "window": "2h", "below": 2.0, "action": ["webhook"]}
    for name in ("old", "new", "new"):
        delivery = {"webhook": receiver.url}
        finish(configure(tmp_path / "run", data, alerts=[always | {"name": name}], delivery=delivery))
    assert told(receiver) == [("old", "firing"), ("old", "resolved")]
