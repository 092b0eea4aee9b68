"""Over HTTP: what the engine is told to do."""

import json
from dataclasses import replace

import pytest

from tests.riverd.web import DOCUMENT, NOW_US, STATUS, Web


def test_learning_is_paused_and_resumed():
    web = Web()
    for state in ("paused", "paused", "running"):
        answer = web.change(state)
        assert (answer.code, json.loads(answer.body)) == (200, {"state": state})
    assert [(command.number, command.what) for command in web.commands] == [(1, "pause"), (2, "pause"), (3, "resume")]
    assert web.change("paused", token="bearer t0ken").code == 200


def test_labels_are_thawed_and_where_nothing_is_frozen_that_is_said():
    web = Web(document=replace(DOCUMENT, status=replace(STATUS, stalled_since=NOW_US)))
    for thawed in (True, False):
        answer = web.thaw()
        assert (answer.code, json.loads(answer.body)) == (200, {"thawed": thawed})
    assert [command.what for command in web.commands] == ["thaw", "thaw"]


def test_before_the_engine_has_spoken_it_is_not_told_to_thaw():
    web = Web(document=None)
    assert web.thaw().code == 503
    assert web.commands == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"state": "off"}', b'{"state": true}', b"{}", b'{"state": "paused", "x": 1}', b"\xff", b"[]"]
)
def test_what_is_no_request_changes_nothing(body):
    web = Web()
    assert web.change(body=body).code in (400, 422)
    assert web.commands == []


def test_an_engine_that_does_not_answer_is_not_waited_for_forever(monkeypatch):
    monkeypatch.setattr("riverd.web.app.ANSWER_WITHIN_S", 0.05)
    for answer in (Web(deaf=True).change(), Web(deaf=True).thaw()):
        assert answer.code == 504
        assert "has not answered" in answer.detail
