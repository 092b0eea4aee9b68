"""How figures, times and spans are written for people; what is undefined is a dash."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

UNDEFINED = "\N{EN DASH}"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def figure(value: float | None, digits: int = 4) -> str:
    """A metric with that many decimals.

    >>> figure(0.43218), figure(-3e9), figure(float("nan")) == UNDEFINED
    ('0.4322', '-3e+09', True)
    """
    if value is None or not math.isfinite(value):
        return UNDEFINED
    return f"{value:.{digits}f}" if abs(value) < 1e5 else f"{value:.3g}"


def share(value: float | None) -> str:
    """A share of one in percent.

    >>> share(0.9784), share(1.0), share(None) == UNDEFINED
    ('97.8 %', '100 %', True)
    """
    if value is None or not math.isfinite(value):
        return UNDEFINED
    return "100 %" if value == 1 else f"{100 * value:.1f} %"


def count(value: float) -> str:
    """A number of things, with thousands apart.

    >>> count(336776), count(12043.7), count(4e18)
    ('336,776', '12,044', '4e+18')
    """
    if not math.isfinite(value):
        return UNDEFINED
    return f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.3g}"


def volume(size: float) -> str:
    """Bytes.

    >>> volume(712), volume(1_940_000)
    ('712 B', '1.9 MB')
    """
    units = ("B", "kB", "MB", "GB", "TB")
    power = 0
    while size >= 999.5 and power < len(units) - 1:
        size, power = size / 1000, power + 1
    return f"{size:.1f} {units[power]}" if power else f"{size:.0f} B"


def moment(time_us: int | None, *, year: bool = True) -> str:
    """A time in UTC, to the minute.

    >>> moment(1360328400_000_000), moment(1360328400_000_000, year=False), moment(2**62) == UNDEFINED
    ('2013-02-08 13:00', '02-08 13:00', True)
    """
    if time_us is None:
        return UNDEFINED
    try:
        time = _EPOCH + timedelta(microseconds=time_us)
    except OverflowError:
        return UNDEFINED
    return time.isoformat(" ", "minutes")[0 if year else 5 : 16]


def span(seconds: float) -> str:
    """A length of time in its two largest units, as the configuration writes them.

    >>> span(0.84), span(41.2), span(200), span(108_000), span(86_400)
    ('0.8s', '41s', '3m 20s', '1d 6h', '1d')
    """
    if not math.isfinite(seconds):
        return UNDEFINED
    if seconds < 9.5:
        return f"{seconds:.1f}s"
    left = round(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        whole, left = divmod(left, length)
        if whole or parts:
            parts.append(f"{whole:,}{unit}" if whole else "")
    return " ".join(part for part in parts[:2] if part)


def plain(text: str) -> str:
    """Text of users on one line, with nothing in it that a terminal would obey.

    >>> plain("late\\n\\x1b[2Jflights")
    'late??[2Jflights'
    """
    return "".join(c if c.isprintable() else "?" for c in text)
