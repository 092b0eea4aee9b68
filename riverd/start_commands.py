"""The commands of the first ten minutes: init, import, check, doctor, deadletters. Their help, and what they call."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_INIT = """\
Look at samples, guess what each field is, and write a config with a reason beside every guess.

Files of any kind that riverd import takes become topics below data/, beside the config; folders are taken as
topics where they lie.
Without --labels the label is looked for in the events."""

_INIT_EXAMPLES = """examples:
  riverd init --sample orders.jsonl --labels deliveries.jsonl
  riverd init --sample visits.csv.gz --label status=converted
  riverd init --sample data/orders --labels data/deliveries --out shop.toml
"""

_IMPORT = """\
Turn files into partitions of a topic: JSON lines, a JSON array, CSV or TSV, also as .gz or .zst, or Parquet.

Numbers, booleans and times keep their types; what is empty becomes null. A column of CSV has the type that
all its values fit."""

_IMPORT_EXAMPLES = """examples:
  riverd import 2024-*.csv --topic orders --sort placed_at
  riverd import orders.parquet --topic orders --to /srv/shop/data
"""

_CHECK = """\
Read the config, the first messages of each topic through the daemon's own decoders, and the stored state. Print
each fault with its place and what to do, then what the stream asks for: memory, weights, panes.

Nothing is written. Ends with 1 if there are faults."""

_DOCTOR = """\
Report versions, processor, compiled kernels, database, lease, checkpoints and disk, and what to mend.

Nothing is written. Ends with 1 if something needs mending; add the output to a bug report."""

_LETTERS = """\
Messages that could not be used are kept with their place and the reason, for [dead_letters] keep.

These commands work while riverd runs."""

_LETTERS_EXAMPLES = """examples:
  riverd deadletters list --reason "not a time"
  riverd deadletters show 17
  riverd deadletters replay 17 18
  riverd deadletters purge --older-than 7d
"""


def add_start_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add them to the parser of ``riverd``."""
    init = _command(
        commands, "init", "write a config, and topics, from samples of your own data", _INIT, _INIT_EXAMPLES
    )
    init.add_argument(
        "--sample", type=Path, required=True, metavar="FILE", help="events: a file of any kind, or a topic's folder"
    )
    init.add_argument("--labels", type=Path, metavar="FILE", help="their labels, if they come separately")
    init.add_argument(
        "--label",
        metavar="FIELD",
        help="what to predict, where several could be it: a field, or field=value with the positive value",
    )
    init.add_argument(
        "--out", type=Path, default=Path("riverd.toml"), metavar="FILE", help="the config to write (%(default)s)"
    )
    init.add_argument("--force", action="store_true", help="write the config anew if it exists; topics stay")
    _json(init)

    importing = _command(commands, "import", "turn files into a topic of JSON lines", _IMPORT, _IMPORT_EXAMPLES)
    importing.add_argument("files", type=Path, nargs="+", metavar="FILE", help="each becomes one partition")
    importing.add_argument("--topic", required=True, metavar="NAME", help="the topic's name")
    importing.add_argument(
        "--to", type=Path, default=Path("data"), metavar="FOLDER", help="where topics are: [source] path (%(default)s)"
    )
    importing.add_argument("--sort", metavar="FIELD", help="put messages in order of this time")
    _json(importing)

    check = _command(commands, "check", "find faults in config, messages and stored state before a run", _CHECK)
    _config(check)
    check.add_argument(
        "--backtest",
        nargs="?",
        const="run",
        choices=("run", "replay", "compare"),
        help="instead: how often each rule would have fired on the history that a run, or the last replay, has left",
    )
    _json(check)

    doctor = _command(commands, "doctor", "report on the environment, with remedies", _DOCTOR)
    _config(doctor)
    _json(doctor)

    _add_dead_letters(commands)


def _add_dead_letters(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    letters = _command(
        commands,
        "deadletters",
        "look at, send again or forget messages that were not used",
        _LETTERS,
        _LETTERS_EXAMPLES,
    )
    actions = letters.add_subparsers(dest="action", required=True, metavar="ACTION")

    listing = _command(actions, "list", "the newest first, with place and reason")
    listing.add_argument("--reason", metavar="TEXT", help="only those with this in their reason")
    listing.add_argument("--limit", type=_positive, default=50, metavar="N", help="at most so many (%(default)s)")

    show = _command(actions, "show", "one of them, with its message")
    show.add_argument("id", type=int, metavar="ID", help="its number in the list")

    replay = _command(
        actions,
        "replay",
        "append messages that can be decoded now to their topics, and forget them",
        "After a config or a decoder was corrected: append the messages that can be decoded now to their topics, in a\n"
        "partition of their own, and forget them. The others stay, and it is said why.",
    )
    replay.add_argument("ids", type=int, nargs="*", metavar="ID", help="their numbers in the list")
    replay.add_argument("--all", action="store_true", help="all of them")

    purge = _command(actions, "purge", "forget for good")
    which = purge.add_mutually_exclusive_group(required=True)
    which.add_argument("--older-than", type=_duration, metavar="DURATION", help='stored longer ago than this: "30d"')
    which.add_argument("--all", action="store_true", help="all of them")

    for action in (listing, show, replay, purge):
        _config(action)
        _json(action)


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    description: str | None = None,
    examples: str | None = None,
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-c", "--config", type=Path, default=Path("riverd.toml"), metavar="FILE", help="the config (%(default)s)"
    )


def _json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def _duration(text: str) -> int:
    from riverd.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {' '.join(str(error).split())}") from None


def _init(options: argparse.Namespace) -> int:
    from riverd.start.init import init

    return init(
        sample=options.sample,
        labels=options.labels,
        out=options.out,
        force=options.force,
        label=options.label,
        as_json=options.json,
    )


def _import(options: argparse.Namespace) -> int:
    from riverd.start.importing import import_files

    return import_files(options.files, options.topic, to=options.to, sort=options.sort, as_json=options.json)


def _check(options: argparse.Namespace) -> int:
    from riverd.inspection.check import check

    if options.backtest:
        from riverd.inspection.backtest import backtest

        return backtest(options.config, of=options.backtest, as_json=options.json)
    return check(options.config, as_json=options.json)


def _doctor(options: argparse.Namespace) -> int:
    from riverd.inspection.doctor import doctor

    return doctor(options.config, as_json=options.json)


def _deadletters(options: argparse.Namespace) -> int:
    from riverd import dead_letter_commands as letters
    from riverd.errors import RiverdError

    match options.action:
        case "list":
            return letters.list_letters(
                options.config, reason=options.reason, limit=options.limit, as_json=options.json
            )
        case "show":
            return letters.show(options.config, options.id, as_json=options.json)
        case "replay":
            if bool(options.ids) == options.all:
                raise RiverdError(
                    "replay needs the numbers of dead letters, or --all.\n  See:  riverd deadletters list"
                )
            return letters.replay(options.config, options.ids, all_letters=options.all, as_json=options.json)
        case _:
            return letters.purge(options.config, older_than_us=options.older_than, as_json=options.json)


START_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "init": _init,
    "import": _import,
    "check": _check,
    "doctor": _doctor,
    "deadletters": _deadletters,
}
