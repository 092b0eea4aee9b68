"""The daemon as it lives: it waits for more, stops when asked, and tolerates no second one."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack

import pytest

from tests.riverd.streams import close_the_books
from tests.system.children import tailing
from tests.system.streams_on_disk import configure, write_data

pytestmark = pytest.mark.system


@pytest.fixture
def folder(tmp_path):
    write_data(tmp_path / "run" / "data", count=600)
    return configure(
        tmp_path / "run", tmp_path / "run" / "data", source={"path": "data", "poll_records": 100, "idle_after": "100ms"}
    )


def messages(path):
    return path.read_bytes().count(b"\n")


def test_it_picks_up_what_is_appended_and_new_files(folder):
    events, labels = folder / "data" / "events", folder / "data" / "labels"
    assert messages(labels / "2.jsonl") == 0  # stays empty, and must not hold the others back
    early = {path: path.read_bytes().splitlines(keepends=True) for path in (events / "0.jsonl", labels / "0.jsonl")}
    whole = sum(map(messages, (*events.iterdir(), *labels.iterdir())))
    for path, lines in early.items():
        path.write_bytes(b"".join(lines[: len(lines) // 2]))
    new_file = (labels / "1.jsonl").rename(folder / "later.jsonl")
    first = sum(map(messages, (*events.iterdir(), *labels.iterdir())))
    with tailing(folder) as (child, wait_for):
        wait_for(lambda status: status["counts"].get("messages") == first)
        for path, lines in early.items():
            half = len(lines) // 2
            with path.open("ab") as file:
                file.write(b"".join(lines[half:-1]) + lines[-1][:10])
        appended = sum(len(lines) - len(lines) // 2 - 1 for lines in early.values())
        # what is half written waits
        wait_for(lambda status: status["counts"].get("messages") == first + appended)
        new_file.rename(labels / "1.jsonl")
        for path, lines in early.items():
            with path.open("ab") as file:
                file.write(lines[-1][10:])
        wait_for(lambda status: status["counts"].get("messages") == whole)
        child.signal(signal.SIGTERM)
        assert child.wait() == 0
    assert child.result["counts"]["messages"] == whole
    close_the_books(child.result["counts"])
    assert child.result["counts"]["matched"] > 100

    with tailing(folder) as (child, wait_for):
        counts = wait_for(lambda status: status["phase"] == "waiting")["counts"]
        assert counts["messages"] == whole  # nothing is read twice
        child.signal(signal.SIGINT)
        assert child.wait() == 0


def test_a_second_one_is_refused(folder):
    with tailing(folder) as (child, wait_for):
        wait_for(lambda status: status["phase"] == "waiting")
        command = [sys.executable, "-m", "riverd", "run", "-c", str(folder / "riverd.toml"), "--until-idle"]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 1
        assert f"riverd: shops is already run by pid {child.pid} on {os.uname().nodename}" in second.stderr
        assert "Stop that process first" in second.stderr
        assert "Traceback" not in second.stderr
        child.signal(signal.SIGTERM)
        assert child.wait() == 0


def waits(status):
    return any("waiting to take over" in line for line in status["log"])


def test_a_standby_takes_over_from_one_that_was_killed(folder):
    with ExitStack() as both:
        first, wait_for_first = both.enter_context(tailing(folder))
        stored = wait_for_first(lambda status: status["phase"] == "waiting" and status["checkpoint"])
        standby, wait_for = both.enter_context(tailing(folder))
        wait_for(waits)
        first.signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
        counts = wait_for(lambda status: status["phase"] == "waiting")["counts"]
        assert counts["messages"] == stored["counts"]["messages"]
        standby.signal(signal.SIGTERM)
        assert standby.wait() == 0


def test_a_standby_gives_up_when_told_to(folder):
    with tailing(folder) as (_, wait_for_first):
        wait_for_first(lambda status: status["phase"] == "waiting")
        with tailing(folder) as (standby, wait_for):
            wait_for(waits)
            standby.signal(signal.SIGTERM)
            assert standby.wait(within_s=5) == 130


def test_it_stops_at_once_when_nothing_happens(folder):
    with tailing(folder) as (child, wait_for):
        wait_for(lambda status: status["phase"] == "waiting")
        child.signal(signal.SIGTERM)
        assert child.wait(within_s=5) == 0
        close_the_books(child.result["counts"])
