"""Alertmanager's JSON: which alerts of it ask for a retrain, under which keys, and what is said of anything else."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from riverd.web.webhook import EXAMPLE, MAX_FIRING, Firing, NotOurs, read_webhook
from tests.riverd.alerts_posted import STARTED_US, alert, payload


def read(content):
    return read_webhook(content if isinstance(content, bytes) else json.dumps(content).encode())


def keys(*alerts):
    return read(payload(*alerts)).keys


def test_the_alerts_that_fire_are_one_request_with_a_key_each():
    firing = read(
        payload(alert(), alert("Old", status="resolved", fingerprint="1"), alert("CostsRose", fingerprint="2"))
    )
    assert firing.keys == [f"alertmanager/8c1f0e6a5d3b2947/{STARTED_US}", f"alertmanager/2/{STARTED_US}"]
    assert firing.arguments == {"trigger": "alertmanager", "reason": "Alertmanager: SalesFell, CostsRose"}


def test_where_none_fires_there_is_no_key():
    assert keys(alert(status="resolved")) == keys() == []


def test_a_repetition_has_the_key_of_the_first_and_a_new_start_another():
    [first] = keys(alert())
    assert keys(alert(), alert()) == [first]
    assert keys(alert("Renamed")) == [first]
    assert keys(alert(started="2026-11-27T09:00:00.123456789+01:00")) == [first]
    assert keys(alert(started="2026-11-27T08:00:01Z")) != [first]


@given(
    at=st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),
    offset=st.integers(-23 * 60, 23 * 60),
)
def test_the_key_has_the_start_in_utc_wherever_it_was_written(at, offset):
    written = at.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=offset)))
    start_us = (at - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    assert keys(alert(started=written.isoformat())) == [f"alertmanager/8c1f0e6a5d3b2947/{start_us}"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a", "b", "a"], "a, b"),
        (["a", "b", "c", "d", "e"], "a, b, c and 2 more"),
        (["two\nlines \x1b[2J"], "two?lines ?[2J"),
        (["n" * 1000], "n" * 60),
    ],
)
def test_the_reason_names_some_of_them_on_one_line(names, reason):
    alerts = [alert(name, fingerprint=str(i)) for i, name in enumerate(names)]
    assert read(payload(*alerts)).arguments["reason"] == f"Alertmanager: {reason}"


def test_an_alert_without_a_name_asks_too():
    nameless = alert() | {"labels": {}}
    assert read(payload(nameless)).arguments["reason"] == "Alertmanager: an alert"


def test_the_example_of_the_docs_asks():
    assert len(read(EXAMPLE).keys) == 1


def without(name):
    return {key: value for key, value in alert().items() if key != name}


@pytest.mark.parametrize(
    ("content", "code", "detail"),
    [
        (b"", 400, "the body is not JSON"),
        (b"{", 400, "the body is not JSON"),
        (b'{"version": "4", "alerts": [' + b"[" * 100_000, 400, "the body is not JSON"),
        (payload() | {"x": "\ud800"}, 400, "the body is not JSON"),
        ([], 422, "the body: Expected `object`, got `array`"),
        ({}, 422, "the body: Object missing required field `version`"),
        ({"version": "4"}, 422, "the body: Object missing required field `alerts`"),
        (payload(version="3"), 422, 'version: "3" is not known; riverd reads version "4"'),
        ({"version": "3", "alerts": 7}, 422, 'version: "3" is not known; riverd reads version "4"'),
        (payload(version=4), 422, "version: Expected `str`, got `int`"),
        (payload() | {"alerts": {}}, 422, "alerts: Expected `array`, got `object`"),
        (payload(alert(), alert(status="odd")), 422, "alerts[1].status: Invalid enum value 'odd'"),
        (payload(without("fingerprint")), 422, "alerts[0]: Object missing required field `fingerprint`"),
        (payload(alert(fingerprint="")), 422, "alerts[0].fingerprint: Expected `str` matching regex"),
        (payload(alert(fingerprint="a/b")), 422, "alerts[0].fingerprint: Expected `str` matching regex"),
        (payload(without("startsAt")), 422, "alerts[0]: Object missing required field `startsAt`"),
        (payload(alert(started="yesterday")), 422, "alerts[0].startsAt: Invalid RFC3339 encoded datetime"),
        (payload(alert(started="2026-11-27T08:00:00")), 422, "alerts[0].startsAt: Expected `datetime` with a timezone"),
        (payload(alert() | {"labels": {"a": 1}}), 422, "alerts[0].labels[...]: Expected `str`, got `int`"),
        (payload(*[alert(fingerprint=str(i)) for i in range(501)]), 422, "alerts: 501 fire, more than 500"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(content, code, detail):
    fault = read(content)
    assert isinstance(fault, NotOurs)
    assert fault.code == code
    assert fault.detail.startswith(detail)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ALERTS = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["firing", "resolved"]) | JSON,
        "labels": st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=2) | JSON,
        "startsAt": st.datetimes(timezones=st.timezones()).map(datetime.isoformat) | st.text(max_size=20) | JSON,
        "fingerprint": st.text(max_size=9) | JSON,
        "annotations": JSON,
    },
)
PAYLOADS = st.fixed_dictionaries(
    {}, optional={"version": st.just("4") | JSON, "alerts": st.lists(ALERTS | JSON, max_size=3) | JSON, "x": JSON}
)
BODIES = st.binary(max_size=200) | (PAYLOADS | JSON).map(lambda value: json.dumps(value).encode())


@given(body=BODIES)
@example(body=b'\xef\xbb\xbf{"version": "4", "alerts": []}')
@example(body=b'{"version": "4", "alerts": []}' * 2)
def test_whatever_comes_there_is_an_answer(body):
    said = read_webhook(body)
    if isinstance(said, NotOurs):
        assert said.code in (400, 422)
        assert said.detail
    else:
        assert isinstance(said, Firing)
        assert len(said.keys) <= MAX_FIRING
        assert said.arguments["reason"].isprintable()
