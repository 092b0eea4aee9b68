"""Which events are the reference that later ones are compared with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A stretch of event time, or a number of events; one of the two must end it.

    Parameters
    ----------
    from_us
        Where it begins; left out: with the pane of the first event, or of the first one after a reset.
    length_us
        How long it is; left out: without an end in time.
    events
        How many events it has at most; left out: all of that time.

    Raises
    ------
    ValueError
        If it would never end, or is empty.

    Examples
    --------
    >>> Reference(length_us=7 * 86_400_000_000).moves
    True
    """

    from_us: int | None = None
    length_us: int | None = None
    events: int | None = None

    def __post_init__(self) -> None:
        ends = [end for end in (self.length_us, self.events) if end is not None]
        if not ends or min(ends) <= 0:
            raise ValueError(
                f"a reference of {self.length_us} us and {self.events} events: it must end, and not at once"
            )

    @property
    def moves(self) -> bool:
        """Whether a reset takes a new one; a given stretch of time stays what it is."""
        return self.from_us is None
