"""The command line. Heavy modules are imported by the command that needs them, so that help is instant."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from riverd.retrain_commands import RETRAIN_COMMANDS, WAIT_S, add_retrain_commands
from riverd.snapshot_options import SNAPSHOT_COMMANDS, add_snapshot_commands
from riverd.start_commands import START_COMMANDS, add_start_commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from riverd.client import Client
    from riverd.config import Config
    from riverd.service import Run
    from riverd.time_ranges import Stretch

Value = TypeVar("Value")

EPILOG = """examples:
  riverd init --sample events.jsonl             a config from samples of your own data
  riverd demo                                   a year of real flights, start to finish
  riverd run -c riverd.toml                     run until stopped (Ctrl-C, SIGTERM)
  riverd run -c riverd.toml --until-idle --json work off what is there, print the result
  riverd replay -c riverd.toml --from 2013-06-01 --to 2013-07-01
  riverd replay -c riverd.toml --compare other.toml     which config is better, and is it chance?
  riverd top                                    watch the one that runs
  riverd learning pause                         stop learning for now; serving and judging go on
  riverd labels thaw                            let predictions expire although labels have stalled
  riverd retrain                                have a challenger trained, and promoted if it is better
"""


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="riverd",
        description="Keeps a logistic model learning from a stream with late labels, and knows how good it is now.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"riverd {_version()}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="replay the flights of 2013 through the daemon's own path")
    demo.add_argument("--folder", type=Path, default=Path("riverd-demo"), help="where its files go (%(default)s)")
    _json(demo)

    run = commands.add_parser("run", help="go on from the last checkpoint, and keep running")
    _config(run)
    run.add_argument("--until-idle", action="store_true", help="end when all that is there now has been worked off")
    run.add_argument(
        "--accept-loss",
        choices=("earliest", "latest"),
        help="where Kafka no longer holds what comes next, go on with the oldest message, or with the next that comes",
    )
    _json(run)

    replay = commands.add_parser("replay", help="run a stretch of history with a new model, or with two of them")
    _config(replay)
    replay.add_argument(
        "--from", dest="begin", metavar="TIME", help="first event time, RFC 3339 (default: the beginning)"
    )
    replay.add_argument("--to", dest="end", metavar="TIME", help="event time before which to end (default: the end)")
    replay.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="FROM/TO",
        help="neither learn from this range of event time nor judge by it; may be given several times",
    )
    replay.add_argument(
        "--compare", type=Path, metavar="FILE", help="another config: is it better on the same events, or by chance?"
    )
    _json(replay)

    top_screen = commands.add_parser("top", help="watch a running riverd (q leaves)")
    _running(top_screen)
    _json(top_screen)

    learning = commands.add_parser("learning", help="pause or resume learning")
    learning.add_argument("what", choices=("pause", "resume"), help="serving and judging go on in either case")
    _running(learning)
    _json(learning)

    labels = commands.add_parser("labels", help="let predictions expire although their labels have stalled")
    labels.add_argument("what", choices=("thaw",), help="until labels flow again, at most for one window")
    _running(labels)
    _json(labels)
    add_retrain_commands(commands)
    add_snapshot_commands(commands)
    add_start_commands(commands)
    return top


def _version() -> str:
    from riverd import __version__

    return __version__


def _config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-c", "--config", type=Path, default=Path("riverd.toml"), metavar="FILE", help="the config (%(default)s)"
    )
    command.add_argument("-v", "--verbose", action="store_true", help="log the details of every minute")


def _running(command: argparse.ArgumentParser) -> None:
    """Which one that runs."""
    where = command.add_mutually_exclusive_group()
    where.add_argument("--url", help="where it listens (default: what the config says)")
    where.add_argument(
        "-c", "--config", type=Path, default=Path("riverd.toml"), metavar="FILE", help="its config (%(default)s)"
    )


def _json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON object at the end, and nothing else")


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 is success, 1 a fault that is explained on standard error, 2 a wrong call."""
    options = parser().parse_args(arguments)
    _log_to_stderr(verbose=getattr(options, "verbose", False), quiet=options.command == "demo" or options.json)
    try:
        return _COMMANDS[options.command](options)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if not _is_explained(error):
            raise
        print(f"riverd: {error}", file=sys.stderr)
        return 1


def _is_explained(error: Exception) -> bool:
    from riverd.errors import RiverdError
    from storage.errors import StorageError
    from stream.source import SourceError

    return isinstance(error, RiverdError | StorageError | SourceError)


class _Stderr(logging.StreamHandler[Any]):
    """Standard error as it is when a line is written: a live screen replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _log_to_stderr(*, verbose: bool, quiet: bool) -> None:
    handler = _Stderr()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log = logging.getLogger("riverd")
    log.handlers[:] = [handler]
    log.setLevel(logging.DEBUG if verbose else logging.ERROR if quiet else logging.INFO)


def _demo(options: argparse.Namespace) -> int:
    from riverd.demo import demo

    return demo(options.folder, as_json=options.json)


def _run(options: argparse.Namespace) -> int:
    from riverd import service
    from riverd.failpoints import VARIABLE, fail_points
    from riverd.load_config import load_config

    config = load_config(options.config)
    reached = fail_points(os.environ.get(VARIABLE))
    with _screen(options) as show:
        ended = service.run(
            config,
            options.config,
            until_idle=options.until_idle,
            accept_loss=options.accept_loss,
            show=show,
            reached=reached,
        )
    _report(options, ended)
    return 0


def _replay(options: argparse.Namespace) -> int:
    from riverd.errors import RiverdError
    from riverd.load_config import load_config
    from riverd.replay import replay
    from riverd.time_ranges import Stretch

    config = load_config(options.config)
    begin, end = _moment("--from", options.begin), _moment("--to", options.end)
    if begin is not None and end is not None and begin >= end:
        raise RiverdError(f"--to {options.end} is not after --from {options.begin}.\n  Write the earlier time first.")
    stretch = Stretch(begin, end, tuple(_range("--exclude", text) for text in options.exclude))
    if options.compare is not None:
        return _compare(options, config, stretch)
    with _screen(options) as show:
        ended = replay(config, options.config, stretch=stretch, keep_history=True, show=show)
    _report(options, ended)
    if not options.json and sys.stdout.isatty():
        kept = ended.result["history"]
        print(f"Its history is in {kept['database']}, as {kept['model']}: riverd check --backtest replay")
    return 0


def _compare(options: argparse.Namespace, config: Config, stretch: Stretch) -> int:
    from riverd.compare import compare
    from riverd.load_config import load_config
    from riverd.screen.comparison import comparison

    other = load_config(options.compare)
    with _screen(options) as show:
        compared = compare(config, options.config, other, options.compare, stretch=stretch, show=show)
    if options.json or not sys.stdout.isatty():
        print(json.dumps(compared, indent=None if options.json else 2))
    else:
        print(comparison(compared))
    return 0


def _top(options: argparse.Namespace) -> int:
    client = _client(options)
    if options.json:
        from dataclasses import asdict

        print(json.dumps(asdict(client.status())))
        return 0
    from riverd.screen.top import top

    top(client)
    return 0


def _learning(options: argparse.Namespace) -> int:
    if options.url is None:
        from riverd.request_commands import ask, existing_store

        with existing_store(options.config) as (_, store):
            return ask(store, options.what, {}, wait_s=WAIT_S, as_json=options.json)
    state = "paused" if options.what == "pause" else "running"
    client = _client(options)
    client.set_learning(state)
    print(json.dumps({"state": state}) if options.json else f"{client.url}: learning is {state}")
    return 0


def _labels(options: argparse.Namespace) -> int:
    client = _client(options)
    thawed = client.thaw_labels()
    if options.json:
        print(json.dumps({"thawed": thawed}))
    elif thawed:
        print(f"{client.url}: thawed; predictions expire until labels flow again, at most for one window")
    else:
        print(f"{client.url}: nothing is frozen, predictions expire as usual")
    return 0


def _client(options: argparse.Namespace) -> Client:
    from riverd.client import Client, url_of

    return Client(options.url or url_of(options.config))


def _screen(options: argparse.Namespace) -> Any:
    """Draws on a terminal; elsewhere the log says enough."""
    from contextlib import nullcontext

    if options.json or not sys.stdout.isatty():
        return nullcontext(None)
    from riverd.screen.terminal import screen

    return screen()


def _report(options: argparse.Namespace, ended: Run) -> None:
    if options.json or not sys.stdout.isatty():
        print(json.dumps(ended.result, indent=None if options.json else 2))
        return
    from rich.console import Console

    from riverd.screen.terminal import summary

    console = Console()
    console.print(summary(ended.status, width=console.width))


def _moment(option: str, text: str | None) -> int | None:
    from riverd.time_ranges import parse_moment

    return None if text is None else _parsed(option, text, parse_moment)


def _range(option: str, text: str) -> tuple[int, int]:
    from riverd.time_ranges import parse_range

    return _parsed(option, text, parse_range)


def _parsed(option: str, text: str, parse: Callable[[str], Value]) -> Value:
    from riverd.errors import RiverdError

    try:
        return parse(text)
    except ValueError as error:
        raise RiverdError(f"{option} {text!r} {error}") from None


_COMMANDS = {
    "demo": _demo,
    "run": _run,
    "replay": _replay,
    "top": _top,
    "learning": _learning,
    "labels": _labels,
    **RETRAIN_COMMANDS,
    **SNAPSHOT_COMMANDS,
    **START_COMMANDS,
}

if __name__ == "__main__":
    sys.exit(main())
