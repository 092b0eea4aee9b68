"""Durations as people write them, "24h" or "500ms", and back."""

from __future__ import annotations

import re

from stream.records import MICROSECONDS

UNITS_US = {
    "ms": MICROSECONDS // 1000,
    "s": MICROSECONDS,
    "m": 60 * MICROSECONDS,
    "h": 3600 * MICROSECONDS,
    "d": 86_400 * MICROSECONDS,
    "w": 7 * 86_400 * MICROSECONDS,
}
NAMES = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
LONGEST_US = 3660 * UNITS_US["d"]


def parse_duration(text: object) -> int:
    """Microseconds of a duration.

    Raises
    ------
    ValueError
        With what is wrong and what to write instead.

    >>> parse_duration("24h"), parse_duration("1.5s")
    (86400000000, 1500000)
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        raise ValueError(f'has no unit.\n  Write "{text}h" (hours) or "{text}d" (days), with the quotes.')
    if not isinstance(text, str):
        raise ValueError('is not a duration.\n  Write text such as "15s", "10m", "24h" or "7d".')
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text)
    if match is None:
        raise ValueError('is not a duration.\n  Write a number and a unit, such as "15s", "10m", "24h" or "7d".')
    number, unit = match.groups()
    if not unit:
        raise ValueError(f'has no unit.\n  Write "{number}h" (hours) or "{number}d" (days).')
    if unit not in UNITS_US:
        known = ", ".join(f"{short} ({name})" for short, name in NAMES.items())
        raise ValueError(f"has the unknown unit {unit!r}.\n  Units are {known}.")
    microseconds = float(number) * UNITS_US[unit]
    if microseconds > LONGEST_US:
        raise ValueError("is longer than ten years.\n  Check the unit.")
    return round(microseconds)


def format_duration(microseconds: int) -> str:
    """The shortest text that ``parse_duration`` takes back.

    >>> format_duration(86_400_000_000), format_duration(5_400_000_000), format_duration(0)
    ('1d', '90m', '0s')
    """
    for unit in ("w", "d", "h", "m", "s"):
        if microseconds and microseconds % UNITS_US[unit] == 0 and unit != "w":
            return f"{microseconds // UNITS_US[unit]}{unit}"
    if not microseconds:
        return "0s"
    return f"{microseconds / UNITS_US['ms']:.3f}".rstrip("0").rstrip(".") + "ms"
