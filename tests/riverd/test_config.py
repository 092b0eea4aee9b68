"""What is wrong with a riverd.toml is said with place and remedy; a right one is understood."""

import re
from pathlib import Path

import pytest

from riverd.demo import CONFIG
from riverd.durations import UNITS_US
from riverd.errors import ConfigError
from riverd.load_config import load_config, parse_config
from tests.riverd.streams import labelled_config, settings

GOLDEN = Path(__file__).with_name("broken_configs.txt")

SMALLEST = """\
[model]
name = "late-flights"
[events]
topic = "flights"
id = "id"
time = "at"
[labels]
topic = "arrivals"
id = "id"
time = "at"
[features]
categories = ["carrier"]
"""


def cases():
    """The cases of the golden file: a line, what to put in its place, and the message."""
    made = []
    for case in GOLDEN.read_text(encoding="utf-8").split("\n\n==== ")[1:]:
        change, _, message = case.partition("\n")
        old, _, new = change.partition(" => ")
        old, new = old.replace("\\n", "\n"), new.replace("\\n", "\n")
        made.append(pytest.param(old, new, message.rstrip("\n"), id=change[-60:]))
    return made


@pytest.fixture
def explained(tmp_path, monkeypatch):
    """Return a function that gives what is said of a config, by the name of riverd.toml."""
    monkeypatch.chdir(tmp_path)

    def explain(text):
        Path("riverd.toml").write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as fault:
            load_config(Path("riverd.toml"))
        return str(fault.value)

    return explain


@pytest.mark.parametrize(("old", "new", "message"), cases())
def test_a_broken_config_is_explained(old, new, message, explained):
    assert SMALLEST.count(old) == 1, "the line to be replaced must be there"
    assert explained(SMALLEST.replace(old, new)) == message


@pytest.mark.parametrize(("old", "new", "message"), cases())
def test_every_fault_comes_with_a_remedy(old, new, message):
    # a line that says what is wrong, then an indented one that says what to do
    assert re.fullmatch(r"(riverd\.toml:? .+\n(  .+\n?)+)+", message), message


def test_a_missing_file_and_one_that_is_no_text(tmp_path, explained):
    with pytest.raises(ConfigError, match=r"none\.toml does not exist\.\n  Name your config with -c"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="can't be read"):
        load_config(tmp_path)
    Path("latin.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(ConfigError, match=r"latin\.toml is not UTF-8 text"):
        load_config(Path("latin.toml"))


def test_the_environment_says_where_to_listen(tmp_path, monkeypatch, explained):
    path = tmp_path / "riverd.toml"
    path.write_text(SMALLEST)
    monkeypatch.setenv("RIVERD_LISTEN", "0.0.0.0:80")
    assert load_config(path).web.address == ("0.0.0.0", 80)
    monkeypatch.setenv("RIVERD_LISTEN", "")
    assert load_config(path).web.address == ("127.0.0.1", 8765)
    monkeypatch.setenv("RIVERD_LISTEN", "everywhere")
    assert explained(SMALLEST).startswith('RIVERD_LISTEN = "everywhere" has no port.\n  Write address and')


def test_defaults():
    config = parse_config({k: v for k, v in settings(alerts=[]).items() if k != "monitors"}, "riverd.toml")
    assert config.source.path == "data"
    assert config.storage.checkpoint == 60 * UNITS_US["s"]
    assert config.monitors.tick_us == UNITS_US["h"]
    assert config.labels is not None
    assert not config.labels.at_maturity


@pytest.mark.parametrize(
    ("missing", "learn", "at_maturity"),
    [("drop", None, False), ("negative", None, True), ("negative", "arrival", False), ("drop", "maturity", True)],
)
def test_when_it_learns(missing, learn, at_maturity):
    labels = {"missing": missing} | ({"learn": learn} if learn else {})
    assert parse_config(settings(labels=labels), "riverd.toml").labels.at_maturity == at_maturity


@pytest.mark.parametrize(("shortest", "tick_s"), [("1m", 60), ("30m", 75), ("1h", 150), ("1d", 3600), ("7d", 25200)])
def test_the_tick_is_a_part_of_the_shortest_window(shortest, tick_s):
    config = parse_config(settings(monitors={"windows": [shortest]}, alerts=[]), "riverd.toml")
    assert config.monitors.tick_us == tick_s * UNITS_US["s"]


def test_what_the_state_depends_on():
    first = parse_config(settings(), "riverd.toml").learned_from
    assert first["labels"]["window"] == "1h"  # as people write it, so that a refusal reads well
    assert parse_config(settings(model={"name": "other"}, alerts=[]), "riverd.toml").learned_from == first
    assert parse_config(settings(model={"l2": 1e-6}), "riverd.toml").learned_from != first
    assert labelled_config().learned_from["labels"] is None


def test_windows_of_too_many_panes_are_explained(explained):
    wide = SMALLEST + '[monitors]\nwindows = ["1m", "365d"]\n'
    assert re.search(r"need 52\d,\d{3} panes of 1m .*\n  Make the shortest window longer", explained(wide))


def test_the_demo_config_is_right(tmp_path):
    path = tmp_path / "riverd.toml"
    path.write_text(CONFIG, encoding="utf-8")
    assert [alert.name for alert in load_config(path).alerts] == ["many-late", "logloss-high", "labels-missing"]
