"""Requests to the daemon: asked once under one key, open until their effect is stored, bounded."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import requests
from storage.checkpoint import Checkpoint
from storage.requests import Done


@pytest.fixture
def store(fresh_store):
    return fresh_store(now=lambda: 7)


def numbers(store):
    return [request.number for request in store.open_requests()]


def finish(store, *done):
    store.commit(Checkpoint(b"", done=[Done(number, "done") for number in done]))


def test_a_request_is_open_until_the_checkpoint_with_its_effect(store):
    number, is_new = store.ask("retrain", {"reason": "because", "exclude": [[1, 2]]})
    assert is_new
    [request] = store.open_requests()
    assert (request.number, request.what, request.created_at) == (number, "retrain", 7)
    assert request.arguments == {"reason": "because", "exclude": [[1, 2]]}
    assert (request.done_at, request.outcome) == (None, None)
    finish(store, number)
    assert store.open_requests() == []
    assert store.request(number).outcome == "done"


def test_without_a_key_each_is_another(store):
    first, second = (store.ask("cancel", {}) for _ in range(2))
    assert first[0] != second[0]
    assert first[1]
    assert second[1]


def test_one_new_key_makes_a_request_and_all_are_known_from_then_on(store):
    first = store.ask("retrain", {}, keys=["a"])
    assert store.ask("retrain", {}, keys=["a"]) == (first[0], False)
    second, is_new = store.ask("retrain", {"reason": "b and c"}, keys=["a", "b", "c", "b"])
    assert is_new
    assert numbers(store) == [first[0], second]
    for keys in (["b"], ["c"], ["c", "b"], ["b", "a"]):
        assert store.ask("retrain", {}, keys=keys) == (second, False)
    assert store.ask("retrain", {}, keys=["a", "c"]) == (first[0], False)
    assert numbers(store) == [first[0], second]


def test_a_key_stays_known_when_the_request_is_done(store):
    number, _ = store.ask("retrain", {}, keys=["a", "b"])
    finish(store, number)
    for key in "ab":
        assert store.ask("retrain", {}, keys=[key]) == (number, False)
    assert store.open_requests() == []


def test_another_model_has_keys_of_its_own(open_store):
    one, other = open_store("one"), open_store("other", ready=False)
    one.ask("retrain", {}, keys=["a"])
    assert other.open_requests() == []
    assert other.ask("retrain", {}, keys=["a"])[1]


def test_those_that_are_done_are_bounded_and_the_open_ones_stay(store, monkeypatch):
    monkeypatch.setattr(requests, "KEEP", 3)
    old, _ = store.ask("retrain", {}, keys=["old"])
    done = [store.ask("retrain", {}, keys=[str(i), f"{i}b"])[0] for i in range(5)]
    finish(store, *done)
    assert numbers(store) == [old]
    assert not store.ask("retrain", {}, keys=["4b"])[1]
    assert store.ask("retrain", {}, keys=["0"])[1], "it is forgotten"


@settings(max_examples=30, deadline=None)
@given(asked=st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4), max_size=12))
def test_against_a_set_of_keys(fresh_store, asked):
    store = fresh_store()
    known, made = set(), []
    for keys in asked:
        number, is_new = store.ask("retrain", {"keys": keys}, keys=keys)
        assert is_new == (not known >= {*keys})
        known |= {*keys}
        made += [number] * is_new
    assert numbers(store) == made
