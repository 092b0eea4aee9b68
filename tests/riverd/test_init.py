"""What ``riverd init`` makes of samples: right where they say enough, and a question where they do not."""

import json
import random
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from riverd.cli import main
from riverd.durations import UNITS_US, format_duration, parse_duration
from riverd.errors import RiverdError
from riverd.load_config import load_config, parse_config
from riverd.start.guess_features import area_alone, guess_features
from riverd.start.guess_roles import guess_id, guess_join, guess_label, guess_time
from riverd.start.guess_windows import guess_join_window, guess_windows, round_up
from riverd.start.sample import read_sample
from riverd.start.toml_text import toml

START_S = 1_700_000_000
NOW_US = 1_800_000_000 * 1_000_000
EVERYTHING = np.zeros(0, np.int64), np.zeros(0, np.bool_)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def sample(messages, name="events.jsonl"):
    Path(name).write_text("".join(f"{json.dumps(message)}\n" for message in messages), encoding="utf-8")
    return read_sample(Path(name), at_most=100_000)


def events(count, **fields):
    """Messages with an id and a time; a field is a value or a function of the number."""
    return [
        {"id": i, "ts": START_S + i} | {name: f(i) if callable(f) else f for name, f in fields.items()}
        for i in range(count)
    ]


# The time


@pytest.mark.parametrize(
    ("fields", "chosen"),
    [
        ({}, "ts"),
        (
            {
                "ts": lambda i: 1_600_000_000 + i * 7919 % 100,
                "at": lambda i: f"2024-03-04T08:{i // 60:02}:{i % 60:02}Z",
            },
            "at",
        ),
        ({"ts": None, "made": lambda i: (START_S + i) * 1000}, "made"),
        ({"ts": None, "x": {"created_at": "2024-03-04T08:00:00Z"}, "y": lambda i: {"time": START_S + i}}, "y.time"),
        ({"price": lambda i: 1_000_000_000 + 37 * (i % 50)}, "ts"),  # could be seconds, and is not called so
        ({"other_time": lambda i: START_S + (50 - i) % 50}, "ts"),  # not in order
    ],
)
def test_the_time(fields, chosen):
    assert guess_time(sample(events(200, **fields)), now_us=NOW_US).path == chosen


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (None, "no field holds a time in every message"),
        (START_S * 1_000_000, "microseconds or nanoseconds"),
        (lambda i: 4_000_000_000 + i, "no field holds a time"),  # the future
        (lambda i: START_S + i if i % 10 else None, "no field holds a time"),
        (True, "no field holds a time"),
    ],
)
def test_no_time(field, message):
    with pytest.raises(RiverdError, match=message) as fault:
        guess_time(sample(events(100, ts=field)), now_us=NOW_US)
    assert "\n  " in str(fault.value)


# The id and the join


def labels_of(messages, delay_s=60, **fields):
    return [
        {"seq": n, "event": m["id"], "ts": m["ts"] + delay_s} | {k: f(n) for k, f in fields.items()}
        for n, m in enumerate(messages)
    ]


def test_labels_find_their_events_by_the_field_that_fits():
    some = events(500, id=lambda i: 10_000 + i, other=lambda i: i)
    labels = sample(labels_of(random.Random(1).sample(some, 300)), "labels.jsonl")
    join = guess_join(sample(some), labels, "ts", "ts")
    assert (join.event_id.path, join.label_id.path, join.matched) == ("id", "event", 1.0)
    assert set(join.delay_us.tolist()) == {60_000_000}


def test_text_and_number_are_one_id():
    some = events(100, id=lambda i: 900 + i)
    labels = [message | {"event": str(message["event"])} for message in labels_of(some)]
    assert guess_join(sample(some), sample(labels, "l.jsonl"), "ts", "ts").label_id.path == "event"


def test_messages_sent_twice_do_not_spoil_an_id():
    some = events(100)
    twice = sample([*some, *some[:80]])
    assert twice.repeated == 80
    assert guess_join(twice, sample(labels_of(some), "l.jsonl"), "ts", "ts").event_id.path == "id"
    assert guess_id(twice, {"ts"}).path == "id"


def test_labels_of_other_events_are_refused():
    labels = sample(labels_of(events(100, id=lambda i: f"x{i}"), seq=lambda i: i + 5000), "labels.jsonl")
    with pytest.raises(RiverdError, match=r"no field of it equals an id of events\.jsonl \(tried id\)"):
        guess_join(sample(events(100)), labels, "ts", "ts")


# The label


def test_one_candidate_is_taken():
    assert (
        guess_label(
            sample(events(50, late=lambda i: i % 2, x=lambda i: i % 2)), {"id"}, wanted=None, in_events=True
        ).path
        == "late"
    )
    assert guess_label(sample(events(50, odd=lambda i: i % 2 == 1)), {"id"}, wanted=None, in_events=True).path == "odd"
    assert guess_label(sample(events(50, v=lambda i: i % 2)), {"id"}, wanted=None, in_events=False).path == "v"
    assert guess_label(sample(events(50)), {"id", "ts"}, wanted=None, in_events=False) is None  # labels mean positive


def test_of_several_candidates_none_is_guessed():
    several = sample(events(100, late=lambda i: i % 4 == 0, clicked=lambda i: i % 2))
    with pytest.raises(RiverdError, match="several fields could be the label") as fault:
        guess_label(several, {"id", "ts"}, wanted=None, in_events=True)
    assert "--label late                     25.0 % of 100 are positive" in str(fault.value)
    assert "--label clicked" in str(fault.value)
    assert guess_label(several, {"id", "ts"}, wanted="clicked", in_events=True).path == "clicked"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("lat", "has no such field"),
        ("id", r"holds 0, 1, 2, 3; a label is true or false"),
        (None, "no field holds a label"),
    ],
)
def test_no_label(wanted, message):
    with pytest.raises(RiverdError, match=message):
        guess_label(sample(events(50)), {"ts"}, wanted=wanted, in_events=True)


# The features


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
    [feature] = guess_features(sample(events(400, f=field)), {"id", "ts"}, *EVERYTHING)
    assert (feature.kind, why in feature.why) == (kind, True), feature


def test_names_tell_codes_from_numbers():
    some = events(400, shop_id=lambda i: i * 7 % 90, zip=lambda i: 10_000 + i % 50, user_id=lambda i: i * 7919 % 4001)
    kinds = {f.path: f.kind for f in guess_features(sample(some), {"id", "ts"}, *EVERYTHING)}
    assert kinds == {"shop_id": "category", "zip": "category", "user_id": "dropped"}


def test_envelopes_are_opened():
    change = [{"payload": {"before": None, "after": m, "source": {"lsn": m["id"]}, "op": "c"}} for m in events(100)]
    opened = sample(change)
    assert opened.envelope == "Debezium"
    assert guess_time(opened, now_us=NOW_US).path == "payload.after.ts"
    why = {f.path: f.why for f in guess_features(opened, set(), *EVERYTHING)}
    assert why["payload.source.lsn"] == "part of the envelope"
    cloud = [{"specversion": "1.0", "id": str(m["id"]), "time": "x", "data": m} for m in events(100)]
    assert sample(cloud).envelope == "CloudEvents"
    assert sample(events(10, source={"medium": "ad"})).envelope is None


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


# Windows


@given(st.integers(0, 5000 * UNITS_US["d"]))
def test_rounding_up(duration_us):
    rounded = round_up(duration_us)
    assert rounded >= max(duration_us, UNITS_US["m"])
    assert parse_duration(format_duration(min(rounded, 3660 * UNITS_US["d"]))) == min(rounded, 3660 * UNITS_US["d"])


def test_the_join_window_holds_nearly_all():
    delays = np.concatenate(
        [np.full(9_990, 50 * UNITS_US["m"]), np.full(10, 40 * UNITS_US["d"]), [-3 * UNITS_US["m"]] * 50]
    )
    guess = guess_join_window(delays)
    assert (guess.window_us, guess.early_us) == (UNITS_US["h"], 5 * UNITS_US["m"])


@given(
    st.integers(UNITS_US["m"], 3000 * UNITS_US["d"]),
    st.integers(1, 10**8),
    st.floats(0, 1),
    st.sampled_from([0, 1, 60, 1440, 43_200, 525_600]),
)
def test_windows_always_fit_the_config(span_us, labelled, share, join_minutes):
    join_us = join_minutes * UNITS_US["m"]
    windows = guess_windows(span_us=span_us, labelled=labelled, positive_share=share, join_window_us=join_us)
    labels = {"topic": "l", "id": "i", "time": "t", "window": format_duration(join_us)}
    values = {
        "model": {"name": "m"},
        "events": {"topic": "e", "id": "i", "time": "t"},
        "labels": labels,
        "features": {"numbers": ["x"]},
        "monitors": {"windows": [format_duration(us) for us in windows.lengths_us]},
    }
    assert parse_config(values, "").monitors.tick_us == windows.tick_us


# The whole


def coin(i, seed=3):
    return random.Random(seed * 1_000_003 + i).random()


def shop(count):
    """Visits a minute apart; a purchase is likelier in one shop."""
    return events(
        count,
        ts=lambda i: START_S + 60 * i,
        shop=lambda i: "abcd"[int(coin(i) * 4)],
        amount=lambda i: round(100 * coin(i, 5), 2),
        bought=lambda i: coin(i, 7) < (0.7 if coin(i) > 0.75 else 0.2),
    )


def written():
    return tomllib.loads(Path("riverd.toml").read_text(encoding="utf-8"))


def test_from_a_file_to_a_run_without_an_edit(capsys):
    sample(shop(4000), "visits.jsonl")
    assert main(["init", "--sample", "visits.jsonl"]) == 0
    said = capsys.readouterr().out
    assert "label     bought: the only true or false" in said
    assert "Next:  riverd check" in said
    values = written()
    assert values["model"]["name"] == "home"
    assert values["events"] == {"topic": "visits", "id": "id", "time": "ts", "label": "bought"}
    assert values["features"] == {"categories": ["shop"], "numbers": ["amount"], "time_parts": ["hour"]}
    assert [rule["name"] for rule in values["alerts"]] == [
        "worse-than-usual",
        "more-positives-than-predicted",
        "fewer-positives-than-predicted",
    ]
    assert main(["check"]) == 0
    capsys.readouterr()
    assert main(["run", "--until-idle", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["counts"]["resolved"] == 4000
    assert result["alerts"] == []


def test_csv_and_disorder_are_put_right(capsys):
    rows = shop(500)
    random.Random(1).shuffle(rows)
    lines = [",".join(map(str, row.values())) for row in rows]
    Path("visits.csv").write_text("\n".join([",".join(rows[0]), *lines]), encoding="utf-8")
    assert main(["init", "--sample", "visits.csv"]) == 0
    assert "500 messages, put in order of time" in capsys.readouterr().out
    imported = [json.loads(line)["ts"] for line in Path("data/visits/visits.jsonl").read_bytes().splitlines()]
    assert imported == sorted(imported)


def test_events_sent_twice_are_learned_once(capsys):
    visits = [visit | {"tags": ["new", f"t{visit['id'] % 3}"]} for visit in shop(500)]
    sample([*visits[:250], *visits[240:]], "visits.jsonl")
    assert main(["init", "--sample", "visits.jsonl"]) == 0
    assert written()["events"]["dedupe"] == "1d"
    assert written()["features"]["words"] == ["tags"]
    capsys.readouterr()
    assert main(["check"]) == 0
    capsys.readouterr()
    assert main(["run", "--until-idle", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert (counts["resolved"], counts["duplicate_events"]) == (500, 10)


def test_labels_without_a_value_mean_positive():
    visits = shop(2000)
    sample([{k: v for k, v in visit.items() if k != "bought"} for visit in visits], "visits.jsonl")
    sample([{"visit": v["id"], "at": v["ts"] + 100} for v in visits if v["bought"]], "purchases.jsonl")
    assert main(["init", "--sample", "visits.jsonl", "--labels", "purchases.jsonl"]) == 0
    labels = written()["labels"]
    assert labels == {
        "topic": "purchases", "id": "visit", "time": "at", "window": "2m", "early_window": "1m", "missing": "negative",
    }  # fmt: skip


def test_labels_that_all_say_yes_mean_positive_too():
    visits = shop(1000)
    sample([{k: v for k, v in visit.items() if k != "bought"} for visit in visits], "visits.jsonl")
    sample([{"id": v["id"], "ts": v["ts"] + 9, "bought": True} for v in visits if v["bought"]], "purchases.jsonl")
    assert main(["init", "--sample", "visits.jsonl", "--labels", "purchases.jsonl"]) == 0
    assert "value" not in written()["labels"]
    assert written()["labels"]["missing"] == "negative"


def test_one_class_that_comes_later_is_learned_at_maturity():
    visits = shop(2000)
    sample([{k: v for k, v in visit.items() if k != "bought"} for visit in visits], "visits.jsonl")
    late = [{"id": v["id"], "ts": v["ts"] + (9000 if v["bought"] else 600), "y": v["bought"]} for v in visits]
    sample(sorted(late, key=lambda label: label["ts"]), "labels.jsonl")
    assert main(["init", "--sample", "visits.jsonl", "--labels", "labels.jsonl"]) == 0
    assert written()["labels"]["learn"] == "maturity"
    assert written()["labels"]["window"] == "3h"


def test_a_leak_is_left_out_and_said(capsys):
    sample([visit | {"refund": 5.0 if visit["bought"] else 0.5 * coin(visit["id"], 9)} for visit in shop(500)])
    assert main(["init", "--sample", "events.jsonl"]) == 0
    assert written()["features"]["numbers"] == ["amount"]
    assert '# "refund"                          # ranks the labels alone, AUC 1.000' in Path("riverd.toml").read_text()
    assert "leak?     refund" in capsys.readouterr().out


def test_topic_folders_are_used_where_they_lie():
    Path("there/visits").mkdir(parents=True)
    sample(shop(300), "there/visits/0.jsonl")
    assert main(["init", "--sample", "there/visits", "--out", "conf/shop.toml"]) == 0
    config = load_config(Path("conf/shop.toml"))
    assert (config.source.path, config.events.topic) == ("../there", "visits")
    assert not Path("conf/data").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sample", "none.jsonl", "--out", "x.toml"], "none.jsonl can't be read"),
        (["--sample", "events.jsonl"], "riverd.toml exists already"),
        (["--sample", "events.jsonl", "--out", "x.toml", "--labels", "folder"], "does not lie beside it"),
        (["--sample", "bare.jsonl", "--out", "x.toml"], "no field is a feature"),
        (["--sample", "lists.jsonl", "--out", "x.toml"], "none of 2 messages is a JSON object"),
    ],
)
def test_refusals_write_nothing(arguments, message, capsys):
    Path("riverd.toml").touch()
    Path("folder").mkdir()
    sample(shop(100))
    sample([{k: v for k, v in visit.items() if k in ("id", "ts", "bought")} for visit in shop(100)], "bare.jsonl")
    Path("lists.jsonl").write_text("1\n2\n", encoding="utf-8")
    assert main(["init", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "\n  " in error
    assert not Path("data").exists()
    assert not Path("x.toml").exists()


def test_force_writes_the_config_anew_and_leaves_topics(capsys):
    sample(shop(300))
    assert main(["init", "--sample", "events.jsonl"]) == 0
    Path("riverd.toml").write_text("spoilt", encoding="utf-8")
    capsys.readouterr()
    assert main(["init", "--sample", "events.jsonl", "--force", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kept"] == ["data/events/events.jsonl"]
    assert told["imported"] == []
    assert told["values"] | {"alerts": []} == {k: v for k, v in written().items() if k not in ("source", "storage")} | {
        "alerts": []
    }


text = st.text(st.characters(blacklist_categories=("Cs",)))


@given(
    st.recursive(
        st.one_of(
            text, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)
        ),
        st.lists,
    )
)
def test_values_are_written_as_toml(value):
    assert tomllib.loads(f"x = {toml(value)}") == {"x": value}
