"""Event times against exact rational arithmetic, and what is no time at all."""

from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.timestamps import INVALID, to_microseconds, to_text


def one(time):
    return int(to_microseconds([time], 1)[0])


@pytest.mark.parametrize(
    ("time", "microseconds"),
    [
        (0, 0),
        (1.5, 1_500_000),
        (1_700_000_000, 1_700_000_000_000_000),
        (1_700_000_000_000, 1_700_000_000_000_000),  # more than 1e11: milliseconds
        (99_999_999_999, 99_999_999_999_000_000),
        (100_000_000_000, 100_000_000_000_000),
        (9_007_199_254_740, 9_007_199_254_740_000),  # 2255, the last that a float64 holds to the microsecond
        (datetime(2013, 1, 1), 1_356_998_400_000_000),  # without a zone: UTC
        (datetime(2013, 1, 1, tzinfo=timezone(timedelta(hours=-5))), 1_357_016_400_000_000),
        (datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC), 1),
    ],
)
def test_seconds_milliseconds_and_datetimes(time, microseconds):
    assert one(time) == microseconds


@pytest.mark.parametrize(
    "time",
    [
        *(None, -1, -1e-9, float("nan"), float("inf"), -float("inf"), 1e14, 1e308, 10**400, -(10**400)),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        datetime(9999, 12, 31, tzinfo=timezone(timedelta(hours=-14))),  # in UTC beyond Python's last year
    ],
)
def test_what_is_missing_negative_or_beyond_reason_is_invalid(time):
    assert one(time) == INVALID


@given(st.floats(0, 1e11, exclude_max=True))
def test_seconds_are_within_half_a_microsecond_and_rounding_of_the_exact_product(seconds):
    exact = Fraction(seconds) * 10**6
    assert abs(one(seconds) - exact) <= Fraction(1, 2) + exact / 2**53


@given(st.integers(10**11, 2**53 // 1000))
def test_whole_milliseconds_are_exact(milliseconds):
    assert one(milliseconds) == milliseconds * 1000


@given(st.datetimes(datetime(1970, 1, 1), datetime(5000, 1, 1), timezones=st.none() | st.just(UTC)))
def test_text_reads_back_as_the_same_time(time):
    assert one(datetime.fromisoformat(to_text(one(time)))) == one(time)


times = st.none() | st.integers() | st.just(10**400) | st.floats() | st.datetimes(timezones=st.just(UTC))


@given(st.lists(times, max_size=20))
def test_a_column_is_its_elements_whatever_stands_beside_them(column):
    together = to_microseconds(column, len(column))
    assert together.dtype == np.int64
    assert together.tolist() == [one(time) for time in column]
