"""Two configs on one stretch: paired event by event, as a plain walk over both engines' rows would do it."""

import json
import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.metrics import logloss
from riverd import compare_rows
from riverd.cli import main
from riverd.compare import compare, in_words
from riverd.compare_rows import Pairs
from riverd.errors import ConfigError
from riverd.load_config import load_config
from riverd.time_ranges import Stretch
from stream.memory import MemorySource
from stream.records import EXPIRE, RESOLVE
from tests.riverd.streams import (
    MINUTE_US,
    START_US,
    config,
    engine_on,
    labelled,
    labelled_config,
    pairs,
    split,
    to_toml,
    write,
)
from tests.riverd.streams import settings as settings_of

COUNT = 1200
messages = pairs(COUNT, seed=21)
in_disorder = pairs(600, seed=22, disorder=True)
POORER = {"categories": ["shop"], "numbers": [], "crosses": [], "time_parts": []}


def log_loss(logit, positive):
    return float(np.logaddexp(0.0, -logit if positive else logit))


class Plain:
    """Writes down every judgement of an engine by the place of its event: the first label, in time."""

    def __init__(self, engine):
        self.engine, self.places, self.losses = engine, {}, {}
        engine.observers.append(self.observe)

    def observe(self, step, ordered):
        table, ops = self.engine.parts.table, step.ops
        lanes = {lane.number: lane.partition for lane in self.engine.parts.merger.lanes.values()}
        for code, row, record, label in zip(ops.code, ops.row.tolist(), ops.record.tolist(), ops.label, strict=True):
            if record >= 0:
                events = ordered.events
                self.places[row] = (*lanes[int(events.partition[record])], int(events.position[record]))
            if code & RESOLVE and self.places[row] not in self.losses:
                self.losses[self.places[row]] = log_loss(float(table.rows.logit[row - table.base]), label == 1)
            assert not code & EXPIRE or code & RESOLVE or self.places[row] not in self.losses

    @property
    def first_open(self):
        """The first row without an outcome: what came after it is not judged yet."""
        joiner, table = self.engine.parts.joiner, self.engine.parts.table
        return next(
            (r for r in range(joiner.first_row, table.next) if not table.rows.status[r - table.base] & 3), table.next
        )


def run_both(topics, first, second, *, seed, at_once=1 << 16):
    engines = [engine_on(MemorySource(topics), configured) for configured in (first, second)]
    walked = [Plain(engine) for engine in engines]
    compare_rows.AT_ONCE, before = at_once, compare_rows.AT_ONCE
    try:
        bringing, rng = Pairs(*engines), random.Random(seed)
        for engine in engines:
            engine.step()
        while not all(engine.finished for engine in engines):
            rng.choice(engines).step()
            bringing.after_step()
        bringing.finish()
    finally:
        compare_rows.AT_ONCE = before
    return bringing, walked


MODES = [(learn, missing) for learn in ("arrival", "maturity") for missing in ("drop", "negative")]


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 2**32), st.sampled_from(MODES), st.sampled_from([40, 500]), st.sampled_from([1, 100]))
def test_pairs_are_those_of_a_plain_walk(seed, mode, poll_records, at_once):
    learn, missing = mode
    topics = split(random.Random(seed).choice([messages, in_disorder]), partitions=3)
    first = config(labels={"learn": learn, "missing": missing}, source={"poll_records": poll_records})
    second = config(labels={"missing": missing}, features=POORER)
    bringing, walked = run_both(topics, first, second, seed=seed, at_once=at_once)
    found = [
        {
            place: loss
            for row, place in each.places.items()
            if (loss := each.losses.get(place)) and row < each.first_open
        }
        for each in walked
    ]
    both = found[0].keys() & found[1].keys()
    paired = bringing.losses.paired()
    assert paired.events == len(both) > 400
    assert bringing.alone == [len(each.keys() - both) for each in found]
    assert paired.difference == pytest.approx(np.mean([found[0][place] - found[1][place] for place in both]), abs=1e-12)
    assert logloss(bringing.losses.first) == pytest.approx(np.mean([found[0][place] for place in both]))
    assert logloss(bringing.losses.second) == pytest.approx(np.mean([found[1][place] for place in both]))


def test_windows_may_differ_where_silence_says_nothing():
    bringing, _ = run_both(split(messages, partitions=2), config(), config(labels={"window": "20m"}), seed=1)
    assert bringing.losses.paired().events > 400
    assert bringing.alone[0] > 100  # the first has waited for labels that the second did not
    assert bringing.alone[1] < 20


def test_an_event_that_only_one_can_read_stays_alone():
    """Users of two digits are text to the second config: dead letters, so the times of its neighbours move too."""
    topics = split(messages, partitions=3)
    for partition, sent in topics.items():
        topics[partition] = [re.sub(rb'"user": (\d\d),', rb'"user": "\1",', message) for message in sent]
    strict = config(features={"numbers": ["x", "user"], "categories": ["shop"]})
    bringing, walked = run_both(topics, config(), strict, seed=1)
    dead = walked[1].engine.parts.joiner.fates()["dead"] - walked[0].engine.parts.joiner.fates()["dead"]
    assert dead > 300
    assert bringing.alone[0] > 200
    assert bringing.alone[1] == 0
    assert bringing.losses.paired().events > 300


def test_labelled_events_are_paired_by_their_place():
    topics = labelled(COUNT, seed=3)
    bringing, _ = run_both(topics, labelled_config(), labelled_config(features=POORER), seed=5)
    paired = bringing.losses.paired()
    assert paired.events == COUNT
    assert bringing.alone == [0, 0]


@pytest.fixture
def project(tmp_path):
    write(split(messages, partitions=2), tmp_path / "data")

    def make(name, **sections):
        sections["source"] = {"kind": "files", "path": "data", **sections.get("source", {})}
        (tmp_path / name).write_text(to_toml(settings_of(**sections)))
        return tmp_path / name

    return make


def compared(first, second, **how):
    return compare(load_config(first), first, load_config(second), second, stretch=how.pop("stretch", Stretch()), **how)


def test_equal_configs_differ_by_exactly_nothing(project):
    first, second = project("riverd.toml"), project("other.toml", source={"poll_records": 7})
    found = compared(first, second, keep_history=False)
    assert found["replays"][0]["model_sha256"] == found["replays"][1]["model_sha256"]
    comparison = found["comparison"]
    assert (comparison["difference"], comparison["low"], comparison["high"]) == (0.0, 0.0, 0.0)
    assert comparison["p_value"] == 1.0
    assert comparison["logloss"][0] == comparison["logloss"][1]
    assert comparison["verdict"].startswith("no difference at all: both lost the same on ")


def test_poll_sizes_give_the_same(project):
    stretch = Stretch(excluded=((START_US + 100 * MINUTE_US, START_US + 120 * MINUTE_US),))
    found = []
    for poll_records in (1000, 7):
        first = project("riverd.toml", source={"poll_records": poll_records})
        second = project("other.toml", source={"poll_records": poll_records}, features=POORER)
        result = compared(first, second, stretch=stretch, keep_history=False)
        for replay in result["replays"]:
            del replay["seconds"], replay["events_per_second"]
        found.append(result)
    assert found[0] == found[1]
    assert found[0]["comparison"]["difference"] < 0
    assert found[0]["stretch"]["excluded"] == ["2013-01-01T02:06:40Z/2013-01-01T02:26:40Z"]


def test_the_command(project, capsys):
    first, second = project("riverd.toml"), project("other.toml", features=POORER)
    assert main(["replay", "--json", "-c", str(first), "--compare", str(second)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["configs"] == ["riverd.toml", "other.toml"]
    assert [each["history"]["model"] for each in found["replays"]] == ["shops@replay", "shops@compare"]
    assert found["comparison"]["verdict"] == in_words_of(found["comparison"])
    assert main(["check", "--backtest", "compare", "-c", str(second)]) == 0
    assert "none is stored" not in capsys.readouterr().out


def in_words_of(comparison):
    from monitors.paired import Paired

    paired = Paired(**{name: comparison[name] for name in Paired.__slots__})
    return in_words(paired, ["riverd.toml", "other.toml"])


def test_what_is_not_comparable_is_named(project):
    first = project("riverd.toml", labels={"missing": "negative"})
    second = project("other.toml", labels={"missing": "negative", "window": "2h"}, events={"time": "sent_at"})
    with pytest.raises(ConfigError) as refusal:
        compared(first, second)
    said = str(refusal.value)
    assert "don't speak of the same events and outcomes:\n" in said
    assert '  [events] time: "at", and "sent_at"\n' in said
    assert '  [labels] window: "1h", and "2h"\n' in said
    assert said.count("\n") == 3


def test_labels_of_another_kind_are_not_comparable(project):
    first, second = project("riverd.toml"), project("other.toml")
    values = settings_of(source={"kind": "files", "path": "data"}, events={"label": "y"})
    del values["labels"]
    second.write_text(to_toml(values))
    with pytest.raises(ConfigError, match=r'\[labels\] topic: "labels", and nothing'):
        compared(first, second)
