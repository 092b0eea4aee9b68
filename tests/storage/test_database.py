"""Opening: what cannot be opened says why, and what was opened keeps what it is given."""

import subprocess
import sys

import pytest
from sqlalchemy import event, text

import storage
from storage import sqlite
from storage.checkpoint import Checkpoint
from storage.database import open_database
from storage.errors import (
    CannotOpen,
    DamagedDatabase,
    DatabaseBusy,
    NewerSchema,
    NotADatabase,
    ReadOnly,
    UnsupportedUrl,
)
from storage.tables import REVISIONS
from tests.storage.databases import only_sqlite


def test_an_up_to_date_database_opens_without_alembic(url):
    open_database(url).close()
    code = f"import sys; from storage.store import Store; Store.open({url!r}, 'm'); assert 'alembic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=f"{storage.__path__[0]}/..")


@only_sqlite
def test_the_file_is_durable(database):
    with database.reading() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2


def test_a_newer_schema_is_refused(url, database):
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    with pytest.raises(
        NewerSchema, match=rf"version 0999; this riverd knows versions up to {REVISIONS[-1]}.\n.*upgrade riverd"
    ):
        open_database(url)


def test_a_file_that_is_something_else_is_refused_and_untouched(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("remember the milk\n" * 100)
    with pytest.raises(NotADatabase, match=r"notes.txt is not a SQLite database"):
        open_database(f"sqlite:///{file}")
    assert file.read_text() == "remember the milk\n" * 100


@only_sqlite
def test_a_cut_file_is_damaged(tmp_path, open_store):
    store = open_store()
    store.commit(Checkpoint(b"x" * 100_000))
    store.close()
    file = tmp_path / "riverd.db"
    file.write_bytes(file.read_bytes()[:8192])
    with pytest.raises(DamagedDatabase, match=r"riverd.db: the database file is damaged"):
        open_store()


def test_below_a_regular_file_no_database_can_be(tmp_path):
    (tmp_path / "plain").touch()
    with pytest.raises(CannotOpen, match=r"/plain is a file, not a folder"):
        open_database(f"sqlite:///{tmp_path}/plain/deep/riverd.db")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CannotOpen, match=r"the folder .*/no does not exist.\n  Create it:  mkdir -p '.*/no/such'"):
        open_database(f"sqlite:///{tmp_path}/no/such/riverd.db")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_a_database(tmp_path):
    with pytest.raises(CannotOpen, match="is a folder, not a database file"):
        open_database(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("riverd.db", r'"riverd.db" is not a URL.\n  Write "sqlite:///riverd.db"'),
        ("postgresql:/u:secret@host/db", r'"postgresql:/\*\*\*@host/db" is not a URL.\n'),
        ("postgresql://u:secret@host:secret/db", r'"postgresql://\*\*\*@host:secret/db" is not a URL.\n'),
        ("mysql://u:secret@host/db", r"mysql://u:\*\*\*@host/db.*SQLite or PostgreSQL"),
        (
            "postgresql+asyncpg://u:secret@host/db",
            r'//u@host/db" names the driver asyncpg.\n  Write "postgresql\+psycopg',
        ),
    ],
)
def test_other_urls_are_refused_without_telling_secrets(wrong, says):
    with pytest.raises(UnsupportedUrl, match=says) as raised:
        open_database(wrong)
    assert ":secret@" not in str(raised.value)


@only_sqlite
def test_a_locked_database_is_told_from_a_broken_one(database, open_store, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.01)
    store = open_store()
    with database.writing(), pytest.raises(DatabaseBusy, match=r"has kept the database locked for 0\.01 s"):
        store.commit(Checkpoint(b"1"))
    assert store.commit(Checkpoint(b"1")).number == 1


@only_sqlite
def test_a_read_only_database_is_told(open_store):
    store = open_store()
    event.listen(store.database.engine, "checkout", lambda c, *_: c.execute("PRAGMA query_only = ON"))
    with pytest.raises(ReadOnly, match="the database is read-only"):
        store.commit(Checkpoint(b"1"))
