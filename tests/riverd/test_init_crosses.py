"""Crosses that ``riverd init`` proposes: those that the sample bears out, and none on noise."""

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder

from riverd.cli import main
from riverd.start.additive import additive, log_loss
from riverd.start.guess_crosses import choose_crosses
from tests.riverd.samples import START_S, coin, events, sample, written

SIZES = (2, 3, 8, 40, 300)


def categories(seed, rows=6000):
    rng = np.random.default_rng(seed)
    return rng, {f"c{size}": rng.integers(0, size, rows) for size in SIZES}


def drawn(rng, logit):
    return rng.random(len(logit)) < 1 / (1 + np.exp(-logit))


def pairs(found):
    return [cross.pair for cross in found]


@pytest.mark.parametrize("seed", range(20))
def test_noise_has_no_crosses(seed):
    rng, fields = categories(seed)
    label = rng.random(6000) < (0.5, 0.05, 0.2)[seed % 3]
    if seed % 2:  # bad days: what is near in time has one label
        label |= np.repeat(rng.random(60) < 0.1, 100)
    assert choose_crosses(fields, [], label) == (
        [],
        "no crosses: no two categories tell clearly more together than one by one",
    )


@pytest.mark.parametrize("seed", range(5))
def test_fields_that_add_up_have_no_crosses_though_they_hang_together(seed):
    rng, fields = categories(seed)
    fields["twin"] = (fields["c8"] + rng.integers(0, 3, 6000)) % 8
    number = rng.integers(0, 10, 6000)
    weights = [rng.normal(size=size) for size in (3, 8, 8)]
    logit = number / 3 - 2
    for name, weight in zip(("c3", "c8", "twin"), weights, strict=True):
        logit = logit + weight[fields[name]]
    assert choose_crosses(fields, [number], drawn(rng, logit))[0] == []


@pytest.mark.parametrize("seed", range(5))
def test_a_pair_that_tells_more_together_is_found_and_no_other(seed):
    rng, fields = categories(seed)
    label = drawn(rng, np.where((fields["c3"] + fields["c8"]) % 2, 0.7, -0.7) - 0.5)
    [cross], _ = choose_crosses(fields, [], label)
    assert cross.pair == ("c3", "c8")
    assert cross.combinations == 24
    before, after = (float(word) for word in cross.why.split() if word.startswith("0."))
    assert after < 0.95 * before


def test_a_copy_of_a_field_brings_no_second_cross():
    rng, fields = categories(1)
    label = drawn(rng, np.where((fields["c3"] + fields["c8"]) % 2, 0.9, -0.9))
    assert len(choose_crosses(fields | {"copy": fields["c8"]}, [], label)[0]) == 1


def test_at_most_three_the_best_first():
    rng = np.random.default_rng(2)
    fields = {name: rng.integers(0, 2, 8000) for name in "abcdefgh"}
    logit = sum(
        size * np.where(fields[x] == fields[y], 1, -1)
        for size, (x, y) in zip((0.5, 0.9, 0.7, 0.6), ("ab", "cd", "ef", "gh"), strict=True)
    )
    assert pairs(choose_crosses(fields, [], drawn(rng, logit))[0]) == [("c", "d"), ("e", "f"), ("g", "h")]


def test_a_short_sample_says_that_it_is_short():
    rng, fields = categories(1, rows=900)
    found, why = choose_crosses(fields, [], rng.random(900) < 0.5)
    assert (found, why.endswith("are too few to tell of crosses")) == ([], True)
    assert choose_crosses({"c2": fields["c2"]}, [], rng.random(900) < 0.5) == ([], "")


def test_the_additive_model_is_scikit_learns():
    rng, fields = categories(4)
    columns = [fields[name] for name in ("c3", "c8", "c40")]
    label = drawn(rng, columns[0] - 1.0 + np.sin(columns[1] * 2) + np.cos(columns[2]))
    fitted = np.arange(6000) % 2 == 0
    hot = OneHotEncoder().fit_transform(np.column_stack(columns))
    model = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(hot[fitted], label[fitted])
    ours = log_loss(additive(columns, label, fitted), label)[~fitted].mean()
    theirs = log_loss(model.decision_function(hot), label)[~fitted].mean()
    assert ours == pytest.approx(theirs, abs=1e-4)


@pytest.mark.usefixtures("home")
def test_a_cross_is_written_with_its_figures_and_learned(capsys):
    visits = events(
        4000,
        ts=lambda i: START_S + 60 * i,
        shop=lambda i: "abc"[int(3 * coin(i))],
        way=lambda i: ["ad", "mail", None][int(3 * coin(i, 4))],
        amount=lambda i: round(coin(i, 5), 3),
    )
    for visit in visits:
        liked = (visit["shop"] == "a") == (visit["way"] == "ad")
        visit["bought"] = coin(visit["id"], 7) < (0.6 if liked else 0.2)
    sample(visits)
    assert main(["init", "--sample", "events.jsonl"]) == 0
    assert "  cross     shop with way: held-out log loss 0." in capsys.readouterr().out
    assert written()["features"]["crosses"] == [["shop", "way"]]
    assert main(["run", "--until-idle", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["roc_auc"] > 0.65
