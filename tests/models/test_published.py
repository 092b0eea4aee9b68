"""A published state says what the model said at that moment, however much it has learned since."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.logistic_regression import LogisticRegression
from models.published import state_of
from models.serial import pack
from tests.models.test_stream_model import (
    BASE,
    CROSSES,
    KINDS,
    NUMBERS,
    dict_of,
    event,
    events_of,
    new_pair,
    ops_of,
    rows_for,
    script,
    stories,
)

ROUNDING = 2e-5  # of float32 weights, in sums of a few dozen


def learn(model, told):
    events = events_of([event for event, *_ in told])
    model.run(ops_of(script(told)), rows_for(len(told), model), BASE, events)


def client_of(whole_state, *, bits, expert="mixture", **constants):
    """The whole model of that state, as somebody serves with it."""
    blank = LogisticRegression(bits=bits, expert=expert, crosses=CROSSES, **constants)
    state = state_of(whole_state, slots=(1 << bits) + 1)
    return LogisticRegression.from_bytes(pack(blank._get_params(), sorted(NUMBERS), state))


def served_logit(client, x):
    p = client.predict_proba_one(x)[True]
    return math.log(p) - math.log1p(-p)


@settings(deadline=None)
@given(
    before=st.lists(st.tuples(event, st.sampled_from(["learn", "drop", "pending"]), st.booleans(), st.just(0))),
    after=stories,
    asked=st.lists(event, min_size=1, max_size=5),
    bits=st.sampled_from([2, 10]),
    kind=st.sampled_from(KINDS),
)
def test_it_says_what_the_whole_model_said_then(before, after, asked, bits, kind):
    model, _ = new_pair(bits=bits, **kind)
    learn(model, before)
    whole_state = model.whole_state()
    published, client = model.publish(whole_state), client_of(whole_state, bits=bits, **kind)
    learn(model, after)
    own = model.logits_by(published, events_of(asked), np.arange(len(asked)))
    expected = [served_logit(client, dict_of(x)) for x in asked]
    np.testing.assert_allclose(own, expected, rtol=1e-5, atol=ROUNDING)


def test_asking_moves_nothing():
    model, _ = new_pair()
    learn(model, [(("x", "y", None, 1.0, 2.0, 3.0), "learn", True, 0)] * 20)
    published, before = model.publish(model.whole_state()), model.sha256
    events = events_of([("x", "y", None, 1.0, math.nan, 30.0)] * 3)
    first, *others = model.logits_by(published, events, np.array([2, 0, 1])).tolist()
    assert others == [first, first]
    assert model.sha256 == before
    assert first != 0.0


def test_many_labels_later_it_still_says_the_same_to_five_digits():
    model, _ = new_pair()
    rng = np.random.default_rng(4)
    stream = [
        (
            ("xy"[i % 2], rng.choice(["x", None]), "7", *rng.normal(5.0, 2.0, 3)),
            "learn",
            rng.random() < 0.3 + 0.4 * (i % 2),
            0,
        )
        for i in range(4000)
    ]
    learn(model, stream)
    whole_state = model.whole_state()
    client = client_of(whole_state, bits=10)
    asked = [event for event, *_ in stream[:500]]
    own = model.logits_by(model.publish(whole_state), events_of(asked), np.arange(500))
    np.testing.assert_allclose(own, [served_logit(client, dict_of(x)) for x in asked], atol=1e-5)
    assert own.std() > 0.1
