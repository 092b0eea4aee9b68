"""Opening: the tables are what they should be, and what cannot be opened says why."""

import os
import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event, inspect, text

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
from storage.tables import REVISIONS, metadata

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # what is forked starts no threads


def shape(connection):
    """Everything that reflection can tell."""
    inspector = inspect(connection)
    return {
        table: (
            [{**column, "type": repr(column["type"])} for column in inspector.get_columns(table)],
            inspector.get_pk_constraint(table),
            inspector.get_unique_constraints(table),
            inspector.get_indexes(table),
        )
        for table in sorted(inspector.get_table_names())
        if table != "alembic_version"
    }


def test_the_migrations_make_the_tables(database):
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        migrated = shape(connection)
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection)
        assert migrated == shape(connection)
    engine.dispose()
    assert len(migrated) == 8


def test_the_list_of_revisions_is_the_folder_of_migrations():
    scripts = ScriptDirectory(f"{storage.__path__[0]}/migrations")
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == REVISIONS


def test_an_up_to_date_database_opens_without_alembic(url):
    open_database(url).close()
    code = f"import sys; from storage.store import Store; Store.open({url!r}, 'm'); assert 'alembic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=f"{storage.__path__[0]}/..")


def test_the_file_is_durable(database):
    with database.reading() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2


def test_several_processes_may_open_a_new_database_at_once(url, in_child):
    def race():
        pids = []
        for _ in range(5):
            pids.append(os.fork())
            if pids[-1] == 0:
                open_database(url).close()
                os._exit(0)
        assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 5

    assert in_child(race) == 0


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
        ("postgresql://u:secret@host/db", r"postgresql://u:\*\*\*@host/db.*SQLite only"),
    ],
)
def test_other_urls_are_refused_without_telling_secrets(wrong, says):
    with pytest.raises(UnsupportedUrl, match=says):
        open_database(wrong)


def test_a_locked_database_is_told_from_a_broken_one(database, open_store, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.01)
    store = open_store()
    with database.writing(), pytest.raises(DatabaseBusy, match=r"has kept the database locked for 0\.01 s"):
        store.commit(Checkpoint(b"1"))
    assert store.commit(Checkpoint(b"1")).number == 1


def test_a_read_only_database_is_told(open_store):
    store = open_store()
    event.listen(store.database.engine, "checkout", lambda c, *_: c.execute("PRAGMA query_only = ON"))
    with pytest.raises(ReadOnly, match="the database is read-only"):
        store.commit(Checkpoint(b"1"))
