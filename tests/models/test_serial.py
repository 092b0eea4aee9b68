"""A model as bytes: nothing is lost, nothing moves, and nothing that is damaged is taken for a model."""

import json
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from models.logistic_regression import LogisticRegression
from models.serial import BEGIN, MAGIC

GOLDEN = Path(__file__).with_name("model_v1.bin")
KINDS = (
    {"bits": 10, "crosses": [("a", "b")]},
    {"bits": 3, "l2": 0.25},
    {"bits": 10, "expert": "ftrl", "alpha": 0.07, "beta": 0.5, "l1": 0.1, "l2": 1e-3},
)
values = st.one_of(st.sampled_from(["x", "y", None, True, ["a", "b"], 1e99]), st.floats(-5, 5))
events = st.dictionaries(st.sampled_from("abcdeß"), values, max_size=5)


@settings(deadline=None)
@given(
    before=st.lists(st.tuples(events, st.booleans()), max_size=90),
    after=st.lists(st.tuples(events, st.booleans()), max_size=10),
    parameters=st.sampled_from(KINDS),
)
def test_what_was_stored_goes_on_as_if_it_had_never_stopped(before, after, parameters):
    model = LogisticRegression(**parameters)
    asked = [model.ask(x) for x, _ in before]
    for prediction, (_, label) in list(zip(asked, before, strict=True))[::2]:
        model.learn(prediction, label, 3.0)
    digest, blob = model.sha256, model.to_bytes()
    assert (model.sha256, model.to_bytes()) == (digest, blob)
    restored = LogisticRegression.from_bytes(blob)
    assert restored.to_bytes() == blob
    assert restored._get_params() == model._get_params() == LogisticRegression(**parameters)._get_params()
    for one in (model, restored):
        for prediction, (_, label) in list(zip(asked, before, strict=True))[1::2]:  # asked before it was stored
            one.learn(prediction, label)
        for x, label in after:
            one.learn_one(x, label)
    assert restored.sha256 == model.sha256
    assert [restored.ask(x).logit for x, _ in before] == [model.ask(x).logit for x, _ in before]


def test_equal_models_have_equal_bytes_and_few_of_them():
    one, other = LogisticRegression(), LogisticRegression()
    for model in (one, other):
        for i in range(100):
            model.learn_one({"n": i % 7, "c": str(i % 3)}, i % 2)
    assert one.to_bytes() == other.to_bytes()
    assert len(one.to_bytes()) < 4000  # not the 2^18 slots


def small():
    model = LogisticRegression(bits=4, crosses=[("a", "b")])
    for i in range(80):
        model.learn_one({"a": "xyz"[i % 3], "b": i % 5 == 0, "n": i % 11, "m": None if i % 4 else i / 8}, i % 3 == 1)
    return model


def test_a_model_of_version_1_is_still_read():
    # made by small().to_bytes(); it stays as it is, whatever becomes of the learner
    model = LogisticRegression.from_bytes(GOLDEN.read_bytes())
    assert model.to_bytes() == GOLDEN.read_bytes()
    expected = [0.035, 0.931, 0.045]
    said = [model.ask({"a": a, "b": False, "n": 3, "m": None}).probability for a in "xyz"]
    assert said == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("place", range(0, 400, 7))
def test_a_byte_that_changed_is_noticed(place):
    blob = bytearray(small().to_bytes())
    blob[place * len(blob) // 400] ^= 4
    with pytest.raises(ValueError, match="model"):
        LogisticRegression.from_bytes(bytes(blob))


@pytest.mark.parametrize("blob", [b"", b"x", MAGIC, MAGIC + b"12345678", small().to_bytes()[:-1]], ids=len)
def test_what_is_cut_off_is_no_model(blob):
    with pytest.raises(ValueError, match=r"no model|damaged"):
        LogisticRegression.from_bytes(blob)


def forged(change):
    """A small model's bytes with its header changed, and a digest that fits."""
    body = small().to_bytes()[BEGIN:]
    begin = body.index(b"{", body.index(b"}"))  # behind the first array's own header
    text, _ = json.JSONDecoder().raw_decode(body[begin:].decode("latin-1"))
    old = json.dumps(text)
    new = json.dumps(change(text))
    body = body.replace(old.encode(), new.encode()).replace(b"(%d,)" % len(old), b"(%d,)" % len(new), 1)
    return MAGIC + xxhash.xxh3_64_digest(body) + body


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda header: {**header, "version": 2}, "stored in version 2, and this riverd reads 1"),
        (lambda header: {**header, "parameters": {**header["parameters"], "bits": 2}}, "does not exist"),
        (lambda header: {**header, "columns": ["n"]}, "statistics have another shape"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        LogisticRegression.from_bytes(forged(change))


def test_the_forger_forges_nothing_where_nothing_changes():
    assert LogisticRegression.from_bytes(forged(lambda header: header)).sha256 == small().sha256


def test_slots_that_do_not_exist_are_refused():
    model = small()
    model._state.sampled[0] = 65
    with pytest.raises(ValueError, match="a place in it does not exist"):
        LogisticRegression.from_bytes(model.to_bytes())
    assert np.any(small()._state.sampled == 64)
