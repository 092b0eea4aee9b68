"""Every command of the operating page works as it stands there, on a riverd that runs."""

import json
import signal
import sys
import time

import pytest

from riverd.cli import main
from riverd.client import Client, NobodyThereError
from tests.riverd.streams import settings, to_toml
from tests.riverd.terminal import Terminal
from tests.system.children import finish, tailing
from tests.system.page_commands import commands_of, links_of
from tests.system.programs import free_port

START_S = 1_357_000_000
SOUND = 2000


def configure(folder, port, **source):
    web, storage = {"listen": f"127.0.0.1:{port}"}, {"checkpoint": "1s"}
    source = {"path": "data", "idle_after": "100ms"} | source
    values = settings(alerts=[], source=source, storage=storage, web=web)
    (folder / "riverd.toml").write_text(to_toml(values), encoding="utf-8")


def write_stream(folder):
    """Events and labels, and 17 dead letters; the reason of the last goes with a limit that is too low."""
    event = {"shop": "a", "user": 1, "x": 0.5, "amount": 2.0}
    events = [json.dumps({"id": f"e{i}", "at": START_S + 20 * i} | event) for i in range(SOUND + 1)]
    labels = [json.dumps({"id": f"e{i}", "at": START_S + 20 * i + 60, "y": i % 3 == 0}) for i in range(SOUND)]
    lines = {"events": [*events[:-1], *["{"] * 16, events[-1].ljust(2000)], "labels": labels}
    for topic, messages in lines.items():
        path = folder / "data" / topic / "0.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(f"{message}\n" for message in messages), encoding="utf-8")


def wait_until_it_answers(url, within_s=30.0):
    client, end_s = Client(url), time.monotonic() + within_s
    while time.monotonic() < end_s:
        try:
            return client.status()
        except NobodyThereError:
            time.sleep(0.05)
    raise AssertionError("it never answers")


def watch(command):
    """Run a command on a terminal, and leave it by q once it shows the model."""
    terminal = Terminal(sys.executable, "-m", "riverd", *command)
    terminal.until(b"shops", meanwhile=lambda: None)
    terminal.press(b"q")
    return terminal.ended(meanwhile=lambda: None)


@pytest.mark.system
@pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")  # what is forked becomes another program at once
def test_the_commands_work_in_their_order(tmp_path, monkeypatch, capsys):
    commands = commands_of("operating.md")
    assert [" ".join(command[:2]) for command in commands] == [
        "top", "learning pause", "learning resume", "labels thaw", "deadletters list", "deadletters show",
        "deadletters replay", "doctor", "check",
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RIVERD_TOKEN", "t0ken")
    port = free_port()
    write_stream(tmp_path)
    configure(tmp_path, port, max_message_bytes=1024)
    assert finish(tmp_path)["counts"]["dead"] == 17
    configure(tmp_path, port)
    with tailing(tmp_path) as (child, wait_for):
        wait_for(lambda status: status["phase"] == "waiting")
        wait_until_it_answers(f"http://127.0.0.1:{port}")
        for command in commands:
            assert (watch(command) if command == ["top"] else main(command)) == 0, command
        said = capsys.readouterr().out
        for words in ("learning is paused", "learning is running", "nothing is frozen", "17 of 17 dead letters shown."):
            assert words in said
        assert "1 of 1 replayed; 0 stay dead letters." in said
        assert "kernels not compiled yet" not in said
        wait_for(lambda status: status["counts"]["events"] == SOUND + 1)  # what was sent again has come
        child.signal(signal.SIGTERM)
        assert child.wait() == 0
    assert all(path.exists() for path in links_of("operating.md"))
