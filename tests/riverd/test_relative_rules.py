"""A rule that is relative to the reference takes what its metric was over just that stretch of the stream."""

import pytest

from stream.memory import MemorySource
from tests.riverd.streams import START_US, config, engine_on, pairs, split

STREAM = split(pairs(4_000, seed=8), partitions=1)
RULE = {"name": "worse", "metric": "logloss", "window": "2h", "above": 9.0, "min_labelled": 20}


@pytest.mark.parametrize(("reference", "ends_h"), [(None, 2), ("first 4h", 4)])
def test_the_reference_is_of_its_time(reference, ends_h):
    rules = [{**RULE, "relative_to": "reference"}, {**RULE, "name": "absolute"}]
    configured = config(
        alerts=rules, source={"poll_records": 1}, monitors={} if reference is None else {"reference": reference}
    )
    engine = engine_on(MemorySource(STREAM), configured)
    standings, panes = engine.parts.rules.standings, engine.parts.panes
    before = None
    for _ in range(100_000):
        engine.step()
        if standings["worse"].reference is not None or engine.finished:
            break
        before = panes.final_end(engine.parts.joiner.watermark)
    now = panes.final_end(engine.parts.joiner.watermark)
    pane_us = configured.monitors.tick_us
    ends_us = START_US // pane_us * pane_us + ends_h * 3_600_000_000
    assert before is not None
    assert before <= ends_us <= now
    assert standings["worse"].value == 1.0
    assert standings["worse"].reference == standings["absolute"].value
