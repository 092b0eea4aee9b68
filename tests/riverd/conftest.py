"""A folder of its own to work in; receivers of alerts, and what delivers to them."""

import pytest

from tests.riverd.deliveries import World
from tests.riverd.http_receiver import HttpReceiver


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def receiver():
    made = []

    def make(*codes, **how):
        made.append(HttpReceiver(*codes, **how))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def world(tmp_path):
    made = []

    def make(**delivery):
        made.append(World(tmp_path, **delivery))
        return made[-1]

    yield make
    for each in made:
        each.store.close()
