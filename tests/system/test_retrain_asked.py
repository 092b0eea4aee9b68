"""A real Alertmanager asks a real riverd for a retrain: once for each alert, over repetitions and restarts."""

import json
import re
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.riverd.alerts_posted import alert, payload
from tests.system import monitoring
from tests.system.children import tailing
from tests.system.monitoring import HTTP, eventually, get
from tests.system.programs import free_port
from tests.system.streams_on_disk import configure, write_data

pytestmark = pytest.mark.system

PAGE = Path(__file__).parents[2] / "docs" / "retraining.md"
AT_ONCE = "route:\n  group_wait: 0s\n  group_interval: 1s\n  repeat_interval: 1s\n"
REQUEST = (
    "SELECT number, arguments, outcome FROM requests WHERE outcome IS NULL OR outcome NOT LIKE 'part of%' ORDER BY 1"
)


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def folder(tmp_path, port):
    made = tmp_path / "run"
    write_data(made / "data", count=600)
    return configure(
        made,
        made / "data",
        alerts=[],
        source={"path": "data", "idle_after": "100ms"},
        web={"listen": f"127.0.0.1:{port}"},
    )


def requests(folder):
    with closing(sqlite3.connect(folder / "riverd.db")) as connection:
        return connection.execute(REQUEST).fetchall()


def decisions(folder):
    with closing(sqlite3.connect(folder / "riverd.db")) as connection:
        return connection.execute("SELECT decision, reason FROM retrains ORDER BY number").fetchall()


def config_of_the_page(folder, port):
    """Of docs/retraining.md, but for where riverd is and how long Alertmanager waits."""
    token = folder / "token"
    token.write_text("t0ken", encoding="utf-8")
    [text] = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for there, here in (
        ("http://riverd:8765", f"http://127.0.0.1:{port}"),
        ("/run/secrets/riverd_token", str(token)),
        ("route:\n", AT_ONCE),
    ):
        assert there in text
        text = text.replace(there, here)
    return text


def fire(url, name):
    labels = {"alertname": name, "retrain": "late-flights"}
    body = json.dumps([{"labels": labels, "annotations": {}}]).encode()
    answer = HTTP.request("POST", f"{url}/api/v2/alerts", body=body, headers={"Content-Type": "application/json"})
    assert answer.status == 200


def told(url, kind=""):
    """How often Alertmanager has told a webhook."""
    found = re.findall(
        rf'^alertmanager_notifications{kind}_total{{[^}}]*integration="webhook"[^}}]*}} (\d+)',
        (get(f"{url}/metrics") or b"").decode(),
        re.MULTILINE,
    )
    return sum(map(int, found))


def wait_for_more(url, times):
    so_far = told(url) - told(url, "_failed")
    eventually(lambda: told(url) - told(url, "_failed") >= so_far + times)


def test_what_alertmanager_repeats_asks_once(tmp_path, folder, port):
    with monitoring.alertmanager_with(tmp_path, config_of_the_page(tmp_path, port)) as manager:
        with monitoring.riverd(folder, RIVERD_TOKEN="t0ken"):
            fire(manager, "SalesFell")
            eventually(lambda: [reason for decision, reason in decisions(folder) if decision == "started"])
            wait_for_more(manager, 2)
            [(_, arguments, outcome)] = requests(folder)
            assert json.loads(arguments) == {"trigger": "alertmanager", "reason": "Alertmanager: SalesFell"}
            assert outcome == "retrain 1 has begun"

        with monitoring.riverd(folder, RIVERD_TOKEN="t0ken"):
            wait_for_more(manager, 2)
            assert len(requests(folder)) == 1
            fire(manager, "CostsRose")  # it joins the group
            eventually(lambda: len(requests(folder)) == 2 and requests(folder)[1][2])
            wait_for_more(manager, 2)
            _, (_, arguments, outcome) = requests(folder)
            assert json.loads(arguments)["reason"] == "Alertmanager: CostsRose, SalesFell"
            assert outcome.startswith("refused: ")
    refusals = [reason for decision, reason in decisions(folder) if decision == "refused"]
    assert refusals == [outcome.removeprefix("refused: ")]


def post(port, content):
    return HTTP.request(
        "POST",
        f"http://127.0.0.1:{port}/api/retrain",
        body=json.dumps(content).encode(),
        headers={"Authorization": "Bearer t0ken"},
    )


def test_one_that_is_killed_when_it_has_answered_knows_the_alert_and_begins_once(folder, port, monkeypatch):
    monkeypatch.setenv("RIVERD_TOKEN", "t0ken")
    for times in range(3):
        with tailing(folder) as (child, wait_for):
            wait_for(lambda told: told["phase"] == "waiting")
            answer = eventually(lambda: post(port, payload(alert())))
            assert (answer.status, json.loads(answer.data)["asked"]) == ((200, False) if times else (202, True))
            child.signal(signal.SIGKILL)
            child.wait()
    with monitoring.riverd(folder, RIVERD_TOKEN="t0ken"):
        eventually(lambda: decisions(folder))
        assert [decision for decision, _ in decisions(folder)].count("started") == 1
    assert len(requests(folder)) == 1
