"""The label that ``riverd init`` finds, and which of its values are positive."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverd.cli import main
from riverd.errors import RiverdError
from riverd.start.guess_label import guess_label
from riverd.start.guess_positive import groups_of, obvious, rarest
from riverd.start.sample import Column
from stream.columns import outcomes_by_value
from tests.riverd.samples import events, labels_of, sample, shop, written

pytestmark = pytest.mark.usefixtures("home")


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


# Values other than true and false


def in_events(wanted=None, **fields):
    return guess_label(sample(events(100, **fields)), {"id", "ts"}, wanted=wanted, in_events=True)


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        ("yes", "no"), ("Y", "N"), ("true", "false"), ("paid", "open"), ("converted", "bounced"), ("click", "none"),
        ("1", "0"), (1, -1), (1.0, -1.0), ("churned", "no"), ("bot", "genuine"), ("spam", "ham"), (True, "no"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("share", [2, 8])
def test_of_two_values_the_one_that_says_yes_is_positive(yes, no, share):
    label = in_events(label=lambda i: yes if i % 10 < share else no)
    assert (label.path, list(label.positive.values), label.positive.guessed) == ("label", [yes], False)
    assert label.why == f"its name says so; {share}0.0 % of 100 are positive"


@pytest.mark.parametrize("values", [("red", "blue"), (1, 2), ("paid", "converted"), (0, 5), ("open", "paid", "lost")])
def test_else_it_is_a_guess_and_the_rarest(values):
    label = in_events("state", state=lambda i: values[0] if i % 4 else values[1 + i // 4 % (len(values) - 1)])
    assert label.positive.guessed
    assert label.positive.values == (min(values[1:], key=str) if len(values) > 2 else values[1],)
    assert f"a guess, for it is the rarest: {json.dumps(values[0])} 75, " in label.positive.why
    assert "name the value that is to be predicted" in label.positive.why


def test_spellings_of_one_value_are_one():
    label = in_events(paid=lambda i: ["yes", "Yes ", "no", "NO", "no"][i % 5])
    assert label.positive.values == ("yes", "Yes ")
    assert "40.0 % of 100" in label.why


def test_the_value_can_be_chosen():
    states = {"state": lambda i: "open" if i % 4 else "paid" if i % 8 else "lost", "x=y": lambda i: i % 2}
    assert in_events("state=open", **states).positive.values == ("open",)
    assert in_events("state=open", **states).why == "chosen with --label; 75.0 % of 100 are positive"
    assert in_events("x=y", **states).positive is None
    assert in_events("x=y=0", **states | {"x=y=0": True}).path == "x=y=0"
    with pytest.raises(RiverdError, match=r'it holds "open" 75, "lost" 13, "paid" 12'):
        in_events("state=pad", **states)


def test_true_or_false_goes_before_words_unless_their_names_say_more():
    yes = {"smoker": lambda i: ["yes", "no"][i % 2], "x": lambda i: i % 3 == 0}
    assert in_events(**yes).path == "x"
    assert in_events(**yes, converted=lambda i: ["yes", "no"][i % 2]).path == "converted"
    with pytest.raises(RiverdError, match="several fields could be the label"):
        in_events(**yes, status=lambda i: ["a", "b", "c"][i % 3])
    with pytest.raises(RiverdError, match="no field holds a label"):
        in_events(colour=lambda i: ["red", "blue"][i % 2])


def test_a_status_of_labels_is_one_but_where_clicks_came_from_is_none():
    def of_labels(**fields):
        return guess_label(sample(labels_of(events(90), **fields)), {"event", "ts"}, wanted=None, in_events=False)

    assert of_labels(status=lambda i: ["open", "paid", "refunded"][i % 3]).positive.guessed
    assert of_labels(device=lambda i: ["phone", "tablet"][i % 2]) is None
    assert of_labels(status=lambda _: "converted") is None  # that a label comes means yes
    assert of_labels(code=lambda i: [200, 404][i % 2]) is None


@given(st.lists(st.sampled_from(["yes", "Yes", "no", "maybe", 1, -1, 0, True, False, 1.0, 2.5]), min_size=2))
def test_what_is_called_positive_is_so_to_the_decoder(values):
    groups = groups_of(Column("x", values))
    if groups is None:
        return
    positive = obvious(groups) or rarest(groups)
    decoded = outcomes_by_value(values, len(values), "x", positive.values, {})
    assert 0 < decoded.sum() < len(values)
    if positive.guessed:
        assert decoded.sum() == min(group.total() for group in groups.values())
    np.testing.assert_array_equal(decoded, [value in positive.values for value in values])


def test_words_for_labels_go_through_a_run(capsys):
    visits = shop(2000)
    sample([{k: v for k, v in visit.items() if k != "bought"} for visit in visits], "visits.jsonl")
    told = labels_of(visits, status=lambda i: "refunded" if visits[i]["bought"] else ["sent", "kept", "lost"][i % 3])
    sample(told, "returns.jsonl")
    command = ["init", "--sample", "visits.jsonl", "--labels", "returns.jsonl"]
    assert main(command) == 0
    assert "by:  riverd init --force --label status=VALUE" in capsys.readouterr().out
    assert 'positive_when = "lost"              # a guess' in Path("riverd.toml").read_text(encoding="utf-8")
    assert main([*command, "--force", "--label", "status=refunded"]) == 0
    assert (written()["labels"]["value"], written()["labels"]["positive_when"]) == ("status", "refunded")
    capsys.readouterr()
    assert main(["check"]) == 0
    capsys.readouterr()
    assert main(["run", "--until-idle", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["counts"]["resolved"], result["counts"]["dead"]) == (2000, 0)
    assert result["metrics"]["roc_auc"] > 0.6
    assert result["alerts"] == []
