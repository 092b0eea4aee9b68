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


FIRST = ("test_signatures", "test_checkpoint_restore", "test_poll_independence", "test_compare", "test_replay")


def pytest_collection_modifyitems(items):
    """In turn a file of the engine, which computes, and one of processes, which wait; then all others, which are short.

    Two workers share two cores best so, and neither is left alone with a long file. What processes need is compiled
    before they begin, for they have deadlines: by the second worker, while the first waits for ``test_signatures``,
    which compiles for itself.
    """
    files = {}
    for item in items:
        files.setdefault(item.path, []).append(item)

    def of(folder):
        return [path for path in files if path.parts[-3:-1] == ("tests", folder) and path.stem not in FIRST]

    first = sorted((path for path in files if path.stem in FIRST), key=lambda path: FIRST.index(path.stem))
    computing, waiting = of("riverd"), of("system")
    share = -(-len(computing) // max(len(waiting), 1))
    for number, path in enumerate(waiting):
        first += [*computing[number * share : (number + 1) * share], path]
    order = {path: place for place, path in enumerate(first)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


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
