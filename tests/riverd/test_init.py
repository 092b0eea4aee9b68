"""``riverd init`` from samples to a config and topics that run without an edit."""

import json
import random
from pathlib import Path

import pytest

from riverd.cli import main
from riverd.load_config import load_config
from tests.riverd.samples import coin, sample, shop, written

pytestmark = pytest.mark.usefixtures("home")


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
