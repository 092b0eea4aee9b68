"""Calls a compiled function without having its signature looked up each time: for single events that takes longest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Direct:
    """A kernel that has one signature, and is always called with it.

    Attributes
    ----------
    call
        Takes what the kernel takes. What has another type than at the first call is misread, so these must be
        arrays and numbers of our own.
    """

    def __init__(self, kernel: Callable[..., Any]) -> None:
        self._kernel = kernel
        self.call: Callable[..., Any] = self._first

    def _first(self, *arguments: Any) -> Any:
        result = self._kernel(*arguments)
        compiled = [*getattr(self._kernel, "overloads", {}).values()]
        # none without a compiler (NUMBA_DISABLE_JIT), and no attribute that numba promises
        self.call = getattr(compiled[0], "entry_point", self._kernel) if len(compiled) == 1 else self._kernel
        return result
