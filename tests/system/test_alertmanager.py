"""A real Alertmanager that forgets or dies learns within a minute what fires and what is over."""

import json
import time
from contextlib import closing
from datetime import datetime, timedelta

import pytest

from tests.riverd.deliveries import World, change
from tests.riverd.http_receiver import HttpReceiver
from tests.system import monitoring
from tests.system.monitoring import get
from tests.system.programs import free_port

pytestmark = pytest.mark.system


@pytest.fixture
def hook():
    made = HttpReceiver()
    yield made
    made.close()


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def it(tmp_path, port):
    """A delivery whose clocks begin now and are set from then on."""
    made = World(tmp_path, begins_us=time.time_ns() // 1000, alertmanager=f"http://127.0.0.1:{port}")
    with closing(made.store):
        yield made


def heard(hook):
    """Every alert that Alertmanager told of, and how it stood."""
    return [(each.content["commonLabels"]["alertname"], each.content["status"]) for each in hook.received]


def active(url):
    return json.loads(get(f"{url}/api/v2/alerts?active=true"))


def folder(tmp_path, name):
    made = tmp_path / name
    made.mkdir()
    return made


def test_another_in_its_place_hears_what_fires(tmp_path, it, port, hook):
    it.commit(change(), channel="alertmanager")
    with monitoring.alertmanager(folder(tmp_path, "first"), hook.url, port=port):
        it.delivery.round()
        hook.wait_for(1)
    with monitoring.alertmanager(folder(tmp_path, "second"), hook.url, port=port) as url:
        it.now_s = 59.0
        it.delivery.round()
        assert active(url) == []
        it.now_s = 60.0
        it.delivery.round()
        [alert] = active(url)
        hook.wait_for(2)
    assert heard(hook) == [("loss", "firing")] * 2
    began, ends = (datetime.fromisoformat(alert[name]) for name in ("startsAt", "endsAt"))
    assert timedelta(minutes=5) < ends - began <= timedelta(minutes=6, seconds=1)
    assert alert["labels"] == {"alertname": "loss", "model": "shops", "severity": "critical"}


def test_one_that_died_before_it_passed_on_that_it_is_over_hears_it_again(tmp_path, it, port, hook):
    storage = folder(tmp_path, "manager")
    it.commit(change(), channel="alertmanager")
    with monitoring.alertmanager(storage, hook.url, port=port, group_interval="1h"):
        it.delivery.round()
        hook.wait_for(1)
        it.commit(change(state="resolved"), channel="alertmanager")
        it.delivery.round()
    assert it.status("alertmanager").waiting == 0
    with monitoring.alertmanager(storage, hook.url, port=port, group_interval="1h"):
        it.now_s = 60.0
        it.delivery.round()
        hook.wait_for(2)
    assert heard(hook) == [("loss", "firing"), ("loss", "resolved")]
