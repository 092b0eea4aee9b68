"""The command line, as a process of its own."""

import json
import subprocess
import sys

import pytest

from riverd import __version__
from tests.riverd.streams import pairs, settings, split, to_toml, write

HEAVY = ("numpy", "numba", "river", "sqlalchemy", "pydantic", "msgspec", "rich", "narwhals")


@pytest.fixture
def riverd(tmp_path):
    """Return a function that calls riverd in an empty folder."""

    def call(*arguments, code=0):
        command = [sys.executable, "-m", "riverd", *arguments]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert ended.returncode == code, ended.stderr
        return ended

    return call


@pytest.fixture
def with_stream(tmp_path):
    """A config and a small stream in the folder."""
    (tmp_path / "riverd.toml").write_text(to_toml(settings()), encoding="utf-8")
    write(split(pairs(300, seed=1), partitions=1), tmp_path / "data")


def test_help_names_every_command(riverd):
    text = riverd("--help").stdout
    assert all(f"\n    {command} " in text for command in ("demo", "run", "replay", "top", "learning"))
    assert "--until-idle" in riverd("run", "--help").stdout


def test_version(riverd):
    assert riverd("--version").stdout == f"riverd {__version__}\n"


def test_a_wrong_call_ends_with_2(riverd):
    assert "invalid choice: 'rum'" in riverd("rum", code=2).stderr
    assert "required: COMMAND" in riverd(code=2).stderr
    assert "unrecognized arguments: --forever" in riverd("run", "--forever", code=2).stderr


@pytest.mark.parametrize("command", ["run", "replay"])
def test_a_missing_config_ends_with_1(riverd, command):
    ended = riverd(command, "-c", "none.toml", code=1)
    assert ended.stderr == (
        "riverd: none.toml does not exist.\n"
        "  Name your config with -c, or start from the one that `riverd demo` writes.\n"
    )
    assert ended.stdout == ""


@pytest.mark.usefixtures("with_stream")
def test_a_missing_topic_ends_with_1(riverd, tmp_path):
    (tmp_path / "data" / "labels").rename(tmp_path / "data" / "elsewhere")
    ended = riverd("run", "--until-idle", "--json", code=1)
    assert "topic 'labels' has no messages" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.usefixtures("with_stream")
def test_a_run_and_a_replay_end_with_one_object(riverd):
    first = json.loads(riverd("run", "--until-idle", "--json").stdout)
    assert first["counts"]["matched"] > 200
    again = json.loads(riverd("run", "--until-idle", "--json").stdout)  # there is nothing new
    assert again["counts"] == first["counts"]
    assert again["model_sha256"] == first["model_sha256"]
    replayed = json.loads(riverd("replay", "--json").stdout)
    assert replayed["model_sha256"] == first["model_sha256"]
    assert replayed["metrics"] == first["metrics"]
    half = json.loads(riverd("replay", "--json", "--to", "2013-01-01T01:10:00Z").stdout)
    assert 0 < half["counts"]["messages"] < first["counts"]["messages"]
    assert half["watermark"] < "2013-01-01T01:10:00Z"


@pytest.mark.usefixtures("with_stream")
def test_a_time_that_is_none_ends_with_1(riverd):
    assert riverd("replay", "--from", "yesterday", code=1).stderr.startswith(
        "riverd: --from 'yesterday' is not a time."
    )


def test_help_loads_nothing_heavy():
    program = (
        "import sys\nfrom riverd.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stderr == "[]\n"
