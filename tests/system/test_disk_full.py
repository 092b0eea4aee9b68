"""While the disk is full riverd goes on; nothing is lost once there is space again."""

import itertools
import os
import resource
import subprocess

import pytest

from tests.system.children import facts, finish, run_child, tailing
from tests.system.streams_on_disk import configure, write_data

pytestmark = pytest.mark.system

UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


class SmallDisk:
    """A file system of 16 MB."""

    message = "the disk is full"

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
        if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("may not mount a file system")

    def fill(self, _):
        with (self.folder / "ballast").open("wb", buffering=0) as file:
            try:
                while file.write(b"." * 65_536):
                    pass
            except OSError:
                pass

    def free(self, _):
        (self.folder / "ballast").unlink()

    def close(self):
        subprocess.run(["umount", str(self.folder)], check=True)


class NoRoom:
    """A process that may not write files any more; without privileges that is as near as it gets."""

    message = "the disk reported an error"

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()

    def fill(self, pid):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))

    def free(self, pid):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, UNLIMITED)

    def close(self):
        pass


@pytest.fixture(params=[SmallDisk, NoRoom])
def disk(request, tmp_path):
    made = request.param(tmp_path / "disk")
    yield made
    made.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), count=4000)


def test_a_run_that_ends_while_it_is_full(disk, data, tmp_path):
    undisturbed = configure(tmp_path / "undisturbed", data)
    expected = facts(undisturbed, finish(undisturbed))

    folder = configure(disk.folder, data)
    checkpoints = itertools.count(1)

    def reached(place):
        if place == "checkpoint.begin" and next(checkpoints) == 3:
            disk.fill(os.getpid())

    child = run_child(folder, reached=reached)
    assert child.wait() == 1
    assert disk.message in child.result
    assert str(folder / "riverd.db") in child.result
    assert "\n  " in child.result  # and what to do
    if isinstance(disk, SmallDisk):
        disk.free(None)
    assert facts(folder, finish(folder)) == expected


def test_a_daemon_goes_on_and_catches_up(disk, data):
    folder = configure(disk.folder, data)
    with tailing(folder) as (child, wait_for):
        wait_for(lambda status: status["checkpoint"])
        disk.fill(child.pid)
        failed = wait_for(lambda status: any("checkpoint failed" in line for line in status["log"]))
        assert "nothing is lost and riverd goes on" in failed["log"][-1]
        assert disk.message in failed["log"][-1]
        full = wait_for(lambda status: status["counts"]["events"] > status["checkpoint"]["events"])
        disk.free(child.pid)
        wait_for(lambda status: status["checkpoint"]["events"] >= full["counts"]["events"] > 0)
