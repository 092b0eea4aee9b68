"""Alerts, dead letters and metrics: written once however often they are sent, and no more than a bounded number."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import alerts, deadletters, history
from storage.alerts import Alert
from storage.checkpoint import Checkpoint
from storage.history import Figures
from stream.records import AlertChange, DeadLetter


def change(rule, state, started_at, at, value=0.5):
    return AlertChange(rule, state, started_at, at, "logloss", "1d", value, 0.6, "page")


@pytest.fixture
def store(open_store):
    return open_store("m", now=lambda: 9)


def test_an_alert_fires_and_is_resolved_in_place(store):
    store.commit(Checkpoint(b"", alerts=[change("r", "firing", 10, 10, 0.7), change("q", "firing", 11, 11)]))
    assert store.alerts()[1] == Alert("r", 10, "firing", None, "logloss", "1d", 0.7, 0.6, "page")
    store.commit(Checkpoint(b"", alerts=[change("r", "resolved", 10, 30, 0.4)]))
    assert store.alerts()[1] == Alert("r", 10, "resolved", 30, "logloss", "1d", 0.4, 0.6, "page")
    assert store.alerts()[0].state == "firing"


some_changes = st.lists(
    st.builds(
        change,
        st.sampled_from(["r", "q"]),
        st.sampled_from(["firing", "resolved"]),
        st.integers(0, 2),
        st.integers(3, 9),
        st.sampled_from([0.1, math.inf, -math.inf]),
    )
)


@settings(max_examples=25, deadline=None)
@given(some_changes, st.integers(0, 9))
def test_sent_again_in_order_alerts_end_the_same(fresh_store, changes, again_from):
    store = fresh_store()
    store.commit(Checkpoint(b"", alerts=changes))
    once = store.alerts()
    last = {(c.rule, c.started_at): (c.state, c.at if c.state == "resolved" else None, c.value) for c in changes}
    assert {(a.rule, a.started_at): (a.state, a.resolved_at, a.value) for a in once} == last
    store.commit(Checkpoint(b"", alerts=changes[again_from:]))
    assert store.alerts() == once
    store.close()


def test_an_undefined_value_stays_undefined(store):
    store.commit(Checkpoint(b"", alerts=[change("r", "firing", 1, 1, math.nan)]))
    assert math.isnan(store.alerts()[0].value)


def test_resolved_alerts_are_bounded(store, monkeypatch):
    monkeypatch.setattr(alerts, "KEEP", 3)
    old = [change("old", "firing", 0, 0)]
    store.commit(Checkpoint(b"", alerts=old + [change("r", "resolved", at, at) for at in range(1, 10)]))
    assert [alert.started_at for alert in store.alerts()] == [9, 8, 7, 0]  # what fires stays


def letter(position, **changed):
    fields = {"topic": "flights", "partition": "0", "reason": "no id", "payload": b"{}"} | changed
    return DeadLetter(position=position, **fields)


def test_a_dead_letter_is_kept_once_with_its_number(store):
    store.commit(Checkpoint(b"", dead_letters=[letter(1), letter(2)]))
    first = store.dead_letters(limit=9)
    assert [(found.id, found.at, found.letter) for found in first] == [(2, 9, letter(2)), (1, 9, letter(1))]
    store.commit(Checkpoint(b"", dead_letters=[letter(1), letter(2), letter(1, partition="1")]))
    assert store.dead_letters(limit=9)[1:] == first
    assert [found.letter.partition for found in store.dead_letters(limit=1)] == ["1"]


def test_what_a_message_says_cannot_stop_the_checkpoint(store):
    store.commit(Checkpoint(b"", dead_letters=[letter(np.int64(1), reason="bad \ud800 and \0", partition="\udcff")]))
    kept = store.dead_letters(limit=1)[0].letter
    assert (kept.position, kept.reason, kept.partition) == (1, "bad \\ud800 and \\0", "\\udcff")


def test_dead_letters_are_bounded(store, monkeypatch):
    monkeypatch.setattr(deadletters, "KEEP", 3)
    store.commit(Checkpoint(b"", dead_letters=[letter(position) for position in range(10)]))
    assert [found.letter.position for found in store.dead_letters(limit=99)] == [9, 8, 7]


def figures(at, value=0.5, *, window="1d", kind="outcomes"):
    return Figures(at, window, kind, {"logloss": value})


def test_the_history_of_metrics_is_read_in_the_order_of_time(store):
    written = [figures(3), figures(1, 0.1), figures(1, 0.2, window="7d"), figures(2, kind="traffic")]
    store.commit(Checkpoint(b"", history=written))
    assert store.history() == [written[1], written[2], written[3], written[0]]
    assert store.history(window="1d", kind="outcomes") == [written[1], written[0]]
    assert store.history(from_us=2) == [written[3], written[0]]


def test_figures_written_again_stand_once_with_their_last_values(store):
    store.commit(Checkpoint(b"", history=[figures(1, 0.1)]))
    store.commit(Checkpoint(b"", history=[figures(1, 0.2), figures(1, 0.2)]))
    assert store.history() == [figures(1, 0.2)]


def test_the_newest_figures_are_kept_and_those_of_other_models(store, monkeypatch):
    monkeypatch.setattr(history, "KEEP", 5)
    with store.database.writing() as connection:
        history.write_history(connection, "other", [figures(at) for at in range(9)])
    for at in range(20):
        store.commit(Checkpoint(b"", history=[figures(np.int64(at), np.float64(at))]))
        assert store.history() == [figures(kept, float(kept)) for kept in range(max(0, at - 4), at + 1)]
    with store.database.reading() as connection:
        assert len(history.read_history(connection, "other")) == 9
