"""Standard errors, reliability and what scores foretell: from the engine to the status, and as bounds of rules."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from monitors.calibration import Group, reliability
from monitors.errors import logloss_error, observed_expected_error
from riverd.load_config import parse_config
from riverd.publishing import Publisher
from riverd.web.document import Document, read_document, to_line
from stream.records import MICROSECONDS
from stream.source import Partition
from tests.riverd.streams import START_US, config, pairs, run, split

TOPICS = split(pairs(1800, seed=5), partitions=2)
SLICED = config(alerts=[], monitors={"slices": ["shop"]})
TWO_HOURS_US = 7_200 * MICROSECONDS


@pytest.fixture(scope="module")
def engine():
    return run(TOPICS, SLICED)


@pytest.fixture(scope="module")
def status(engine):
    """As another process reads it."""
    told = Publisher(engine).status("done")
    return read_document(to_line(Document("1", 0, 0, 0, told))).status


def window(status, *, final):
    return next(window for window in status.windows if window.window == "2h" and window.final == final)


def test_the_status_says_how_sure_each_figure_is(engine, status):
    now_us = engine.parts.joiner.watermark
    judged = engine.parts.panes.window("final", TWO_HOURS_US, now_us).tally
    told = window(status, final=True)
    assert told.labelled > 100
    assert (told.logloss_error, told.observed_expected_error) == (
        logloss_error(judged),
        observed_expected_error(judged),
    )
    slices = engine.parts.slices.tallies("final", TWO_HOURS_US, now_us)
    for part in told.slices:
        of = next(tally for of, tally in slices.items() if of.value == part.value)
        assert (part.logloss_error, part.observed_expected_error) == (logloss_error(of), observed_expected_error(of))


def test_reliability_is_that_of_final_windows(engine, status):
    judged = engine.parts.panes.window("final", TWO_HOURS_US, engine.parts.joiner.watermark).tally
    told = window(status, final=True).reliability
    names = Group._fields
    assert [tuple(getattr(group, name) for name in names) for group in told] == [*map(tuple, reliability(judged))]
    assert len(told) > 5
    assert window(status, final=False).reliability == []


def test_what_scores_foretell_is_of_all_events_labelled_or_not():
    probability = np.random.default_rng(2).uniform(0.05, 0.6, 500)
    events = [{"id": i, "t": START_US // MICROSECONDS + 10 * i, "p": p} for i, p in enumerate(probability.tolist())]
    # only the surest events are answered yet, and all by no
    labels = [{"id": event["id"], "t": event["t"], "y": False} for event in events if event["p"] < 0.1]
    values = {
        "model": {"name": "m", "kind": "external"},
        "events": {"topic": "e", "time": "t", "id": "id", "score": "p"},
        "labels": {"topic": "l", "id": "id", "time": "t", "value": "y", "window": "1d"},
    }
    topics = {
        Partition(topic, "0"): [json.dumps(m).encode() for m in ms] for topic, ms in (("e", events), ("l", labels))
    }
    told = Publisher(run(topics, parse_config(values, "test"))).status("done").windows
    latest = next(window for window in told if window.window == "1d" and not window.final)
    assert latest.events == 500
    assert 0 < latest.coverage < 0.2
    assert latest.roc_auc is None
    entropy = -(probability * np.log(probability) + (1 - probability) * np.log1p(-probability))
    assert latest.traffic.expected_logloss == pytest.approx(entropy.mean(), rel=1e-3)
    weights = np.concatenate([probability, 1 - probability])
    both = np.repeat([1, 0], 500), np.tile(probability, 2)
    assert latest.traffic.expected_roc_auc == pytest.approx(roc_auc_score(*both, sample_weight=weights), abs=2e-3)
    assert latest.logloss < 0.2 < latest.traffic.expected_logloss  # neither is taken for the other


@pytest.mark.parametrize(("side", "bound"), [("above", 0.01), ("below", 10.0)])
def test_a_rule_fires_when_the_bound_is_surely_passed(side, bound):
    def fired(**significance):
        alert = {"name": "loss", "metric": "logloss", "window": "30m", "min_labelled": 20, side: bound} | significance
        return [change for change in run(TOPICS, config(alerts=[alert])).recent_alerts if change.rule == "loss"]

    plain = fired()
    assert plain
    assert fired(**{f"{side}_by_se": 3}) == plain
    value = plain[0].value
    bound = 0.99 * value if side == "above" else 1.01 * value
    assert fired()
    assert fired()[0].at == plain[0].at
    assert fired(**{f"{side}_by_se": 100}) == []
