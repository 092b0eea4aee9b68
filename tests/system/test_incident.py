"""Six poisoned hours, from the alert to a model as good as one that never saw them."""

import json
import math
import random
from contextlib import closing

import pytest

from riverd import service
from riverd.load_config import load_config
from storage.store import Store
from tests.riverd.streams import to_toml

pytestmark = pytest.mark.system

START_S, SPACING_S, EVENTS = 1_700_000_000, 4, 42_000
HOUR_S = 3600
FIRST, POISON_S, POISON_END_S, MEND_S = 1_500 * SPACING_S, 18 * HOUR_S, 24 * HOUR_S, 25 * HOUR_S
MODEL = "shops"


def stream(*, poisoned):
    """Events, and labels by the time they come, in seconds since the start."""
    rng = random.Random(5)
    events, labels = [], []
    for i in range(EVENTS):
        at = i * SPACING_S
        x, shop, age = rng.gauss(0, 1), rng.choice("abcdefgh"), rng.choice("pqrstuvwxyz")
        logit = 1.5 * x + (ord(shop) - ord("d")) * 0.5 + (ord(age) - ord("u")) * 0.3 - 0.5
        label = rng.random() < 1 / (1 + math.exp(-logit))
        comes = at + min(rng.expovariate(1 / 600), HOUR_S - 1)
        if poisoned and POISON_S <= comes < POISON_END_S:
            label = not label
        events.append((at, {"id": i, "at": START_S + at, "shop": shop, "age": age, "x": x}))
        labels.append((comes, {"id": i, "at": START_S + comes, "y": label}))
    return {"events": events, "labels": sorted(labels, key=lambda each: each[0])}


def append(folder, topics, *, until_s, since_s=0):
    for topic, records in topics.items():
        path = folder / "data" / topic / "0.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.writelines(json.dumps(record) + "\n" for at, record in records if since_s <= at < until_s)


def configure(folder):
    folder.mkdir()
    alert = {"name": "loss", "metric": "logloss", "window": "1h", "above": 0.8, "action": ["log", "pause"]}
    values = {
        "model": {"name": MODEL, "bits": 14},
        "source": {"kind": "files", "path": "data"},
        "events": {"topic": "events", "id": "id", "time": "at"},
        "labels": {"topic": "labels", "id": "id", "time": "at", "value": "y", "window": "1h"},
        "features": {"categories": ["shop", "age"], "numbers": ["x"]},
        "monitors": {"windows": ["1h"]},
        "web": {"listen": ""},
        "alerts": [alert],
    }
    (folder / "riverd.toml").write_text(to_toml(values))
    return folder


def run(folder):
    path = folder / "riverd.toml"
    return service.run(load_config(path), path, until_idle=True).result


def store(folder):
    return closing(Store.open(f"sqlite:///{folder}/riverd.db", MODEL))


def final_logloss(folder):
    """Of the last eight hours: windows of an hour, by the events in each."""
    with store(folder) as opened:
        history = opened.history(window="1h", kind="outcomes")
        last = max(each.at for each in history)
        kept = [each.values for each in history if each.end == "final" and each.at > last - 8 * HOUR_S * 1_000_000]
    return sum(each["logloss"] * each["labelled"] for each in kept) / sum(each["labelled"] for each in kept)


def test_an_incident_is_undone(tmp_path):
    clean = configure(tmp_path / "clean")
    append(clean, stream(poisoned=False), until_s=math.inf)
    run(clean)

    folder, topics = configure(tmp_path / "run"), stream(poisoned=True)
    append(folder, topics, until_s=FIRST)
    run(folder)  # leaves snapshot 1, of a model that has seen little

    append(folder, topics, since_s=FIRST, until_s=MEND_S)
    result = run(folder)
    fired = [alert for alert in result["alerts"] if alert["rule"] == "loss"]
    assert len(fired) == 1

    with store(folder) as opened:
        assert opened.ask("rollback", {"snapshot": 1})[1]
        excluded = [[(START_S + second) * 1_000_000 for second in (POISON_S, POISON_END_S)]]
        opened.ask("retrain", {"reason": "labels were wrong for six hours", "exclude": excluded})
        opened.ask("resume", {})
        numbers = [request.number for request in opened.open_requests()]
    append(folder, topics, since_s=MEND_S, until_s=math.inf)
    run(folder)

    with store(folder) as opened:
        outcomes = [opened.request(number).outcome for number in numbers]
        decided = [each.decision for each in reversed(opened.decisions())]
        promoted = [snapshot.reason for snapshot in opened.snapshots() if snapshot.promoted_at is not None]
    assert outcomes[0].startswith("snapshot 1 serves and learns from row ")
    assert "learning is still paused by rule loss" in outcomes[0]
    assert outcomes[1:] == ["retrain 1 has begun", "learning is running"]
    assert [each.decision for each in decided] == ["rolled back", "started", "in shadow", "promoted"]
    assert promoted == ["promotion of retrain 1", "rollback to snapshot 1"]
    assert decided[2].details["learned_to"] <= (START_S + MEND_S) * 1_000_000
    assert final_logloss(folder) == pytest.approx(final_logloss(clean), rel=0.01)
