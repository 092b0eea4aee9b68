"""The options of ``riverd snapshots``; what they do is imported when it is asked for, so that help is instant."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from riverd.retrain_commands import WAIT_S


def add_snapshot_commands(commands: Any) -> None:
    """Their options."""
    top = commands.add_parser("snapshots", help="versions of the model: list, check, promote, roll back")
    what = top.add_subparsers(dest="what", required=True, metavar="WHAT")
    for name, numbers, words in (
        ("list", None, "the versions that are kept, the newest first"),
        ("show", "one", "where one comes from, and what it has learned"),
        ("diff", "two", "what sets two of them apart"),
        ("verify", "any", "check bytes, and make again what a replay taught; all of them if none is named"),
        ("promote", "one", "have one serve and learn from the next record on"),
        ("rollback", "maybe", "the same after an incident; left out: the newest from before what fires now began"),
        ("export", "one", "write one to a file, to keep it or to take it elsewhere"),
        ("import", None, "add one from such a file; it serves only once it is promoted"),
        ("prune", None, "forget old ones; what was promoted, and what is in use, stays"),
    ):
        command = what.add_parser(name, help=words)
        if numbers == "one":
            command.add_argument("number", type=int)
        elif numbers == "two":
            command.add_argument("number", type=int)
            command.add_argument("other", type=int)
        elif numbers == "maybe":
            command.add_argument("number", type=int, nargs="?")
            command.add_argument("--before", metavar="TIME", help="the newest that had learned nothing from then on")
        elif numbers == "any":
            command.add_argument("numbers", type=int, nargs="*")
        if name in ("export", "import"):
            command.add_argument("file", type=Path)
        if name == "export":
            command.add_argument("--force", action="store_true", help="replace the file if it is there")
        if name in ("promote", "rollback"):
            command.add_argument("--wait", type=float, default=WAIT_S, metavar="SECONDS", help="(%(default)g)")
        if name == "prune":
            command.add_argument("--keep", type=int, default=48, help="so many of the newest (%(default)s)")
        command.add_argument("-c", "--config", type=Path, default=Path("riverd.toml"), metavar="FILE")
        command.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")


def _snapshots(options: argparse.Namespace) -> int:
    from riverd.snapshot_commands import snapshots

    return snapshots(options)


SNAPSHOT_COMMANDS = {"snapshots": _snapshots}
