"""What ``riverd init`` takes the fields of a sample for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from riverd.start.guess_features import area_alone, guess_features
from riverd.start.guess_roles import guess_time
from tests.riverd.samples import NO_LABELS, NOW_US, events, sample

pytestmark = pytest.mark.usefixtures("home")


@pytest.mark.parametrize(
    ("field", "kind", "why"),
    [
        (lambda i: "abc"[i % 3], "category", "3 values"),
        (lambda i: i % 2 == 0, "category", "2 values"),
        (lambda i: i % 5, "category", "5 whole numbers"),
        (lambda i: i * 37 % 101, "number", "0 to 100"),
        (lambda i: i / 3 if i % 4 else None, "number", "0.333333 to 133, 25% null"),
        (lambda i: i if i % 2 else f"x{i % 7}", "dropped", "occur once"),
        (lambda i: "ab"[i % 2] if i % 3 else i % 2, "category", "of several types"),
        ("x", "dropped", "always 'x'"),
        (None, "dropped", "empty"),
        ([1, 2], "dropped", "a list"),
        (lambda i: ["a", f"b{i % 5}"] if i % 3 else None, "words", "lists of text"),
        (lambda i: ["a"] if i % 3 else "a", "dropped", "a list"),
        (lambda i: f"free text {i}", "dropped", "400 of 400 values occur once"),
        (lambda i: f"2024-03-04T08:{i % 60:02}:00Z", "dropped", "a time"),
        (lambda i: i * 3, "dropped", "a counter"),
        (lambda i: "x" if i % 2 else None, "category", "1 value, 50% null"),
    ],
)
def test_a_feature(field, kind, why):
    [feature] = guess_features(sample(events(400, f=field)), {"id", "ts"}, *NO_LABELS)
    assert (feature.kind, why in feature.why) == (kind, True), feature


def test_names_tell_codes_from_numbers():
    some = events(400, shop_id=lambda i: i * 7 % 90, zip=lambda i: 10_000 + i % 50, user_id=lambda i: i * 7919 % 4001)
    kinds = {f.path: f.kind for f in guess_features(sample(some), {"id", "ts"}, *NO_LABELS)}
    assert kinds == {"shop_id": "category", "zip": "category", "user_id": "dropped"}


def debezium(row, **source):
    return {"payload": {"before": None, "after": row, "source": source, "op": "c", "ts_ms": 1000 * row["ts"]}}


def cloud_event(row):
    about = {"specversion": "1.0", "id": f"e{row['id']}", "source": "/shop", "type": "visit", "time": row["at"]}
    return about | {"data": {key: value for key, value in row.items() if key != "at"}}


def test_envelopes_are_opened():
    rows = events(100, at=lambda i: f"2024-03-04T08:{i // 60:02}:{i % 60:02}Z", shop=lambda i: "ab"[i % 2])
    changes = sample(debezium(row, lsn=row["id"]) for row in rows)
    assert changes.envelope == "Debezium"
    assert guess_time(changes, now_us=NOW_US).path == "payload.ts_ms"
    why = {f.path: f.why for f in guess_features(changes, set(), *NO_LABELS)}
    assert why["payload.source.lsn"] == "part of the envelope"
    wrapped = sample(map(cloud_event, rows))
    assert wrapped.envelope == "CloudEvents"
    assert guess_time(wrapped, now_us=NOW_US).path == "time"
    kept = {f.path: f.kind for f in guess_features(wrapped, {"id", "time"}, *NO_LABELS) if f.kind != "dropped"}
    assert kept == {"data.shop": "category"}
    assert sample(events(10, source={"medium": "ad"})).envelope is None


@pytest.mark.parametrize(
    ("wrap", "path"),
    [(dict, "tags"), (debezium, "payload.after.tags"), (lambda row: {"data": {"x": row}}, "data.x.tags")],
)
def test_lists_of_text_are_words_wherever_they_stand(wrap, path):
    rows = events(100, tags=lambda i: ["new", f"t{i % 3}"] if i % 5 else [], mixed=lambda i: ["a", i], deep=[["a"]])
    kinds = {f.path: f.kind for f in guess_features(sample(map(wrap, rows)), set(), *NO_LABELS)}
    assert [name for name, kind in kinds.items() if kind == "words"] == [path]
    assert kinds[path.replace("tags", "mixed")] == kinds[path.replace("tags", "deep")] == "dropped"


def test_dots_in_names_are_no_paths():
    assert set(sample([{"a.b": {"c": 1}}]).columns) == {"a\\.b.c"}


@given(
    st.lists(st.tuples(st.one_of(st.none(), st.integers(-3, 3)), st.booleans()), min_size=40, max_size=120),
)
def test_a_number_alone_ranks_as_scikit_learn_says(pairs):
    label = np.array([y for _, y in pairs])
    values = [x for x, _ in pairs]
    area = area_alone(values, label, as_number=True)
    if min(label.sum(), (~label).sum()) < 20:
        assert area is None
        return
    scores = [[-9 if x is None else x for x in values], [x is not None for x in values]]
    areas = [roc_auc_score(label, score) for score in scores]
    assert area == pytest.approx(max(max(a, 1 - a) for a in areas))


def test_values_that_occur_once_tell_nothing():
    label = np.random.default_rng(1).random(1000) < 0.5
    assert area_alone([f"id{i}" for i in range(1000)], label, as_number=False) < 0.55
    assert area_alone(["yes" if y else "no" for y in label], label, as_number=False) == 1.0
