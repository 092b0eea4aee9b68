"""The web process's end of the pipe: the newest document, and a way to ask the engine for something."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from riverd.web.document import Answer, Command, Document, Wanted, read_answer, read_document, to_line

COMPILING_S = 600.0  # the first step compiles, which takes some 20 s where nothing else runs
BEAT_S = 30.0


class NotStartedError(Exception):
    """The engine has not said anything yet."""


class Link:
    """What is known of the engine.

    Parameters
    ----------
    write
        Sends bytes to the engine.
    monotonic_s
        Seconds of a clock that never goes back.
    """

    def __init__(self, write: Callable[[bytes], object], *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._monotonic_s = monotonic_s
        self._line: bytes | None = None
        self._document: Document | None = None
        self._heard_s = monotonic_s()
        self._commands = 0
        self._asked: dict[int, Answer | None] = {}  # by the command's number; None: not answered yet
        self._changed = asyncio.Condition()

    async def hear(self, line: bytes) -> None:
        """Take a line from the engine."""
        answer = read_answer(line)
        async with self._changed:
            if answer is None:
                self._line, self._document = line, read_document(line)
            elif answer.answers in self._asked:  # somebody still waits for it
                self._asked[answer.answers] = answer
            self._heard_s = self._monotonic_s()
            self._changed.notify_all()

    @property
    def line(self) -> bytes:
        """The newest document, as it came."""
        if self._line is None:
            raise NotStartedError
        return self._line

    @property
    def document(self) -> Document:
        """The newest document."""
        if self._document is None:
            raise NotStartedError
        return self._document

    @property
    def silent_s(self) -> float:
        """Seconds since the engine was last heard of."""
        return self._monotonic_s() - self._heard_s

    @property
    def alive(self) -> bool:
        """Whether the engine has been heard of lately enough."""
        compiling = self._document is None or self._document.status.phase == "compiling"
        return self.silent_s < (COMPILING_S if compiling else BEAT_S)

    async def command(self, what: Wanted, *, timeout_s: float) -> Document:
        """Ask the engine for something; return the document that shows that it is done.

        Raises
        ------
        TimeoutError
            It has not answered; it will do it when it comes to it.
        """
        number = self._tell(what)
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: self._document is not None and self._document.commands >= number)
            return self.document

    async def ask(self, what: Wanted, arguments: Mapping[str, Any], *, keys: Sequence[str], timeout_s: float) -> Answer:
        """Have the engine store a request; return what became of that.

        Raises
        ------
        TimeoutError
            It has not answered; it will do it when it comes to it.
        """
        number = self._tell(what, dict(arguments), list(keys))
        self._asked[number] = None
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: self._asked[number] is not None)
        finally:
            answer = self._asked.pop(number)
        assert answer is not None
        return answer

    def _tell(self, what: Wanted, arguments: dict[str, Any] | None = None, keys: list[str] | None = None) -> int:
        self._commands += 1
        self._write(to_line(Command(self._commands, what, arguments or {}, keys or [])))
        return self._commands
