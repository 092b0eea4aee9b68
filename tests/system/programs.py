"""Programs of others that tests start: where they are, and what it means that one is missing."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip the test; where the services must be there, as in CI, fail."""
    required = os.environ.get("CI", "false") != "false" or os.environ.get("RIVERD_REQUIRE_SERVICES") == "1"
    (pytest.fail if required else pytest.skip)(f"{what} is not installed; .ci/install_services does that")


def find_program(name: str, *, also_in: Iterable[Path] = ()) -> str:
    """Its path, of the search path or of these folders."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), *map(str, also_in)])
    return shutil.which(name, path=places) or missing(name)


def free_port() -> int:
    """A port on loopback that was free a moment ago."""
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]
