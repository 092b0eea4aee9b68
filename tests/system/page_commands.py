"""The commands of a page of the documentation, as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def commands_of(page: str) -> list[list[str]]:
    """What follows ``$ riverd`` in each line, as a shell would split it, in order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [shlex.split(line, comments=True) for line in re.findall(r"^\$ riverd (.*)$", text, re.MULTILINE)]


def links_of(page: str) -> list[Path]:
    """The files to which a page links."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [DOCS / path for path in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)]
