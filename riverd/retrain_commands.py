"""``riverd retrain``: have a challenger trained, give it up, see what was decided."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from riverd.config import Config
    from storage.retrains import StoredDecision
    from storage.store import Store

Value = TypeVar("Value")
WAIT_S = 10.0

_RETRAIN = """\
Have a challenger trained on history by a process beside riverd. Then it runs in shadow, and takes the model's place
only if it is better by what both say of the same events.

The request goes by way of the database, so riverd need not run: it is carried out before the next record."""

_EXAMPLES = """examples:
  riverd retrain                                            from nothing, over all that the source still has
  riverd retrain --from 2026-09-01 --exclude 2026-11-20/2026-11-22 --reason "outage of the price feed"
  riverd retrain --from 2026-11-01 --start-from 41          go on from snapshot 41
  riverd retrain list                                       what was decided so far, and why
  riverd retrain cancel                                     give up the one that goes on
"""


def add_retrain_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add it to the parser of ``riverd``."""
    retrain = commands.add_parser(
        "retrain",
        help="have a challenger trained on history, and promoted if it is better",
        description=_RETRAIN,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    retrain.add_argument(
        "-c", "--config", type=Path, default=Path("riverd.toml"), metavar="FILE", help="the config (%(default)s)"
    )
    retrain.add_argument(
        "--from", dest="begin", metavar="TIME", help="learn from this event time on (default: all there is)"
    )
    retrain.add_argument("--to", dest="end", metavar="TIME", help="and to this one, without it (default: now)")
    retrain.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="FROM/TO",
        help="leave this range of event time out; may be given several times",
    )
    start = retrain.add_mutually_exclusive_group()
    start.add_argument("--start-from", type=int, metavar="N", help="go on from this snapshot")
    start.add_argument("--from-nothing", action="store_true", help="begin with a model that knows nothing (default)")
    retrain.add_argument("--reason", default="by a command", metavar="TEXT", help="kept with the decision")
    _wait(retrain, default=WAIT_S)
    retrain.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")

    actions = retrain.add_subparsers(dest="action", title="instead", metavar="ACTION")
    listing = actions.add_parser("list", help="what was decided, the newest first", description="What was decided.")
    listing.add_argument("--limit", type=_count, default=50, metavar="N", help="at most so many (%(default)s)")
    cancel = actions.add_parser("cancel", help="give up the one that goes on", description="Give it up.")
    _wait(cancel, default=argparse.SUPPRESS)
    for action in (listing, cancel):  # what stands before the action holds unless it is given again
        action.add_argument("-c", "--config", type=Path, default=argparse.SUPPRESS, metavar="FILE", help="the config")
        action.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object, and nothing else"
        )


def _wait(command: argparse.ArgumentParser, *, default: Any) -> None:
    command.add_argument(
        "--wait",
        type=_seconds,
        default=default,
        metavar="SECONDS",
        help=f"for the decision; 0 does not wait ({WAIT_S:g})",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _retrain(options: argparse.Namespace) -> int:
    from riverd.request_commands import ask, existing_store

    with existing_store(options.config) as (config, store):
        match options.action:
            case "list":
                return _list(store, limit=options.limit, as_json=options.json)
            case "cancel":
                return ask(store, "cancel", {}, wait_s=options.wait, as_json=options.json)
            case _:
                arguments = _arguments(options, config, store)
                return ask(store, "retrain", arguments, wait_s=options.wait, as_json=options.json)


def _arguments(options: argparse.Namespace, config: Config, store: Store) -> dict[str, Any]:
    """What is asked for; raises RiverdError for what can't be had."""
    from riverd.errors import RiverdError
    from riverd.time_ranges import parse_moment, parse_range

    if config.model.kind == "external":
        raise RiverdError(
            '[model] kind = "external": riverd has no model to train.\n  Train the model that brings the scores.'
        )
    begin, end = (
        None if text is None else _parsed(option, text, parse_moment)
        for option, text in (("--from", options.begin), ("--to", options.end))
    )
    if begin is not None and end is not None and begin >= end:
        raise RiverdError(f"--from {options.begin} is not before --to {options.end}.\n  Write the earlier time first.")
    if options.start_from is not None and options.start_from not in {each.number for each in store.snapshots()}:
        raise RiverdError(
            f"there is no snapshot {options.start_from}, or none any more.\n  `riverd snapshots list` names them."
        )
    return {
        "trigger": "command",
        "reason": options.reason,
        "from_us": begin,
        "to_us": end,
        "exclude": [_parsed("--exclude", text, parse_range) for text in options.exclude],
        "start": options.start_from,
    }


def _parsed(option: str, text: str, parse: Callable[[str], Value]) -> Value:
    from riverd.errors import RiverdError

    try:
        return parse(text)
    except ValueError as error:
        raise RiverdError(f"{option} {text!r} {error}") from None


def _list(store: Store, *, limit: int, as_json: bool) -> int:
    decisions = store.decisions(limit=limit)
    if as_json:
        print(json.dumps({"decisions": [_document(stored) for stored in decisions]}))
    elif decisions:
        _print_table(decisions)
    else:
        print("Nothing was decided about retraining yet.")
    return 0


def _document(stored: StoredDecision) -> dict[str, Any]:
    from stream.timestamps import to_text

    decision = stored.decision
    return {
        "number": stored.number,
        "stored_at": to_text(stored.created_at),
        "at": None if decision.at is None else to_text(decision.at),
        "retrain": decision.retrain,
        "decision": decision.decision,
        "reason": decision.reason,
        "details": decision.details,
    }


def _print_table(decisions: Sequence[StoredDecision]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from riverd.screen.notation import UNDEFINED, moment, plain

    table = Table("stored (UTC)", "event time", "retrain", "decision", "reason", box=None, pad_edge=False)
    for stored in decisions:
        decision = stored.decision
        number = UNDEFINED if decision.retrain is None else str(decision.retrain)
        table.add_row(
            moment(stored.created_at), moment(decision.at), number, decision.decision, Text(plain(decision.reason))
        )
    Console().print(table)


RETRAIN_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {"retrain": _retrain}
