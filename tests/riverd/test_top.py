"""``riverd top`` on a terminal of its own: the frame, the wait for one that is restarted, q."""

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from riverd.addresses import Listen
from riverd.client import Client, NobodyThereError
from riverd.status import Status
from riverd.web.host import WebHost

DEADLINE_S = 30.0
STATUS = Status("late-flights", "reading", None, 1.0, 2.0, {"events": 12_345}, paused_by="a command")


class Terminal:
    """A process on a terminal of 80 by 24, and all that it has shown."""

    def __init__(self, *command):
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            os.execve(command[0], command, os.environ | {"TERM": "xterm-256color"})
        fcntl.ioctl(self.screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.shown = b""

    def read(self, within_s):
        """Whether it goes on; what it shows is added."""
        if not select.select([self.screen], [], [], within_s)[0]:
            return True
        try:
            more = os.read(self.screen, 1 << 16)
        except OSError:  # it has ended
            return False
        self.shown += more
        return bool(more)

    def press(self, key):
        os.write(self.screen, key)

    def ended(self, *, meanwhile):
        end_s = time.monotonic() + DEADLINE_S
        while self.read(0.05):
            meanwhile()
            assert time.monotonic() < end_s, self.shown[-2000:]
        os.close(self.screen)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def until(self, words, *, meanwhile):
        """Until it shows this, after what it was seen to show before."""
        end_s = time.monotonic() + DEADLINE_S
        while words not in self.shown:
            assert self.read(0.05), self.shown[-2000:]
            meanwhile()
            assert time.monotonic() < end_s, self.shown[-2000:]
        self.shown = self.shown.partition(words)[2]


def nothing():
    pass


def top(url):
    return Terminal(sys.executable, "-m", "riverd", "top", "--url", url)


@pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")  # what is forked becomes another program at once
@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_it_shows_the_frame_and_waits_for_one_that_is_restarted(key):
    host = WebHost(Listen("127.0.0.1", 0), obey=print)
    listen, poll = host.listen, lambda: host.poll(lambda: STATUS)
    try:
        _wait_until_it_answers(listen.url, poll)
        terminal = top(listen.url)
        terminal.until(b"late-flights", meanwhile=poll)
        terminal.until(b"learning paused by a command", meanwhile=poll)
        terminal.until(b"12,345", meanwhile=poll)
        host.close()
        terminal.until(f"waiting for riverd at {listen.url}".encode(), meanwhile=nothing)
        host = WebHost(listen, obey=print)
        terminal.until(b"late-flights", meanwhile=poll)
        terminal.press(key)
        assert terminal.ended(meanwhile=poll) == (0 if key == b"q" else 130)
        assert b"Traceback" not in terminal.shown
    finally:
        host.close()


def _wait_until_it_answers(url, poll):
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(_ask_until_ready, Client(url))
        while not asked.done():
            poll()
            time.sleep(0.01)
        asked.result()


def _ask_until_ready(client):
    for _ in range(300):
        try:
            return client.status()
        except NobodyThereError:
            time.sleep(0.05)
    raise AssertionError("it never answers")


@pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")
def test_where_nothing_runs_it_says_so_at_once():
    terminal = top("http://127.0.0.1:1")
    assert terminal.ended(meanwhile=nothing) == 1
    assert b"no riverd answers at http://127.0.0.1:1" in terminal.shown
