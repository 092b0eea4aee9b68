"""A look from outside changes nothing and waits for nobody."""

import hashlib

import pytest
from sqlalchemy import text

from storage.blocks import Block
from storage.checkpoint import Checkpoint
from storage.errors import NotADatabase, ReadOnly
from storage.inspection import inspect_database, reading
from storage.snapshots import NewSnapshot
from storage.tables import REVISIONS
from stream.records import AlertChange, DeadLetter


@pytest.fixture
def path(tmp_path):
    return tmp_path / "riverd.db"


def test_nothing_is_made(path):
    assert inspect_database(path, "m") is None
    assert not path.exists()


def test_an_empty_file_has_no_tables(path):
    path.touch()
    seen = inspect_database(path, "m")
    assert (seen.bytes, seen.schema, seen.model) == (0, None, None)
    assert path.read_bytes() == b""


def test_what_a_model_has(open_store, path):
    store = open_store(now=lambda: 77)
    alert = AlertChange("loss", "firing", 1, 1, "logloss", "1d", 0.9, 0.5, "warning")
    letters = [DeadLetter("t", "0", 1, "bad", b""), DeadLetter("t", "0", 2, "bad", b"")]
    store.commit(Checkpoint(b"abc", [Block("rows", 0, b"1234"), Block("panes", 0, b"5")], alerts=[alert]))
    snapshot = NewSnapshot(0, "why", {}, b"123456")
    store.commit(Checkpoint(b"defg", [Block("rows", 1, b"12")], dead_letters=letters, snapshot=snapshot))
    seen = inspect_database(path, "late-flights")
    assert seen.schema == REVISIONS[-1]
    assert seen.bytes > path.stat().st_size  # what is in the log counts
    model = seen.model
    assert [(c.number, c.created_at, c.bytes) for c in model.checkpoints] == [(2, 77, 6), (1, 77, 8)]
    assert model.state == b"defg"
    assert model.blocks_bytes == {"rows": 6, "panes": 1}
    assert (model.snapshots, model.snapshots_bytes) == (1, 6)
    assert (model.dead_letters, model.newest_dead_letter_at, model.firing) == (2, 77, ["loss"])
    assert model.running
    store.close()
    assert inspect_database(path, "late-flights").model.running is False


def test_another_model_has_nothing(open_store, path):
    open_store().commit(Checkpoint(b"abc"))
    model = inspect_database(path, "other").model
    assert (model.checkpoints, model.state, model.holder, model.dead_letters, model.running) == (
        [],
        None,
        None,
        0,
        False,
    )


def test_a_writer_in_the_middle_does_not_matter(open_store, path):
    store = open_store()
    store.commit(Checkpoint(b"abc"))
    before = hashlib.sha256(path.read_bytes()).digest()
    with store.database.writing():
        assert inspect_database(path, "late-flights").model.state == b"abc"
    assert hashlib.sha256(path.read_bytes()).digest() == before


def test_it_could_not_write_if_it_wanted(open_store, path):
    open_store().close()
    with pytest.raises(ReadOnly, match="read-only"), reading(path) as connection:
        connection.execute(text("DELETE FROM leases"))


def test_something_else_is_said_to_be_so(path):
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(NotADatabase, match=r"riverd\.db is not a SQLite database"):
        inspect_database(path, "m")
