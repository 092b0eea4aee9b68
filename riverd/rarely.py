"""What is costly to know and changes slowly: looked up now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

EVERY_S = 10.0
SHARE = 0.01  # of the time at most


class Rarely(Generic[T]):
    """A value that is at least ten seconds old before it is made anew, longer where making it takes long.

    Examples
    --------
    >>> numbers = iter(range(100))
    >>> latest = Rarely(lambda: next(numbers))
    >>> latest(), latest()
    (0, 0)
    """

    def __init__(self, make: Callable[[], T], *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._make = make
        self._monotonic_s = monotonic_s
        self._latest: tuple[T, float] | None = None  # and until when it stands

    def __call__(self) -> T:
        began_s = self._monotonic_s()
        if self._latest is None or began_s >= self._latest[1]:
            value = self._make()
            ended_s = self._monotonic_s()
            self._latest = value, ended_s + max(EVERY_S, (ended_s - began_s) / SHARE)
        return self._latest[0]
