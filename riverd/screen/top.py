"""``riverd top``: the screen of a running riverd, from any terminal that reaches it."""

from __future__ import annotations

import os
import selectors
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.text import Text

from riverd.client import Client, NobodyThereError
from riverd.screen.notation import span
from riverd.screen.terminal import LiveScreen

POLL_S = 1.0


def top(client: Client) -> None:
    """Draw its status once a second, until q or Ctrl-C; while it is gone, wait for it to come back.

    Raises
    ------
    NobodyThereError
        It is not there to begin with.
    """
    status = client.status()
    with _keys() as pressed, LiveScreen(Console()) as screen:
        gone_s: float | None = None
        while True:
            if gone_s is None:
                screen.update(status)
            if pressed(POLL_S) in ("q", "Q", "\x03"):
                return
            try:
                status = client.status()
                gone_s = None
            except NobodyThereError:
                gone_s = gone_s or time.monotonic()
                waited = span(time.monotonic() - gone_s)
                screen.say(Text(f"waiting for riverd at {client.url}, {waited}   (q leaves)"))


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """A function that waits so many seconds for a key, and gives it or ""."""
    if not sys.stdin.isatty():
        yield _no_key
        return
    number = sys.stdin.fileno()
    keyboard = selectors.DefaultSelector()
    keyboard.register(number, selectors.EVENT_READ)
    before = termios.tcgetattr(number)
    tty.setcbreak(number)  # keys come at once and are not shown; Ctrl-C interrupts as ever

    def pressed(within_s: float) -> str:
        if not keyboard.select(within_s):
            return ""
        with suppress(OSError):
            if key := os.read(number, 1):
                return key.decode(errors="replace")
        return "q"  # the terminal has hung up: nobody looks any more

    try:
        yield pressed
    finally:
        keyboard.close()
        with suppress(termios.error):
            termios.tcsetattr(number, termios.TCSADRAIN, before)


def _no_key(within_s: float) -> str:
    time.sleep(within_s)
    return ""
