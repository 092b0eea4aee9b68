"""The places at which a test may kill the process."""

import pytest

from riverd import failpoints
from riverd.failpoints import FAIL_POINTS, fail_points


@pytest.fixture
def kills(monkeypatch):
    """How often the process would have been killed."""
    made = []
    monkeypatch.setattr(failpoints.os, "kill", lambda _, number: made.append(number))
    return made


def test_it_kills_at_the_count_and_at_that_place_alone(kills):
    reached = fail_points("checkpoint.blocks:3")
    for place in (*FAIL_POINTS, *FAIL_POINTS):
        reached(place)
    assert kills == []
    reached("checkpoint.blocks")
    assert len(kills) == 1


@pytest.mark.parametrize("setting", [None, ""])
def test_without_a_setting_nothing_happens(setting, kills):
    reached = fail_points(setting)
    for place in FAIL_POINTS:
        reached(place)
    assert kills == []


def test_an_unknown_place_is_refused():
    with pytest.raises(
        ValueError, match=r"RIVERD_FAILPOINT=checkpoint\.block: no such place; known are engine\.polled"
    ):
        fail_points("checkpoint.block")
