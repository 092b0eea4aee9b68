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


LONG = ("test_signatures", "test_checkpoint_restore", "test_poll_independence", "test_compare")
ORDER = ("riverd", "system")  # then all others


def pytest_collection_modifyitems(items):
    """Long files first, and short ones last: neither of two workers must be left alone with a long one.

    Tests of the engine come before those of processes, which have deadlines: what both need is compiled by then, once
    by the second worker while the first waits for ``test_signatures``, which compiles for itself.
    """

    def order(item):
        place = next((ORDER.index(name) for name in item.path.parts[-2:-1] if name in ORDER), len(ORDER))
        in_tests = "tests" in item.path.parts
        long = LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG)
        return long, place if in_tests else len(ORDER)

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
