"""Servers that tests share: each is started when the first test asks for it, once in a session."""

import gc
import logging
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from tests.system.kafka import Kafka
from tests.system.postgres import Postgres

MEMORY, ROOMY_BYTES = Path("/dev/shm"), 8 << 30


KERNELS = Path(__file__).parents[1] / "models" / "kernels"


def forget_outdated_kernels():
    """What was compiled of a caller does not notice a change to what it inlined."""
    compiled = [*KERNELS.glob("__pycache__/*.nb?")]
    changed_at = max(source.stat().st_mtime for source in KERNELS.glob("*.py"))
    if any(file.stat().st_mtime < changed_at for file in compiled):
        for file in compiled:
            file.unlink()


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # once, before the workers begin
        forget_outdated_kernels()
    put_files_in_memory()


# one of the two workers must not be left with one of these when the other has nothing more to do
LONG = ("test_signatures", "test_checkpoint_restore", "test_poll_independence", "test_kafka_daemon", "test_strangers")


def pytest_collection_modifyitems(items):
    """Long files first, what needs little last."""
    last = ("models", "monitors", "stream")

    def order(item):
        long = item.path.stem not in LONG
        return long, "system" not in item.path.parts, item.path.parent.name in last or "tests" not in item.path.parts

    items.sort(key=order)


def put_files_in_memory():
    """Files in memory where there is room: databases sync thousands of times, and disks of shared machines are slow."""
    with suppress(OSError):
        runs = not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
        if runs and shutil.disk_usage(MEMORY).free >= ROOMY_BYTES and "TMPDIR" not in os.environ:
            os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


@pytest.fixture(autouse=True, scope="module")
def ordinary_garbage_collection():
    """Engines that a module ran are gone when it ends: children are forked from this process, which must be small."""
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    gc.collect()


@pytest.fixture(autouse=True)
def ordinary_logging():
    """Commands set how much is logged, for a process of their own."""
    logging.getLogger("riverd").setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def postgres():
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(scope="session")
def kafka():
    server = Kafka()
    yield server
    server.close()
