"""The event time that ``riverd init`` finds in a sample."""

import pytest

from riverd.errors import RiverdError
from riverd.start.guess_roles import guess_time
from tests.riverd.samples import NOW_US, START_S, events, sample

pytestmark = pytest.mark.usefixtures("home")


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
