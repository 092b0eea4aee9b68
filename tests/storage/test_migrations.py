"""The migrations make the tables, from nothing and from what earlier versions left behind."""

import os
from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, inspect, select, text

import storage
from storage.database import connect, open_database
from storage.migration import migrate
from storage.store import Store
from storage.tables import REVISIONS, leases, metadata
from tests.storage.databases import only_postgresql

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


def migrated(url, *, to):
    database = connect(url)
    with database.writing() as connection:
        migrate(connection, to=to)
    return closing(database)


@pytest.fixture
def tables_of(empty_url):
    """What the tables would be if no migration had made them."""
    with closing(connect(empty_url)) as database, database.writing() as connection:
        metadata.create_all(connection)
        made = shape(connection)
        metadata.drop_all(connection)
    return made


def test_from_nothing(empty_url, tables_of):
    with closing(open_database(empty_url)) as database, database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert shape(connection) == tables_of
    assert len(tables_of) == 11


@pytest.mark.parametrize("version", REVISIONS[:-1])
def test_from_an_earlier_version(version, empty_url, tables_of):
    with migrated(empty_url, to=version) as database, database.writing() as connection:
        values = {"model": "m", "epoch": 7, "holder": "pid 1 on here", "at": 3}
        columns = "model, epoch, holder, acquired_at"
        connection.execute(text(f"INSERT INTO leases ({columns}) VALUES (:model, :epoch, :holder, :at)"), values)
    with closing(Store.open(empty_url, "m")) as store:
        with store.database.reading() as connection:
            assert shape(connection) == tables_of
            assert connection.execute(select(leases)).one() == ("m", 7, "pid 1 on here", 3, None)
        assert store.acquire() == 8


def test_the_list_of_revisions_is_the_folder_of_migrations():
    scripts = ScriptDirectory(f"{storage.__path__[0]}/migrations")
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == REVISIONS


def test_several_processes_may_open_a_new_database_at_once(empty_url, in_child):
    def race():
        pids = []
        for _ in range(5):
            pids.append(os.fork())
            if pids[-1] == 0:
                open_database(empty_url).close()
                os._exit(0)
        assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 5

    assert in_child(race) == 0


def test_a_schema_of_its_own(postgres):
    schemas = ("one", "two")
    with postgres.database() as url:
        for schema in schemas:
            postgres.run(f"CREATE SCHEMA {schema}", url=url)
            for epoch in (1, 2):
                with closing(Store.open(f"{url}?options=-csearch_path%3D{schema}", "m")) as store:
                    assert store.acquire() == epoch
        found = postgres.run("SELECT schemaname FROM pg_tables WHERE tablename = 'leases' ORDER BY 1", url=url)
        assert found == [(schema,) for schema in schemas]


@only_postgresql
def test_bytes_are_stored_as_they_are(url):
    with closing(connect(url)) as database, database.reading() as connection:
        query = select(func.array_agg(text("attname"))).select_from(text("pg_attribute"))
        query = query.where(text("attstorage = 'e' AND attrelid = ANY(ARRAY['blocks','snapshots']::regclass[])"))
        assert connection.scalar(query) == ["data", "data"]
