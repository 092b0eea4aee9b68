"""100,000 pairs through three partitions each, while riverd, the broker and the database are killed in turn."""

import pytest

from riverd.load_config import load_config
from riverd.replay import replay
from tests.riverd.streams import pairs, split, write
from tests.system.ordeal import KILLS, Stream, check_truth, endure, replays_are_equal
from tests.system.streams_on_disk import configure

pytestmark = pytest.mark.system


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory):
    """Children inherit what this compiles."""
    folder = tmp_path_factory.mktemp("compiled")
    write(split(pairs(100, seed=1), partitions=1), folder / "data")
    configure(folder, folder / "data")
    replay(load_config(folder / "riverd.toml"), folder / "riverd.toml")


def test_every_event_and_label_takes_effect_once(kafka, postgres, tmp_path):
    stream = Stream(pairs=100_000, seed=7)
    with postgres.database(template=postgres.with_tables) as url:
        ended = endure(kafka, postgres, url, tmp_path / "run", stream, kills=9)
    assert set(ended["killed"]) == set(KILLS)
    check_truth(ended, stream)
    replays_are_equal(tmp_path / "run")
