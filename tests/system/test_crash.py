"""Killed at any moment and started again, riverd ends as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import sys

import pytest

from riverd.failpoints import FAIL_POINTS, VARIABLE
from riverd.load_config import load_config
from riverd.replay import replay
from tests.riverd.streams import close_the_books
from tests.system.children import facts, finish, run_child
from tests.system.streams_on_disk import configure, write_data

pytestmark = pytest.mark.system

COUNT = 4_000
KILLS = 12


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), count=COUNT)


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """The folder and the final object of a run without a fault."""
    folder = configure(tmp_path_factory.mktemp("undisturbed"), data)
    config = load_config(folder / "riverd.toml")
    replay(config, folder / "riverd.toml")  # children inherit what it compiles
    return folder, finish(folder)


@pytest.fixture(scope="module")
def expected(undisturbed):
    """What every run must end with."""
    folder, result = undisturbed
    close_the_books(result["counts"])
    ends = facts(folder, result)
    assert len(ends["dead letters"]) == result["counts"]["dead"] + result["counts"]["conflict"] > 100
    assert len(ends["alerts table"]) > 5
    return ends


@pytest.fixture
def folder(data, tmp_path, expected):
    return configure(tmp_path / "run", data)


@pytest.mark.parametrize("place", FAIL_POINTS)
def test_killed_at(place, folder, expected):
    for count in (1, 3):
        assert run_child(folder, fails_at=f"{place}:{count}").wait() == -signal.SIGKILL
    assert facts(folder, finish(folder)) == expected


def test_killed_at_random_moments(folder, undisturbed, expected):
    rng = random.Random(4)
    longest_s = undisturbed[1]["seconds"] / 10  # so that the kills are spread over the run
    killed = 0
    for _ in range(KILLS):
        child = run_child(folder)
        if not child.ended(within_s=rng.random() * longest_s):
            child.signal(signal.SIGKILL)
        killed += child.wait() == -signal.SIGKILL
    assert killed > KILLS / 2
    assert facts(folder, finish(folder)) == expected


def test_the_command_line_killed_and_started_again(folder, expected):
    command = [sys.executable, "-m", "riverd", "run", "-c", str(folder / "riverd.toml"), "--until-idle", "--json"]

    def call(**environment):
        return subprocess.run(
            command, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
        )

    for place in ("checkpoint.commit:3", "engine.learned:40"):
        assert call(**{VARIABLE: place}).returncode == -signal.SIGKILL
    ended = call()
    assert ended.returncode == 0, ended.stderr
    assert facts(folder, json.loads(ended.stdout)) == expected


def test_a_second_end_changes_nothing(folder, expected):
    assert facts(folder, finish(folder)) == expected
    assert facts(folder, finish(folder)) == expected


def test_stopped_by_sigterm_and_started_again(folder, expected):
    stopped = 0
    for after in (1000, 3000):

        def show(status, after=after, stopped=stopped):
            if status.phase == "compiling" and status.counts["messages"] != stopped:
                os._exit(99)  # it did not go on where the last one had stopped
            if status.phase == "reading" and status.counts["events"] >= after:
                os.kill(os.getpid(), signal.SIGTERM)

        child = run_child(folder, show=show)
        assert child.wait() == 0
        assert stopped < child.result["counts"]["messages"] < expected["counts"]["messages"]
        close_the_books(child.result["counts"])
        stopped = child.result["counts"]["messages"]
    assert facts(folder, finish(folder)) == expected
