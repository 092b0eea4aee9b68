"""Which events later ones are compared with, as people write it: "first 7d", or "2013-02-01/2013-03-01"."""

from __future__ import annotations

import re
from datetime import datetime

from monitors.reference import Reference
from riverd.durations import parse_duration
from stream.timestamps import INVALID, to_microseconds

FEWEST = 1_000
FORMS = (
    'Write "first 7d" (event time), "first 100000" (events), "2013-02-01/2013-03-01" (from, and to without), or '
    '"2013-03-01T05:00:00Z" (the longest window that ended then).'
)


def parse_reference(text: str, *, longest_us: int) -> Reference:
    """The reference that a text names; ``longest_us`` is the longest window.

    Raises
    ------
    ValueError
        With what is wrong and what to write instead.

    Examples
    --------
    >>> day_us = 86_400_000_000
    >>> parse_reference("first 100000", longest_us=day_us)
    Reference(from_us=None, length_us=None, events=100000)
    >>> parse_reference("1970-01-03/1970-01-05", longest_us=day_us)
    Reference(from_us=172800000000, length_us=172800000000, events=None)
    >>> parse_reference("1970-01-03", longest_us=day_us).from_us
    86400000000
    """
    first = re.fullmatch(r"\s*first\s+(\S+)\s*", text)
    if first is not None:
        return _first(first.group(1))
    times = [_moment(part.strip()) for part in text.split("/")]
    if len(times) == 1:
        return Reference(from_us=times[0] - longest_us, length_us=longest_us)
    if len(times) > 2:
        raise ValueError(f"has more than two times.\n  {FORMS}")
    if times[0] >= times[1]:
        raise ValueError("ends before it begins.\n  Write the earlier time first.")
    return Reference(from_us=times[0], length_us=times[1] - times[0])


def _first(what: str) -> Reference:
    number = what.replace("_", "").replace(",", "")
    if not number.isdecimal():
        length_us = parse_duration(what)
        if not length_us:
            raise ValueError(f"is empty.\n  {FORMS}")
        return Reference(length_us=length_us)
    if int(number) < FEWEST:
        raise ValueError(f"has too few events to compare with.\n  Write at least {FEWEST:,}.")
    return Reference(events=int(number))


def _moment(text: str) -> int:
    try:
        moment_us = int(to_microseconds([datetime.fromisoformat(text)], 1)[0])
    except ValueError:
        moment_us = INVALID
    if moment_us == INVALID:
        raise ValueError(f"is no reference: {text!r} is no time.\n  {FORMS}")
    return moment_us
