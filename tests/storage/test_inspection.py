"""A look from outside changes nothing and waits for nobody."""

import hashlib

import pytest
from sqlalchemy import text, update

from storage.blocks import Block
from storage.checkpoint import Checkpoint
from storage.errors import NotADatabase, ReadOnly
from storage.inspection import inspect_database, reading
from storage.snapshots import NewSnapshot
from storage.tables import REVISIONS, checkpoints
from stream.records import AlertChange, DeadLetter
from tests.storage.databases import only_sqlite


@pytest.fixture
def path(tmp_path):
    return tmp_path / "riverd.db"


def test_nothing_is_made(path):
    assert inspect_database(f"sqlite:///{path}", "m") is None
    assert not path.exists()


def test_an_empty_file_has_no_tables(path):
    path.touch()
    seen = inspect_database(f"sqlite:///{path}", "m")
    assert (seen.bytes, seen.schema, seen.model) == (0, None, None)
    assert path.read_bytes() == b""


def test_an_empty_database_gets_no_tables(postgres):
    with postgres.database() as url:
        seen = inspect_database(url, "m")
        assert (seen.schema, seen.model) == (None, None)
        assert postgres.run("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", url=url) == [(0,)]


def test_what_a_model_has(open_store, url, path):
    store = open_store(now=lambda: 77)
    alert = AlertChange("loss", "firing", 1, 1, "logloss", "1d", 0.9, 0.5, "warning")
    letters = [DeadLetter("t", "0", 1, "bad", b""), DeadLetter("t", "0", 2, "bad", b"")]
    store.commit(Checkpoint(b"abc", [Block("rows", 0, b"1234"), Block("panes", 0, b"5")], alerts=[alert]))
    snapshot = NewSnapshot(0, "why", {}, b"123456")
    store.commit(Checkpoint(b"defg", [Block("rows", 1, b"12")], dead_letters=letters, snapshots=[snapshot]))
    seen = inspect_database(url, "late-flights")
    assert seen.schema == REVISIONS[-1]
    if path.exists():
        assert seen.bytes > path.stat().st_size  # what is in the log counts
        assert seen.server is None
    else:
        assert seen.bytes > 1_000_000
        assert seen.server.startswith("PostgreSQL 1")
    model = seen.model
    assert [(c.number, c.created_at, c.bytes) for c in model.checkpoints] == [(2, 77, 6), (1, 77, 8)]
    assert model.state == b"defg"
    assert model.blocks_bytes == {"rows": 6, "panes": 1}
    assert (model.snapshots, model.snapshots_bytes) == (1, 6)
    assert (model.dead_letters, model.newest_dead_letter_at, model.firing) == (2, 77, ["loss"])
    assert model.running
    store.close()
    assert inspect_database(url, "late-flights").model.running is False


def test_another_model_has_nothing(open_store, url):
    open_store().commit(Checkpoint(b"abc"))
    model = inspect_database(url, "other").model
    assert (model.checkpoints, model.state, model.holder, model.dead_letters, model.running) == (
        [],
        None,
        None,
        0,
        False,
    )


@only_sqlite
def test_a_file_stays_as_it_is(open_store, url, path):
    open_store().commit(Checkpoint(b"abc"))
    before = hashlib.sha256(path.read_bytes()).digest()
    inspect_database(url, "late-flights")
    assert hashlib.sha256(path.read_bytes()).digest() == before


def test_a_writer_in_the_middle_does_not_matter(open_store, url):
    store = open_store()
    store.commit(Checkpoint(b"abc"))
    with store.database.writing() as connection:
        connection.execute(update(checkpoints).values(state=b"xyz"))
        assert inspect_database(url, "late-flights").model.state == b"abc"


def test_it_could_not_write_if_it_wanted(open_store, url):
    store = open_store()
    with pytest.raises(ReadOnly, match="read-only"), reading(store.database) as connection:
        connection.execute(text("DELETE FROM leases"))


def test_something_else_is_said_to_be_so(path):
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(NotADatabase, match=r"riverd\.db is not a SQLite database"):
        inspect_database(f"sqlite:///{path}", "m")
