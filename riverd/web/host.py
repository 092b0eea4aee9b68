"""The engine's end of the web process: starts it, feeds it, does what it asks, and survives it."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future

import msgspec

from riverd import __version__
from riverd.addresses import LISTEN_VARIABLE, Listen
from riverd.errors import ConfigError
from riverd.status import Status
from riverd.web.document import Answer, Command, Document, read_command, to_line
from riverd.web.token import VARIABLE, token_from_environment

log = logging.getLogger("riverd")

PUBLISH_S = 1.0
FIRST_RESTART_S, LAST_RESTART_S = 1.0, 60.0
STEADY_S = 60.0  # whoever ran so long was well
END_S = 3.0
PIPE_BYTES = 1 << 20  # a document fits, so that it goes in one write, and so do many commands
# with the engine's own path: what lies in the working folder must not hide our packages
PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from riverd.web.process import main; main()"


class WebHost:
    """Runs the web process beside the engine; every method returns at once, whatever that process does.

    The engine's thread calls ``poll`` between two steps. A document that the web process does not take in time
    is left out. If it ends, it is started again, later each time; the socket stays open meanwhile.

    Parameters
    ----------
    listen
        Where.
    obey
        Carries a command out; where that has to be stored first, it returns the answer to come.
    monotonic_s
        Seconds of a clock that never goes back.

    Raises
    ------
    ConfigError
        The address is taken or not this machine's, or others could read without a token.
    """

    def __init__(
        self,
        listen: Listen,
        *,
        obey: Callable[[Command], Future[Answer] | None],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        if not listen.is_loopback and token_from_environment() is None:
            raise ConfigError(
                f"{_named(listen)} lets other machines in, but {VARIABLE} is not set.\n"
                f'  Set it: reading needs it there. Or listen on "127.0.0.1:{listen.port}".'
            )
        self._socket = _bind(listen)
        self._guarded = not listen.is_loopback
        self._obey = obey
        self._monotonic_s = monotonic_s
        self._started_at = time.time_ns() // 1000
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._start_at_s = self._published_s = float("-inf")
        self._failures = 0
        self._commands = 0  # the last one carried out
        self._awaited: list[Future[Answer]] = []
        self._unsent = b""
        self._received = b""
        self.listen = Listen(listen.host, self._socket.getsockname()[1])

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def poll(self, status: Callable[[], Status]) -> None:
        """Do what was asked, and publish ``status()`` if the last document is a second old or a command was done."""
        obeyed = self._obey_all()
        self._answer()
        now_s = self._monotonic_s()
        if not obeyed and now_s - self._published_s < PUBLISH_S:
            return
        self._published_s = now_s
        self._keep_running(now_s)
        if self._process is not None:
            self._send(status())

    def close(self) -> None:
        """End the web process, gently at first; the socket is closed."""
        self._socket.close()
        if self._process is not None:
            self._close_pipes()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _keep_running(self, now_s: float) -> None:
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            self._close_pipes()
            self._process = None
            self._failures = 0 if now_s - self._started_s >= STEADY_S else self._failures + 1
            delay_s = min(FIRST_RESTART_S * 2 ** min(max(self._failures - 1, 0), 10), LAST_RESTART_S)
            self._start_at_s = now_s + delay_s
            log.error(
                "the web process has ended (code %d); the engine goes on, and starts it again in %.0f s", code, delay_s
            )
        if now_s >= self._start_at_s:
            self._start(now_s)

    def _start(self, now_s: float) -> None:
        number = self._socket.fileno()
        access = "guarded" if self._guarded else "open"
        command = [sys.executable, "-P", "-c", PROGRAM, json.dumps(sys.path), access, str(number)]
        try:
            # a session of its own: Ctrl-C is for the engine, which ends it
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[number], start_new_session=True
            )
        except OSError as error:
            self._failures += 1
            self._start_at_s = now_s + LAST_RESTART_S
            log.error("the web process can't be started, again in %.0f s: %s", LAST_RESTART_S, error)
            return
        assert process.stdin is not None  # both are pipes
        assert process.stdout is not None
        for pipe in (process.stdin, process.stdout):
            os.set_blocking(pipe.fileno(), False)
            if hasattr(fcntl, "F_SETPIPE_SZ"):
                fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._process, self._started_s = process, now_s
        self._commands, self._unsent, self._received = 0, b"", b""
        self._awaited.clear()  # whoever asked it is gone
        log.info("web: %s (pid %d)", self.listen.url, process.pid)

    def _send(self, status: Status) -> None:
        if not self._unsent:
            now_us = time.time_ns() // 1000
            self._unsent = to_line(Document(__version__, self._started_at, now_us, self._commands, status))
        self._flush()

    def _answer(self) -> None:
        done = [to_come for to_come in self._awaited if to_come.done()]
        if done and self._process is not None:
            self._awaited = [to_come for to_come in self._awaited if to_come not in done]
            self._unsent += b"".join(to_line(to_come.result()) for to_come in done)
            self._flush()

    def _flush(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            sent = os.write(self._process.stdin.fileno(), self._unsent)
        except BlockingIOError:  # it does not read
            return
        except BrokenPipeError:  # it has ended; the next poll finds out
            self._unsent = b""
            return
        self._unsent = self._unsent[sent:]

    def _obey_all(self) -> bool:
        if self._process is None or self._process.stdout is None:
            return False
        try:
            self._received += os.read(self._process.stdout.fileno(), 1 << 16)
        except BlockingIOError:
            return False
        obeyed = False
        while b"\n" in self._received:
            line, _, self._received = self._received.partition(b"\n")
            try:
                command = read_command(line)
            except msgspec.DecodeError as error:
                log.error("the web process says what is no command: %s", error)
                continue
            to_come = self._obey(command)
            if to_come is not None:
                self._awaited.append(to_come)
            self._commands, obeyed = command.number, True
        return obeyed

    def _close_pipes(self) -> None:
        assert self._process is not None
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _named(listen: Listen) -> str:
    """The address, by where it was set."""
    name = LISTEN_VARIABLE if os.environ.get(LISTEN_VARIABLE) else "[web] listen"
    return f'{name} = "{listen.host}:{listen.port}"'


def _bind(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((listen.host, listen.port))
        bound.listen(128)
    except OSError as error:
        bound.close()
        raise ConfigError(
            f"{_named(listen)} can't be had: {error.strerror}.\n"
            '  Another riverd, or another program, may listen there (ss -ltnp); choose another port, or listen = "".'
        ) from None
    return bound
