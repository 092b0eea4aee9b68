"""`riverd check --backtest` says what the rules did on the history that a run has left, and what others would have."""

import json

import pytest

from riverd.cli import main
from riverd.inspection.backtest import backtest_of
from storage.history import Figures
from tests.riverd.streams import config, pairs, run, split, to_toml, write
from tests.riverd.streams import settings as settings_of

HOUR_US = 3_600_000_000
STREAM = split(pairs(3_000, seed=5), partitions=1)
RULES = [
    {"name": "loss", "metric": "logloss", "window": "2h", "above": 0.66, "min_labelled": 20},
    {"name": "calm", "metric": "logloss", "window": "2h", "above": 5.0},
    {"name": "missing", "metric": "coverage", "window": "30m", "below": 0.8, "min_labelled": 1},
    {
        "name": "early",
        "metric": "positive_rate",
        "window": "30m",
        "above": 0.6,
        "on": "provisional",
        "min_labelled": 10,
    },
    {"name": "scores", "metric": "score_psi", "window": "2h", "above": 0.05},
    {"name": "amounts", "metric": "guardrail_mean", "feature": "amount", "window": "2h", "above": 0.0},
    {"name": "shop-a", "metric": "logloss", "slice": "shop=a", "window": "2h", "above": 0.5, "min_labelled": 20},
    {"name": "silence", "metric": "silent_s", "above": 60.0},
]


def history_of(engine):
    figures = engine.unsaved.history
    return sorted(figures, key=lambda each: (each.at, each.window, each.kind, each.end))


def test_says_what_the_rules_did():
    """Where the history has every tick: of the shortest window."""
    rules = [
        {**rule, "window": "30m"} for rule in RULES if rule["metric"] in ("logloss", "coverage") and "slice" not in rule
    ]
    configured = config(alerts=rules)
    engine = run(STREAM, configured)
    fired = {rule["name"]: 0 for rule in rules}
    for change in engine.recent_alerts:
        if change.state == "firing" and change.rule in fired:
            fired[change.rule] += 1
    assert fired["loss"] > 3
    assert {each.rule: len(each.firings) for each in backtest_of(configured, history_of(engine))} == fired


def test_rules_that_did_not_run():
    engine = run(STREAM, config(alerts=[]))
    outcomes = {each.rule: each for each in backtest_of(config(alerts=RULES), history_of(engine))}
    assert outcomes["loss"].firings
    assert outcomes["calm"].firings == []
    assert outcomes["calm"].judged > 10
    assert outcomes["early"].judged > outcomes["loss"].judged
    assert outcomes["amounts"].firings
    assert outcomes["shop-a"].judged > 0
    assert outcomes["scores"].judged > 0
    assert outcomes["silence"].why == "looks at the clock on the wall, of which nothing is stored"
    (unknown,) = backtest_of(config(alerts=[RULES[0]]), [])
    assert unknown.why.startswith("the history has no logloss of a window of 2h")


def test_time_that_it_fires_for_and_support():
    configured = config(alerts=[{**RULES[0], "above": 0.5, "for": "2h", "recover": 0.4, "min_labelled": 100}])

    def figures(hour, loss, labelled=200.0):
        return Figures(hour * HOUR_US, "2h", "outcomes", {"logloss": loss, "labelled": labelled, "coverage": 1.0})

    losses = [0.6, 0.6, 0.6, 0.45, 0.3, 0.6, 0.3]
    (outcome,) = backtest_of(configured, [figures(hour, loss) for hour, loss in enumerate(losses)])
    assert (outcome.firings, outcome.firing_us) == ([2 * HOUR_US], 2 * HOUR_US)
    (outcome,) = backtest_of(configured, [figures(hour, loss, 99.0) for hour, loss in enumerate(losses)])
    assert (outcome.judged, outcome.firings) == (0, [])


@pytest.fixture
def project(tmp_path):
    write(STREAM, tmp_path / "data")
    values = settings_of(alerts=RULES, source={"kind": "files", "path": "data"})
    (tmp_path / "riverd.toml").write_text(to_toml(values))
    return tmp_path


def test_the_command(project, capsys):
    path = str(project / "riverd.toml")
    assert main(["check", "--backtest", "--config", path]) == 0
    assert "none is stored yet: run riverd over the stream first" in capsys.readouterr().out
    main(["run", "--until-idle", "--config", path])
    capsys.readouterr()
    assert main(["check", "--backtest", "--config", path]) == 0
    said = capsys.readouterr().out
    assert "logloss: fires " in said
    assert "calm\n  logloss: fires 0 times in 0." in said
    assert "silence\n  not judged: looks at the clock" in said
    assert main(["check", "--backtest", "--json", "--config", path]) == 0
    rules = json.loads(capsys.readouterr().out)["rules"]
    assert [rule["rule"] for rule in rules] == [rule["name"] for rule in RULES]


def test_significance_is_asked_of_the_history_too():
    def fires(**more):
        configured = config(alerts=[{**RULES[0], "above": 0.5, **more}])
        engine = run(STREAM, config(alerts=[]))
        (outcome,) = backtest_of(configured, history_of(engine))
        return outcome.judged, outcome.firing_us

    judged, firing_us = fires()
    judged_too, surely_us = fires(above_by_se=3)
    assert judged == judged_too > 0
    assert 0 < surely_us < firing_us
