"""Durations as people write them, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverd.durations import LONGEST_US, UNITS_US, format_duration, parse_duration


@given(st.integers(0, LONGEST_US // 1000), st.sampled_from([1, *UNITS_US.values()]))
def test_what_is_written_is_read_back(count, unit_us):
    microseconds = min(count * unit_us, LONGEST_US)
    assert parse_duration(format_duration(microseconds)) == microseconds


@given(st.integers(0, 100), st.sampled_from(list(UNITS_US)))
def test_units(count, unit):
    assert parse_duration(f" {count} {unit} ") == count * UNITS_US[unit]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("24", 'has no unit.\n  Write "24h" (hours) or "24d" (days).'),
        (24, 'has no unit.\n  Write "24h" (hours) or "24d" (days), with the quotes.'),
        (False, "is not a duration."),
        (None, "is not a duration."),
        ("", "is not a duration."),
        ("-1h", "is not a duration."),
        ("1h30m", "is not a duration."),
        ("1e3s", "is not a duration."),
        ("inf h", "is not a duration."),
        ("5H", "is not a duration."),
        ("5 y", "has the unknown unit 'y'."),
        ("9" * 400 + "d", "is longer than ten years."),
        ("3661d", "is longer than ten years."),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(ValueError, match=r"^(has|is) ") as fault:
        parse_duration(text)
    assert str(fault.value).startswith(message)
