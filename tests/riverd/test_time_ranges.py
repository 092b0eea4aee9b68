"""Ranges of time as people write them, and what they leave out of a stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverd.time_ranges import format_range, parse_moment, parse_range

HOUR_US = 3_600_000_000


@given(st.integers(0, 10**15), st.integers(1, 10**14))
def test_what_is_written_is_read_back(begin, length):
    range_ = (begin, begin + length)
    assert parse_range(format_range(range_)) == range_


def test_a_date_is_its_midnight_and_zones_are_heeded():
    assert parse_range(" 1970-01-02 / 1970-01-02T03:00:00+02:00 ") == (24 * HOUR_US, 25 * HOUR_US)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("2013-06-01", "is not a range of time.\n  Write FROM/TO"),
        ("2013-06-01/", "is not a range of time.\n  Write FROM/TO"),
        ("2013-06-01/2013-06-02/2013-06-03", "is not a range of time.\n  Write FROM/TO"),
        ("2013-06-01/June", "'June' is not a time.\n  Write 2013-06-01 or"),
        ("1913-06-01/2013-06-02", "'1913-06-01' is before 1970"),
        ("2013-06-01/2013-06-01", "is empty"),
        ("2013-06-02/2013-06-01", "ends before it begins.\n  Write the earlier time first."),
    ],
)
def test_what_is_no_range_is_refused_in_words(text, what):
    with pytest.raises(ValueError, match=r"\w") as refusal:
        parse_range(text)
    assert what in str(refusal.value)


def test_a_moment_is_refused_in_words():
    with pytest.raises(ValueError, match=r"is not a time\.\n  Write 2013-06-01"):
        parse_moment("yesterday")
