"""Stores that close themselves, and children that die."""

import os
import signal

import pytest

from storage.database import open_database
from storage.store import Store


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/riverd.db"


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
def database(url):
    opened = open_database(url)
    yield opened
    opened.close()


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
