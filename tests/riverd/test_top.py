"""``riverd top`` on a terminal of its own: the frame, the wait for one that is restarted, q."""

import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from riverd.addresses import Listen
from riverd.client import Client, NobodyThereError
from riverd.status import Status
from riverd.web.host import WebHost
from tests.riverd.terminal import Terminal

STATUS = Status("late-flights", "reading", None, 1.0, 2.0, {"events": 12_345}, paused_by="a command")


def nothing():
    pass


def top(url, **how):
    return Terminal(sys.executable, "-m", "riverd", "top", "--url", url, **how)


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


@pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")
def test_without_a_terminal_it_ends():
    host = WebHost(Listen("127.0.0.1", 0), obey=print)
    try:
        _wait_until_it_answers(host.listen.url, lambda: host.poll(lambda: STATUS))
        terminal = top(host.listen.url, deaf_to=[signal.SIGHUP])
        terminal.until(b"late-flights", meanwhile=lambda: host.poll(lambda: STATUS))
        terminal.hang_up()
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
