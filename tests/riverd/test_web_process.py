"""The web process: it serves, it may die or hang, and the engine does not feel it."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from riverd.addresses import Listen
from riverd.client import Client
from riverd.errors import ConfigError, RiverdError
from riverd.web.host import WebHost
from tests.riverd.web import STATUS, Running, in_background


@pytest.fixture
def running(monkeypatch):
    monkeypatch.setenv("RIVERD_TOKEN", "t0ken")
    made = Running()
    yield made
    made.host.close()


def test_a_real_process_serves_what_the_engine_says(running):
    client = Client(running.url)
    asked = in_background(client.status)
    running.until(asked.done)
    assert replace(asked.result(), events=[]) == replace(STATUS, events=[])
    paused = in_background(lambda: client.set_learning("paused"))
    running.until(paused.done)
    paused.result()
    assert client.status().paused_by == "a command"
    thawed = in_background(client.thaw_labels)
    running.until(thawed.done)
    assert thawed.result() is False
    assert running.obeyed == ["pause", "thaw"]


def test_killed_it_is_started_again_and_the_engine_goes_on(running, caplog):
    client = Client(running.url)
    running.until(in_background(client.status).done)
    first = running.host.pid
    os.kill(first, signal.SIGKILL)
    running.until(lambda: running.host.pid not in (None, first))
    asked = in_background(client.status)  # the socket never closed: this waits for the new one
    running.until(asked.done)
    assert asked.result().model == "shops"
    assert "the web process has ended (code -9); the engine goes on, and starts it again in 1 s" in caplog.text


def test_one_that_hangs_does_not_hold_up_the_engine(monkeypatch):
    now_s = [0.0]
    running = Running(monotonic_s=lambda: now_s[0])
    running.status = replace(STATUS, history=[(number, 0.5, 0.5) for number in range(20_000)])
    try:
        running.until(in_background(Client(running.url).status).done)
        os.kill(running.host.pid, signal.SIGSTOP)
        before_s = time.monotonic()
        for _ in range(50):
            now_s[0] += 1.0
            running.poll()  # more than any pipe holds
        assert time.monotonic() - before_s < 2.0
        os.kill(running.host.pid, signal.SIGCONT)
        running.status = replace(running.status, model="after")

        def came_through():
            now_s[0] += 1.0
            return Client(running.url).status().model == "after"

        running.until(came_through)
    finally:
        running.host.close()


def test_it_does_not_outlive_an_engine_that_was_killed(tmp_path):
    program = (
        "import time\nfrom riverd.addresses import Listen\nfrom riverd.status import Status\n"
        "from riverd.web.host import WebHost\n"
        "host = WebHost(Listen('127.0.0.1', 0), obey=print)\n"
        "status = Status('m', 'reading', None, 0.0, 0.0, {})\n"
        "host.poll(lambda: status)\nprint(host.pid, flush=True)\ntime.sleep(60)\n"
    )
    engine = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    pid = int(engine.stdout.readline())
    web = os.pidfd_open(pid)
    engine.kill()
    engine.wait()
    engine.stdout.close()
    assert select.select([web], [], [], 20.0)[0], "it lives on"
    os.close(web)


def test_an_address_that_is_taken_is_explained():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError) as fault:
            WebHost(Listen("127.0.0.1", port), obey=print)
    assert str(fault.value) == (
        f'[web] listen = "127.0.0.1:{port}" can\'t be had: Address already in use.\n'
        '  Another riverd, or another program, may listen there (ss -ltnp); choose another port, or listen = "".'
    )


def test_other_machines_are_let_in_with_a_token_alone(monkeypatch):
    monkeypatch.delenv("RIVERD_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=r"lets other machines in, but RIVERD_TOKEN is not set.\n  Set it"):
        WebHost(Listen("0.0.0.0", 0), obey=print)
    monkeypatch.setenv("RIVERD_LISTEN", "0.0.0.0:0")
    with pytest.raises(ConfigError, match=r'^RIVERD_LISTEN = "0.0.0.0:0" lets other machines in'):
        WebHost(Listen("0.0.0.0", 0), obey=print)
    monkeypatch.setenv("RIVERD_TOKEN", "t0ken")
    WebHost(Listen("0.0.0.0", 0), obey=print).close()


def test_the_engine_does_not_load_what_only_the_web_needs():
    program = (
        "import sys\nimport riverd.service\n"
        "print([name for name in ('fastapi', 'starlette', 'uvicorn', 'prometheus_client', 'urllib3')"
        " if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_a_wrong_token_is_explained(running, monkeypatch):
    running.until(in_background(Client(running.url).status).done)
    monkeypatch.setenv("RIVERD_TOKEN", "wrong")
    asked = in_background(lambda: Client(running.url).set_learning("paused"))
    running.until(asked.done)
    with pytest.raises(RiverdError, match=r"/learning refuses \(HTTP 401\): This needs the token"):
        asked.result()
    assert running.obeyed == []
