"""The ids by which ``riverd init`` lets labels find their events."""

import json
import random

import pytest

from riverd.cli import main
from riverd.errors import RiverdError
from riverd.start.guess_join import guess_join
from riverd.start.guess_roles import guess_id
from tests.riverd.samples import START_S, events, labels_of, sample, shop, written

pytestmark = pytest.mark.usefixtures("home")


def test_labels_find_their_events_by_the_field_that_fits():
    some = events(500, id=lambda i: 10_000 + i, other=lambda i: i)
    labels = sample(labels_of(random.Random(1).sample(some, 300)), "labels.jsonl")
    join = guess_join(sample(some), labels, "ts", "ts")
    assert (join.event_id.value, join.label_id.value, join.matched) == ("id", "event", 1.0)
    assert set(join.delay_us.tolist()) == {60_000_000}


def test_text_and_number_are_one_id():
    some = events(100, id=lambda i: 900 + i)
    labels = [message | {"event": str(message["event"])} for message in labels_of(some)]
    assert guess_join(sample(some), sample(labels, "l.jsonl"), "ts", "ts").label_id.value == "event"


def test_messages_sent_twice_do_not_spoil_an_id():
    some = events(100)
    twice = sample([*some, *some[:80]])
    assert twice.repeated == 80
    assert guess_join(twice, sample(labels_of(some), "l.jsonl"), "ts", "ts").event_id.value == "id"
    assert guess_id(twice, {"ts"}).value == "id"


def test_labels_of_other_events_are_refused():
    labels = sample(labels_of(events(100, id=lambda i: f"x{i}"), seq=lambda i: i + 5000), "labels.jsonl")
    with pytest.raises(RiverdError, match=r"no field of it equals an id of events\.jsonl \(tried id\)"):
        guess_join(sample(events(100)), labels, "ts", "ts")


# Several fields together


def order_lines(count, seed=1):
    """Lines of orders, at most five each, a minute apart; no field is unique but the running number ``row``."""
    rng = random.Random(seed)
    lines = [(order, line) for order in range(count) for line in range(rng.randint(1, 5))][:count]
    return [
        {"row": i, "ts": START_S + 60 * i, "order": f"A{order}", "line": line, "shop": rng.choice("abc"),
         "pieces": rng.randint(1, 9), "back": rng.random() < 0.3}
        for i, (order, line) in enumerate(lines)
    ]  # fmt: skip


def parted(lines, *, keep=(), drop=("row",), rename=(), seed=2):
    """The lines as events without their outcome, and a label for most, in disorder."""
    rng = random.Random(seed)
    names = {"order": "order", "line": "line", "back": "back", **{name: name for name in keep}, **dict(rename)}
    told = [
        {names[key]: line[key] for key in names} | {"ts": line["ts"] + rng.randint(60, 3000)}
        for line in lines
        if rng.random() < 0.9
    ]
    events = [{key: value for key, value in line.items() if key not in ("back", *drop)} for line in lines]
    return sample(events), sample(sorted(told, key=lambda label: label["ts"]), "labels.jsonl")


@pytest.mark.parametrize("rename", [{}, {"order": "o", "line": "pos"}])
def test_where_no_field_alone_is_an_id_two_are(rename):
    events, labels = parted(order_lines(2000), rename=rename)
    join = guess_join(events, labels, "ts", "ts")
    assert join.event_id.value == ["order", "line"]
    assert join.label_id.value == [rename.get("order", "order"), rename.get("line", "line")]
    assert join.matched == 1.0
    assert join.delay_us.min() >= 60_000_000
    assert (
        f"unique together on 2,000 of 2,000 rows; {len(labels):,} of {len(labels):,} labels find" in join.event_id.why
    )


def test_each_label_finds_its_own_event_or_none():
    lines = order_lines(2000)
    _, labels = parted(lines)
    known = sample([{key: line[key] for key in ("ts", "order", "line")} for line in lines[:1500]])
    join = guess_join(known, labels, "ts", "ts")
    places = {(line["order"], line["line"]): place for place, line in enumerate(lines[:1500])}
    told = [json.loads(message) for message in labels.messages]
    expected = [places.get((label["order"], label["line"]), -1) for label in told]
    assert join.event.tolist() == expected
    assert 0.7 < join.matched < 0.8


def test_where_no_two_are_three_are():
    lines = [line | {"half": i % 2} for i, line in enumerate(order_lines(1000) * 2)]
    lines = [line | {"ts": START_S + 60 * i, "row": i} for i, line in enumerate(lines)]
    for i, line in enumerate(lines):
        line["half"] = i // 1000
    events, labels = parted(lines, keep=("half",))
    assert sorted(guess_join(events, labels, "ts", "ts").event_id.paths) == ["half", "line", "order"]


def test_a_good_id_is_not_given_up_for_two():
    events, labels = parted(order_lines(2000), keep=("row",), drop=())
    assert guess_join(events, labels, "ts", "ts").event_id.value == "row"
    events, labels = parted(order_lines(2000), drop=("row", "line"))
    with pytest.raises(RiverdError, match="nor do two or three together"):
        guess_join(events, labels, "ts", "ts")


def test_two_files_numbered_from_one_are_not_joined_by_the_numbers():
    lines = order_lines(2000)
    events, labels = parted(lines, drop=())
    told = [json.loads(message) | {"row": n} for n, message in enumerate(labels.messages)]
    join = guess_join(events, sample(told, "numbered.jsonl"), "ts", "ts")
    assert join.event_id.value == ["order", "line"]
    assert "row = row would match too, but find events in which these differ" in join.event_id.why
    # one field that differs may well be an update
    changed = [{key: value for key, value in label.items() if key != "line"} for label in told]
    assert guess_join(events, sample(changed, "changed.jsonl"), "ts", "ts").event_id.value == "row"


def test_values_that_many_events_share_are_no_id_together():
    events, labels = parted([line | {"line": line["line"] // 2} for line in order_lines(2000)])
    with pytest.raises(RiverdError, match="nor do two or three together"):
        guess_join(events, labels, "ts", "ts")
    visits = [{key: value for key, value in visit.items() if key != "id"} for visit in shop(1000)]
    labels = [{"shop": visit["shop"], "n": i, "ts": visit["ts"] + 60} for i, visit in enumerate(visits)]
    with pytest.raises(RiverdError, match="no field of the events is unique"):
        guess_join(sample(visits), sample(labels, "labels.jsonl"), "ts", "ts")


def test_several_fields_join_in_a_run_too(capsys):
    _, labels = parted(order_lines(2000))
    assert main(["init", "--sample", "events.jsonl", "--labels", "labels.jsonl"]) == 0
    assert "join      order + line = order + line within" in capsys.readouterr().out
    assert written()["events"]["id"] == written()["labels"]["id"] == ["order", "line"]
    assert written()["features"] == {"categories": ["shop", "pieces"], "numbers": [], "time_parts": []}
    assert main(["check"]) == 0
    capsys.readouterr()
    assert main(["run", "--until-idle", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert (counts["matched"], counts["orphan"], counts["dead"]) == (len(labels), 0, 0)
