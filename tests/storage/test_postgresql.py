"""What goes wrong with a server is said with its place and a remedy, and no password is ever told."""

import logging
import os
import re
import subprocess
import sys
import threading
import traceback
from contextlib import closing

import pytest
from sqlalchemy import text, update
from sqlalchemy.engine import make_url

from storage import postgresql
from storage.blocks import Block
from storage.checkpoint import Checkpoint
from storage.database import connect, open_database
from storage.errors import (
    AccessDenied,
    CannotOpen,
    ConnectionLost,
    DatabaseBusy,
    DiskFull,
    ReadOnly,
    StorageError,
    TooLarge,
    Unreachable,
    UnsupportedUrl,
)
from storage.store import Store
from storage.tables import leases
from tests.storage.databases import only_postgresql

SECRET = "s3cret"


@pytest.fixture(scope="module")
def users(postgres):
    """Somebody with a password, and a database of theirs."""
    postgres.run(f"CREATE ROLE ann LOGIN PASSWORD '{SECRET}'", "CREATE DATABASE anns OWNER ann")
    yield
    postgres.run("DROP DATABASE anns WITH (FORCE)", "DROP ROLE ann")


def opened(url):
    open_database(url).close()


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize(
    ("user", "password", "database", "kind", "says"),
    [
        ("ann", None, "anns", AccessDenied, r"ann needs a password.*\n  Give it in RIVERD_DATABASE_PASSWORD or PGPASS"),
        ("ann", "wr0ng", "anns", AccessDenied, r"the password is wrong.*\n  Give it in RIVERD_DATABASE_PASSWORD"),
        ("bob", "wr0ng", "anns", AccessDenied, r"there is no user bob"),
        ("river", None, "none", CannotOpen, r'no such database.*\n  Create it:  createdb --owner "river" .* "none"'),
        ("ann", SECRET, "postgres", AccessDenied, r'ann may not do that .*\n  .*ALTER DATABASE "postgres" OWNER TO "a'),
    ],
)
def test_who_is_not_let_in(user, password, database, kind, says, postgres, monkeypatch):
    monkeypatch.delenv("PGPASSWORD", raising=False)
    url = make_url(postgres.url(database, user=user)).set(password=password)
    with pytest.raises(kind, match=says) as raised:
        opened(url)
    message = str(raised.value)
    assert message.startswith(f"postgresql://{user}@127.0.0.1:{postgres.port}/{database}: ")
    assert "wr0ng" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize("way", ["url", "query", "PGPASSWORD", "pgpass"])
def test_the_password_is_told_nobody(way, postgres, monkeypatch, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    for variable in ("PGPASSWORD", "PGPASSFILE"):
        monkeypatch.delenv(variable, raising=False)
    url = make_url(postgres.url("anns", user="ann"))
    if way == "url":
        url = url.set(password=SECRET)
    elif way == "query":
        url = url.update_query_dict({"password": SECRET})
    elif way == "PGPASSWORD":
        monkeypatch.setenv(way, SECRET)
    else:
        (tmp_path / "pgpass").write_text(f"127.0.0.1:*:*:ann:{SECRET}\n")
        (tmp_path / "pgpass").chmod(0o600)
        monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    with closing(Store.open(url, "m")) as store:
        store.acquire()
        store.load()
        store.commit(Checkpoint(b"1"))
        with pytest.raises(StorageError) as raised, store.database.writing() as connection:
            connection.execute(text("SELECT no_such_function(:at)"), {"at": SECRET})
        assert SECRET not in repr(store.database) + store.database.place
    assert SECRET not in "".join(traceback.format_exception(raised.value)) + caplog.text


@pytest.mark.parametrize(
    ("url", "kind", "says"),
    [
        ("postgresql://u@127.0.0.1:1/d", Unreachable, r"no PostgreSQL answers.*pg_isready -h 127.0.0.1 -p 1"),
        ("postgresql://u@no.invalid/d", Unreachable, r"no machine has this name.*\n  Correct the host in \[storage\]"),
        ("postgresql://u@/d?host=/nowhere", Unreachable, r"^postgresql://u@/nowhere/d: no PostgreSQL answers"),
    ],
)
def test_where_no_server_is(url, kind, says):
    with pytest.raises(kind, match=re.compile(says, re.DOTALL)):
        opened(url)


def test_without_tls_where_it_is_asked_for(postgres):
    with pytest.raises(Unreachable, match=r"don't agree on TLS.*\n  .*\?sslmode=verify-full"):
        opened(postgres.url() + "?sslmode=require")


def test_a_server_that_is_too_old(postgres, monkeypatch):
    monkeypatch.setattr(postgresql, "OLDEST", 99)
    with pytest.raises(UnsupportedUrl, match=r"is PostgreSQL 1\d\.\d+; riverd needs 99 or newer.\n  Upgrade"):
        opened(postgres.url())


def test_a_database_that_is_not_in_utf_8(postgres):
    postgres.run("CREATE DATABASE latin ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    with pytest.raises(UnsupportedUrl, match=r"encoding LATIN1, .*\n  Make a new database:  createdb --encoding UTF8"):
        opened(postgres.url("latin"))
    postgres.run("DROP DATABASE latin")


def test_without_the_driver_it_says_what_to_install():
    code = "import sys; sys.modules['psycopg'] = None\nfrom storage.database import open_database\n"
    code += "try: open_database('postgresql://u@h/d')\nexcept Exception as error: print(type(error).__name__, error)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=os.getcwd())
    assert ended.stdout.startswith("UnsupportedUrl [storage] url names PostgreSQL, but its driver can't be used")
    assert "pip install 'riverd[postgresql]'" in ended.stdout


@pytest.fixture
def store(open_store):
    return open_store()


def fails(store, setting=None, *, state=b"1"):
    if setting:
        store.database.close()  # what is set for the database holds for new connections
        with store.database.reading() as connection:
            name = connection.scalar(text("SELECT current_database()"))
        with store.database.writing() as connection:
            connection.execute(text(f"ALTER DATABASE {name} SET {setting}"))
        store.database.close()
    store.commit(Checkpoint(state))


@only_postgresql
def test_a_standby_server_is_read_only(store):
    with pytest.raises(ReadOnly, match=r"read-only.*\n  Let \[storage\] url name the primary"):
        fails(store, "default_transaction_read_only = on")


@only_postgresql
def test_a_statement_that_takes_too_long(store):
    with pytest.raises(DatabaseBusy, match=r'too long.*\n  Nothing was half.*\n  ALTER ROLE "river" SET statement_tim'):
        fails(store, "statement_timeout = 1", state=bytes(30_000_000))


@only_postgresql
def test_rows_that_somebody_keeps_locked(store, monkeypatch, url):
    monkeypatch.setattr(postgresql, "LOCK_TIMEOUT_S", 0.05)
    with closing(Store.open(url, "m")) as mine:
        mine.acquire()
        mine.load()
        with store.database.writing() as connection:
            connection.execute(text("LOCK TABLE checkpoints IN ACCESS EXCLUSIVE MODE"))
            with pytest.raises(DatabaseBusy, match=r"keeps rows of riverd's locked .*\n  Find it in pg_stat_activity"):
                mine.commit(Checkpoint(b"1"))
        assert mine.commit(Checkpoint(b"1")).number == 1


@only_postgresql
def test_a_transaction_that_comes_in_between(store):
    with pytest.raises(DatabaseBusy, match=r"came in between .*\n  It is tried again"):
        disturbed(store.database)


def disturbed(database):
    with database.writing() as connection:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
        connection.execute(text("SELECT * FROM leases"))
        with database.writing() as other:
            other.execute(update(leases).values(holder="other"))
        connection.execute(update(leases).values(holder="mine"))


@only_postgresql
def test_a_value_of_more_than_a_gigabyte(store):
    with pytest.raises(TooLarge, match=r"no values of 1 GB"), store.database.writing() as connection:
        connection.execute(text("SELECT repeat('x', 2000000000)"))


def test_a_table_of_somebody_else(postgres):
    with postgres.database() as url:
        postgres.run("CREATE TABLE alerts (x int)", url=url)
        with pytest.raises(
            CannotOpen, match=r"another application has a table.*\"alerts\".*\n  Give riverd a database"
        ):
            opened(url)
        assert postgres.run("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", url=url) == [("alerts",)]


@only_postgresql
def test_a_session_that_is_ended(store, postgres):
    def end():
        postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'riverd'")

    store._reached = lambda place: place == "checkpoint.outbox" and end()
    with pytest.raises(ConnectionLost, match=r"being stopped or started .*\n  It is tried again"):
        store.commit(Checkpoint(b"1"))
    store._reached = lambda _: None
    assert store.commit(Checkpoint(b"1")).number == 1


@only_postgresql
def test_more_connections_than_the_server_takes(url, postgres):
    with pytest.raises(DatabaseBusy, match=r"takes no more connections .*\n  End some"):
        fill(url)


def fill(url):
    databases = [connect(url) for _ in range(70)]
    try:
        for database in databases:
            with database.reading():
                pass
    finally:
        for database in databases:
            database.close()


def test_a_disk_that_is_full(postgres, small_disk):
    folder = small_disk(postgres)
    postgres.run(f"CREATE TABLESPACE small LOCATION '{folder}'", "CREATE DATABASE tight TABLESPACE small")
    try:
        with closing(Store.open(postgres.url("tight"), "m")) as store:
            store.acquire()
            store.load()
            store.commit(Checkpoint(b"1"))
            with pytest.raises(DiskFull, match=r"the server's disk is full .*\n  Nothing was half written"):
                store.commit(Checkpoint(b"2", [Block("rows", 0, bytes(30_000_000))]))
            assert store.load().state == b"1"
            assert store.commit(Checkpoint(b"2")).number == 2
    finally:
        postgres.run("DROP DATABASE tight WITH (FORCE)", "DROP TABLESPACE small")


def test_a_thread_is_not_kept_waiting_by_a_server_that_is_not_there():
    """No pool and no thread is left behind by a failure to open."""
    before = threading.active_count()
    for _ in range(3):
        with pytest.raises(Unreachable):
            opened("postgresql://u@127.0.0.1:1/d")
    assert threading.active_count() == before
