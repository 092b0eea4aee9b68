"""Over HTTP: how the engine stands, and whether it lives."""

import json
from dataclasses import replace

import msgspec
import pytest

from riverd.web.document import read_document, to_line
from tests.riverd.web import DOCUMENT, STATUS, Web


def test_what_is_said_comes_through_the_pipe_unchanged():
    said = read_document(to_line(DOCUMENT))
    assert said.status.events[0].value != said.status.events[0].value  # NaN, which JSON does not have
    steady = replace(DOCUMENT, status=replace(STATUS, events=[]))
    assert read_document(to_line(steady)) == steady
    with pytest.raises(msgspec.DecodeError):
        read_document(b'{"version": "1"}')


def test_before_the_engine_has_spoken_there_is_nothing_to_tell():
    web = Web(document=None)
    assert [web.ask("GET", path).code for path in ("/status", "/readyz", "/livez")] == [503, 503, 200]
    assert "riverd is starting" in web.ask("GET", "/status").detail
    assert web.samples() == {("riverd_up", ()): 1.0}


def test_status_is_the_document_as_it_came():
    answer = Web().ask("GET", "/status")
    assert answer.body == to_line(DOCUMENT)
    assert answer.headers["content-type"] == "application/json"


def test_alive_is_who_was_heard_of_lately():
    web = Web()
    for silent_s, code in ((29.9, 200), (30.0, 503)):
        web.now_s = silent_s
        assert web.ask("GET", "/livez").code == code
    assert "not been heard of for 30 s" in web.ask("GET", "/livez").detail
    assert web.samples()["riverd_up", ()] == 0.0
    web.hear(replace(DOCUMENT, status=replace(STATUS, phase="compiling")))  # which may take longer
    web.now_s += 300.0
    assert web.ask("GET", "/livez").code == 200


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"phase": "compiling"}, "the engine is compiling"),
        ({"phase": "stopping"}, "the engine is stopping"),
        ({"store_error": "disk full"}, "the last checkpoint failed: disk full"),
        ({"phase": "waiting"}, None),
    ],
)
def test_ready_is_who_reads_and_can_write(changes, reason):
    answer = Web(document=replace(DOCUMENT, status=replace(STATUS, **changes))).ask("GET", "/readyz")
    assert (answer.code, json.loads(answer.body).get("detail")) == (503 if reason else 200, reason)
