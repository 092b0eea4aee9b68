"""Stores that close themselves, and children that die."""

import itertools
import os
import signal
import subprocess
from contextlib import closing

import pytest
from sqlalchemy import update

from storage.database import connect, open_database
from storage.store import Store
from storage.tables import leases


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """A database of the test's own; on PostgreSQL it has the tables already, which saves time."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/riverd.db"
    else:
        server = request.getfixturevalue("postgres")
        with server.database(template=server.with_tables) as made:
            yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request, tmp_path):
    """A database in which there is nothing yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/riverd.db"
    else:
        with request.getfixturevalue("postgres").database() as made:
            yield made


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def fresh_store(request):
    """Return a function that gives a store that is ready and empty; cheap enough for many examples."""
    if request.param == "sqlite":
        yield lambda **ports: ready(Store.open("sqlite://", "m", **ports))
        return
    server = request.getfixturevalue("postgres")
    with server.database(template=server.with_tables) as made:
        numbers = itertools.count()
        yield lambda **ports: ready(Store.open(made, f"m{next(numbers)}", **ports))


def ready(store):
    store.acquire()
    store.load()
    return store


@pytest.fixture
def open_store(url):
    """Return a function that opens the test's database for one model, ready to commit unless told otherwise."""
    opened = []

    def open_one(model="late-flights", *, ready=True, **ports):
        store = Store.open(url, model, **ports)
        opened.append(store)
        if ready:
            store.acquire()
            store.load()
        return store

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def lapse(url):
    """Return a function that makes a lease lapse whose holder was killed, without the wait."""

    def let_lapse():
        if url.startswith("postgresql"):
            with closing(connect(url)) as database, database.writing() as connection:
                connection.execute(update(leases).values(expires_at=0))

    return let_lapse


@pytest.fixture
def database(url):
    opened = open_database(url)
    yield opened
    opened.close()


@pytest.fixture
def small_disk():
    """Return a function that gives a folder on a file system of 32 MB which a server may use."""
    folders = []

    def make(server):
        folder = server.folder / "small"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
        if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("may not mount a file system")
        folders.append(folder)
        owner = server.folder.stat()
        os.chown(folder, owner.st_uid, owner.st_gid)
        return folder

    yield make
    for folder in folders:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def in_child():
    """Return a function that runs another in a forked process and tells how that ended: exit code or -signal."""

    def run(function):
        pid = os.fork()
        if pid == 0:
            try:
                function()
            except BaseException:
                os._exit(1)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    return run


@pytest.fixture
def kill_me():
    return lambda: os.kill(os.getpid(), signal.SIGKILL)
