"""POST /api/retrain: stored before it is answered, once for each alert, and the engine waits for nobody."""

import html
import json
import os
import re
import signal
import sqlite3
import threading
import time
from concurrent.futures import Future
from contextlib import closing

import pytest

from riverd.client import Client, NobodyThereError
from riverd.commands import Asking, obey
from riverd.web.document import Answer, Command
from riverd.web.webhook import MAX_BYTES
from storage.errors import Unreachable
from storage.store import Store
from tests.riverd.alerts_posted import STARTED_US, alert, payload
from tests.riverd.web import Running, Web, in_background

KEY = f"alertmanager/8c1f0e6a5d3b2947/{STARTED_US}"


def on_a_store(store):
    """The web on an engine that stores what it is asked."""
    return Web(answer=lambda command: Asking(store).ask(command).result())


@pytest.fixture
def store(tmp_path):
    with closing(Store.open(f"sqlite:///{tmp_path}/riverd.db", "shops")) as made:
        yield made


def told(answer):
    return answer.code, json.loads(answer.body)


def test_an_alert_asks_once_however_often_it_is_repeated(store):
    web = on_a_store(store)
    code, first = told(web.retrain(payload(alert())))
    assert (code, first["asked"]) == (202, True)
    [request] = store.open_requests()
    assert (request.number, request.what) == (first["request"], "retrain")
    assert request.arguments == {"trigger": "alertmanager", "reason": "Alertmanager: SalesFell"}
    for _ in range(2):
        assert told(web.retrain(payload(alert()))) == (
            200,
            {"asked": False, "request": first["request"], "detail": "these alerts have asked before"},
        )
    assert len(store.open_requests()) == 1


def test_a_group_asks_once_and_again_when_an_alert_joins_it(store):
    web = on_a_store(store)
    one, two, three = (alert(f"a{i}", fingerprint=f"{i}") for i in range(3))
    first = told(web.retrain(payload(one, two)))[1]
    assert told(web.retrain(payload(two)))[1]["request"] == first["request"]
    second = told(web.retrain(payload(one, two, three)))[1]
    assert second["asked"]
    assert [request.number for request in store.open_requests()] == [first["request"], second["request"]]
    assert not told(web.retrain(payload(three)))[1]["asked"]


def test_what_is_over_asks_for_nothing():
    web = Web()
    assert told(web.retrain(payload(alert(status="resolved")))) == (
        200,
        {"asked": False, "request": None, "detail": "no alert fires"},
    )
    assert web.commands == []


def test_another_daemon_on_the_same_database_knows_what_was_asked(store, tmp_path):
    first = told(on_a_store(store).retrain(payload(alert())))[1]["request"]
    store.close()
    with closing(Store.open(f"sqlite:///{tmp_path}/riverd.db", "shops")) as reopened:
        assert told(on_a_store(reopened).retrain(payload(alert())))[1] == {
            "asked": False,
            "request": first,
            "detail": "these alerts have asked before",
        }


@pytest.mark.parametrize(("token", "code"), [(None, 401), ("Bearer wrong", 401), ("Bearer t0ken", 202)])
def test_it_needs_the_token(store, token, code):
    assert on_a_store(store).retrain(payload(alert()), token=token).code == code
    assert len(store.open_requests()) == (code == 202)


def test_a_body_that_is_no_webhook_is_explained_and_asks_for_nothing():
    web = Web()
    for content, code in ((b"{", 400), (payload(version="3"), 422), (payload(alert(started="soon")), 422)):
        assert web.retrain(content).code == code
    assert web.retrain(payload(alert(started="soon"))).detail.startswith("alerts[0].startsAt: ")
    assert web.commands == []


def test_a_body_is_bounded():
    web = Web(answer=lambda command: Answer(command.number, 1, is_new=True))
    body = json.dumps(payload(alert())).encode()
    assert web.retrain(body + b" " * (MAX_BYTES - len(body))).code == 202
    assert web.retrain(body + b" " * (MAX_BYTES - len(body) + 1)).code == 413


def test_an_engine_that_says_nothing_is_not_asked_or_not_waited_for(monkeypatch):
    monkeypatch.setattr("riverd.web.app.ANSWER_WITHIN_S", 0.05)
    starting = Web(document=None)
    assert starting.retrain(payload(alert())).code == 503
    assert starting.commands == []
    deaf = Web(deaf=True)
    assert deaf.retrain(payload(alert())).code == 504
    late = Answer(1, 7, is_new=True)
    deaf.hear(late)  # nobody waits for it any more
    assert deaf.ask("GET", "/status").code == 200
    assert deaf.link._asked == {}


def test_a_store_that_is_away_is_the_answer():
    web = Web(answer=lambda command: Answer(command.number, fault="the database is away"))
    answer = web.retrain(payload(alert()))
    assert answer.code == 503
    assert answer.detail == "nothing was asked: the database is away"
    assert answer.headers["retry-after"] == "10"


class Away:
    def __init__(self, error):
        self.error = error

    def ask(self, *_, **__):
        raise self.error


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (Unreachable("nobody there"), "nobody there"),
        (RuntimeError("bug"), "a fault of riverd's; its log has the details"),
    ],
)
def test_what_goes_wrong_in_the_store_does_not_reach_the_engine(error, fault):
    answer = obey(None, Asking(Away(error)), Command(3, "retrain", {}, ["a"])).result()
    assert answer == Answer(3, fault=fault)


def test_the_engine_goes_on_while_the_database_is_locked(store, tmp_path, monkeypatch):
    monkeypatch.setenv("RIVERD_TOKEN", "t0ken")
    asking = Asking(store)
    running = Running(asking)
    client = Client(running.url)
    running.until(in_background(client.status).done)
    longest_s = 0.0
    try:
        with closing(sqlite3.connect(tmp_path / "riverd.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            posted = in_background(lambda: client._change("/api/retrain", payload(alert())))
            running.until(lambda: running.obeyed == ["retrain"])
            until_s = time.monotonic() + 1.0
            while time.monotonic() < until_s:
                before_s = time.monotonic()
                running.poll()
                longest_s = max(longest_s, time.monotonic() - before_s)
                time.sleep(0.01)
            assert not posted.done()
            other.rollback()
        running.until(posted.done)
        assert json.loads(posted.result())["asked"]
        assert longest_s < 0.5
        assert len(store.open_requests()) == 1
    finally:
        running.host.close()
        asking.close()


def test_several_at_once_have_their_own_answers(store, monkeypatch):
    monkeypatch.setenv("RIVERD_TOKEN", "t0ken")
    asking = Asking(store)
    running = Running(asking)
    try:
        running.until(in_background(Client(running.url).status).done)
        bodies = [payload(alert(f"a{i}", fingerprint=str(i // 2))) for i in range(8)]
        barrier = threading.Barrier(len(bodies))

        def post(body):
            barrier.wait()
            return json.loads(Client(running.url)._change("/api/retrain", body))

        posted = [in_background(lambda body=body: post(body)) for body in bodies]
        running.until(lambda: all(each.done() for each in posted))
        answers = [each.result() for each in posted]
        assert sum(answer["asked"] for answer in answers) == 4
        for one, other in zip(answers[::2], answers[1::2], strict=True):
            assert one["request"] == other["request"]
        assert len({answer["request"] for answer in answers}) == 4
    finally:
        running.host.close()
        asking.close()


class Slow:
    """Answers when the test says so."""

    def __init__(self):
        self.asked = []

    def ask(self, command):
        self.asked.append((command.number, Future()))
        return self.asked[-1][1]


def test_what_a_web_process_asked_that_died_answers_nobody_else(monkeypatch):
    monkeypatch.setenv("RIVERD_TOKEN", "t0ken")
    asking = Slow()
    running = Running(asking)
    client = Client(running.url)

    def post():
        return json.loads(client._change("/api/retrain", payload(alert())))

    try:
        running.until(in_background(client.status).done)
        lost, first = in_background(post), running.host.pid
        running.until(lambda: asking.asked)
        os.kill(first, signal.SIGKILL)
        running.until(lambda: running.host.pid not in (None, first) and client.status())
        with pytest.raises(NobodyThereError):
            lost.result()
        answered = in_background(post)
        running.until(lambda: len(asking.asked) == 2)
        (number, old), (same_number, new) = asking.asked
        assert number == same_number == 1
        old.set_result(Answer(1, 99, is_new=True))
        watched_s = time.monotonic()
        running.until(lambda: time.monotonic() - watched_s > 0.5)
        assert not answered.done()
        new.set_result(Answer(1, 7, is_new=True))
        running.until(answered.done)
        assert answered.result()["request"] == 7
    finally:
        running.host.close()


def test_who_was_answered_first_is_told_first(monkeypatch):
    monkeypatch.setenv("RIVERD_TOKEN", "t0ken")
    asking = Slow()
    running = Running(asking)

    def post(fingerprint):
        return json.loads(Client(running.url)._change("/api/retrain", payload(alert(fingerprint=fingerprint))))

    try:
        running.until(in_background(Client(running.url).status).done)
        posted = []
        for count in (1, 2):
            posted.append(in_background(lambda count=count: post(str(count))))
            running.until(lambda count=count: len(asking.asked) == count)
        for first_asked in (1, 0):
            number, answer = asking.asked[first_asked]
            answer.set_result(Answer(number, 70 + number, is_new=True))
            running.until(posted[first_asked].done)
            assert posted[first_asked].result()["request"] == 70 + number
            assert posted[0].done() == (first_asked == 0)
        assert running.host._awaited == []
    finally:
        running.host.close()


def test_the_page_of_the_interface_has_a_call_that_works(store):
    page = html.unescape(Web().ask("GET", "/docs").body.decode())
    [example] = re.findall(r"/api/retrain -H .* -d '(.*)'", page)
    assert on_a_store(store).retrain(example.encode()).code == 202
