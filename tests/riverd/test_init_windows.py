"""Windows that always fit the config, and values as TOML has them."""

import tomllib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from riverd.durations import UNITS_US, format_duration, parse_duration
from riverd.load_config import parse_config
from riverd.start.guess_windows import guess_join_window, guess_windows, round_up
from riverd.start.toml_text import toml


@given(st.integers(0, 5000 * UNITS_US["d"]))
def test_rounding_up(duration_us):
    rounded = round_up(duration_us)
    assert rounded >= max(duration_us, UNITS_US["m"])
    assert parse_duration(format_duration(min(rounded, 3660 * UNITS_US["d"]))) == min(rounded, 3660 * UNITS_US["d"])


def test_the_join_window_holds_nearly_all():
    delays = np.concatenate(
        [np.full(9_990, 50 * UNITS_US["m"]), np.full(10, 40 * UNITS_US["d"]), [-3 * UNITS_US["m"]] * 50]
    )
    guess = guess_join_window(delays)
    assert (guess.window_us, guess.early_us) == (UNITS_US["h"], 5 * UNITS_US["m"])


@given(
    st.integers(UNITS_US["m"], 3000 * UNITS_US["d"]),
    st.integers(1, 10**8),
    st.floats(0, 1),
    st.sampled_from([0, 1, 60, 1440, 43_200, 525_600]),
)
def test_windows_always_fit_the_config(span_us, labelled, share, join_minutes):
    join_us = join_minutes * UNITS_US["m"]
    windows = guess_windows(span_us=span_us, labelled=labelled, positive_share=share, join_window_us=join_us)
    labels = {"topic": "l", "id": "i", "time": "t", "window": format_duration(join_us)}
    values = {
        "model": {"name": "m"},
        "events": {"topic": "e", "id": "i", "time": "t"},
        "labels": labels,
        "features": {"numbers": ["x"]},
        "monitors": {"windows": [format_duration(us) for us in windows.lengths_us]},
    }
    assert parse_config(values, "").monitors.tick_us == windows.tick_us


text = st.text(st.characters(blacklist_categories=("Cs",)))


@given(
    st.recursive(
        st.one_of(
            text, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)
        ),
        st.lists,
    )
)
def test_values_are_written_as_toml(value):
    assert tomllib.loads(f"x = {toml(value)}") == {"x": value}
