"""Clients that serve by themselves, honest and skewed, and engines that check them."""

import json
from datetime import datetime
from functools import cache

import numpy as np

from monitors.skew import RESULTS
from riverd.checkpointing import Checkpointer
from riverd.published_states import model_of_snapshot, publish_stored_states
from storage.store import Store
from stream.memory import MemorySource
from stream.source import Partition
from tests.riverd.streams import (
    engine_on,
    finish,
    labelled,
    labelled_config,
)

LEARNED = 2_000  # events before the client begins to serve
FIELDS = {"score": "served.p", "version": "served.v", "row_hash": "row"}


def configured(poll_records=8192, **skew):
    monitors = {"windows": ["1d"], "slices": []}
    return labelled_config(skew=FIELDS | skew, source={"poll_records": poll_records}, monitors=monitors, alerts=[])


@cache
def stream(count):
    """The events in order of time."""
    halves = labelled(count, seed=4).values()
    return sorted((json.loads(message) for half in halves for message in half), key=lambda event: event["at"])


def topics_of(events):
    """In two partitions."""
    messages = [json.dumps(event).encode() for event in events]
    return {Partition("events", str(i)): messages[i::2] for i in range(2)}


def begun():
    """A store with two snapshots: versions 1 and 2, and the second is of other weights."""
    store = Store.open("sqlite://", "shops", now=lambda: 7)
    store.acquire()
    assert store.load() is None
    engine = engine_on(MemorySource(topics_of(stream(LEARNED))), configured(poll_records=500))
    checkpointer = Checkpointer(engine)
    for steps in (1, 1_000):
        for _ in range(steps):
            engine.step()
        capture = checkpointer.capture(with_snapshot=True)
        store.commit(capture.encode("periodic"))
        checkpointer.saved(capture)
    assert engine.finished
    assert engine.parts.skew.versions == [1, 2]
    assert [snapshot.checkpoint for snapshot in store.snapshots()] == [2, 1]
    return store


learned = cache(begun)


@cache
def client(version):
    return model_of_snapshot(learned().snapshot(version))


def encoded(event):
    """What a client gives to the model."""
    at = datetime.fromisoformat(event["at"])
    x = {name: event[name] for name in ("shop", "x", "amount")}
    return x | {"user": str(event["user"]), "hour": str(at.hour), "weekday": at.strftime("%A").lower()}


def in_cents(x):
    return x | {"amount": 100 * x["amount"]}


def serve(event, *, version=2, by=2, seen=lambda x: x, hashed=lambda x: x, rounded=np.float32):
    """The event with what the client logs; ``seen`` by the model, ``hashed`` are its features as it takes them."""
    x = encoded(event)
    p = client(by).predict_proba_one(seen(x))[True]
    row = client(by).row_hash(hashed(x))
    return event | {"served": {"p": float(rounded(p)), "v": version}, "row": f"{row:016x}"}


def honest(event):
    return serve(event)


def restored(store, source, config):
    """A process that goes on where the store stands."""
    engine = engine_on(source, config)
    loaded = store.load()
    checkpointer = Checkpointer(engine)
    checkpointer.restore(loaded)
    publish_stored_states(engine.parts.skew, store, up_to=loaded.number)
    return engine, checkpointer


def run(events, config=None, source=MemorySource):
    engine, _ = restored(learned(), source(topics_of(events)), config or configured())
    finish(engine)
    return engine


def alerts_of(engine):
    return [change for change in engine.recent_alerts if change.rule == "serving-skew"]


def after(*clients, each=1_500):
    """The stream that was learned, and then what each client in turn served."""
    events = stream(LEARNED + each * len(clients))
    return events[:LEARNED] + [
        serves(event)
        for turn, serves in enumerate(clients)
        for event in events[LEARNED + turn * each : LEARNED + (turn + 1) * each]
    ]


def results(engine):
    counts = dict(zip(RESULTS, engine.parts.skew.window.counts.tolist(), strict=True))
    return {name: count for name, count in counts.items() if count}


def place(change, events):
    """How many events the client had served when the alert fired."""
    at = datetime.fromtimestamp(change.at / 1e6).astimezone()
    return sum(datetime.fromisoformat(event["at"]) <= at for event in events[LEARNED:])
