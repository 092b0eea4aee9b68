"""Moments and stretches of event time as people write them: "2013-06-01", "2013-06-01T12:00:00Z/2013-06-02"."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from riverd.config import Config
from stream.merge import Merger
from stream.timestamps import INVALID, to_microseconds, to_text

MOMENT = "Write 2013-06-01 or 2013-06-01T12:00:00Z; without a zone it is UTC."
RANGE = "Write FROM/TO, such as 2013-06-01/2013-06-03T12:00:00Z; TO itself is not part of it."

Range = tuple[int, int]


def parse_moment(text: str) -> int:
    """Microseconds since 1970 of a date or a time.

    Raises
    ------
    ValueError
        With what is wrong and what to write instead.

    >>> parse_moment("1970-01-02"), parse_moment("1970-01-01T01:00:00+01:00")
    (86400000000, 0)
    """
    try:
        moment_us = int(to_microseconds([datetime.fromisoformat(text)], 1)[0])
    except ValueError:
        raise ValueError(f"is not a time.\n  {MOMENT}") from None
    if moment_us == INVALID:
        raise ValueError("is before 1970 or far too late.\n  Check the year.")
    return moment_us


def parse_range(text: str) -> Range:
    """First and last microsecond, the last one without, of "FROM/TO".

    Raises
    ------
    ValueError
        With what is wrong and what to write instead.

    >>> parse_range("1970-01-02/1970-01-03T12:00:00Z")
    (86400000000, 216000000000)
    """
    parts = [part.strip() for part in text.split("/")]
    if len(parts) != 2 or not all(parts):
        raise ValueError(f"is not a range of time.\n  {RANGE}")
    moments: list[int] = []
    for part in parts:
        try:
            moments.append(parse_moment(part))
        except ValueError as error:
            raise ValueError(f"is not a range of time: {part!r} {error}") from None
    begin, end = moments
    if begin == end:
        raise ValueError(f"is empty: it ends when it begins.\n  {RANGE}")
    if begin > end:
        raise ValueError("ends before it begins.\n  Write the earlier time first.")
    return begin, end


def format_range(range_: Range) -> str:
    """The text that ``parse_range`` takes back.

    >>> format_range((86_400_000_000, 216_000_000_000))
    '1970-01-02T00:00:00Z/1970-01-03T12:00:00Z'
    """
    return "/".join(map(to_text, range_))


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of history: from a moment (or the beginning) to a moment (or the end), without some ranges."""

    from_us: int | None = None
    to_us: int | None = None
    excluded: tuple[Range, ...] = ()


def limit(merger: Merger, config: Config, stretch: Stretch) -> None:
    """Merge only this stretch, without what lies in its excluded ranges and what they make doubtful.

    Events and labels whose own time lies in an excluded range are left out, as if they had never been sent; what is
    late among the others stays as late as it was. So a prediction whose label came within a range expires and is
    dropped, if that is what ``missing`` says. Where a missing label means "negative", silence in the range would speak
    too: then events whose labels could have come within it, by ``window`` and ``early_window``, are left out as well,
    those with a label and those without. To leave out only one of the two would move the rate of positives.
    """
    labels = config.labels
    doubtful = (labels.window, labels.early_window) if labels is not None and labels.missing == "negative" else (0, 0)
    merger.limit(from_us=stretch.from_us, to_us=stretch.to_us, excluded=stretch.excluded, doubtful_us=doubtful)
