"""The learner beside river's and Vowpal Wabbit's, with labels at once and late: ``python -m benchmarks.learner``.

Each stream x delay x model is a cell. It is kept in ``benchmarks/data/learner.jsonl`` with a digest of the code that
made it, and run again only when that has changed: a run may be interrupted, or shared by processes that name other
streams. Models that were not named are shown where an earlier run has them. The whole takes about an hour.

    python -m benchmarks.learner --streams phishing,bananas --delays 0,50 --models 'riverd,river,VW,base rate'
    python -m benchmarks.learner --held-out --markdown docs/learner-figures.md
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks.delays import DELAYS, REAL, calibration_error, delays_of, log_loss, play, roc_auc
from benchmarks.learner_held_out import HELD_OUT
from benchmarks.learner_peers import MODELS, RIVERD, is_installed
from benchmarks.learner_streams import DEVELOPMENT, Stream, load
from benchmarks.learner_table import Cell, by_model, goals, markdown, matrices, overview, shown, worse_than_base_rate
from benchmarks.rows import DATA

HERE = Path(__file__).parent
CELLS = DATA / "learner.jsonl"
STREAMS = (*DEVELOPMENT, "flights")
HEAD = """# Figures of the learner

Made by `python -m benchmarks.learner --held-out`; what they mean is in [learner.md](learner.md). Probabilities are of
the moment of the question; "best expert" is the best of the mixture's own in hindsight, "best peer" the best of the
others on that stream; ECE has 15 bins of equal counts; events/s are of shared cores, and rough.

"""


def main() -> None:
    chosen = _options()
    console = Console(width=max(Console().width, 160))
    models = [name for name in chosen.models if is_installed(name)]
    if len(models) < len(chosen.models):
        console.print("Vowpal Wabbit is left out: pip install 'riverd[bench]' brings it.")
    groups = [("Development streams", chosen.streams)]
    if chosen.held_out:
        groups.append(("Held-out streams, at which nobody looked while choosing defaults", chosen.held_out))
    kept = _kept()
    grids = []
    for title, streams in groups:
        cells = list(_cells(streams, chosen.delays, models, kept, rows=chosen.rows, again=chosen.again))
        tables = [overview(cells, title=title), goals(cells, title=title), by_model(cells, title=title)]
        for grid in tables:
            console.print(shown(grid))
        console.print(worse_than_base_rate(cells))
        grids += [*tables, *matrices(cells, title=title)]
    if chosen.markdown:
        chosen.markdown.write_text(HEAD + "\n".join(markdown(grid) for grid in grids), encoding="utf-8")


def _options() -> argparse.Namespace:
    def names(known: Iterable[str]):
        def parse(text: str) -> list[str]:
            asked = text.split(",")
            if unknown := [name for name in asked if name not in known]:
                raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not among {', '.join(known)}")
            return asked

        return parse

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--streams", type=names(STREAMS), default=list(STREAMS), metavar="A,B")
    options.add_argument("--held-out", type=names(HELD_OUT), nargs="?", const=list(HELD_OUT), default=[], metavar="A,B")
    options.add_argument("--delays", type=names((*DELAYS, REAL)), default=[*DELAYS, REAL], metavar="A,B")
    options.add_argument("--models", type=names(MODELS), default=list(MODELS), metavar="A,B")
    options.add_argument("--rows", type=int, help="only the first so many of each stream")
    options.add_argument("--again", action="store_true", help="run what is kept, too")
    options.add_argument("--markdown", type=Path, metavar="FILE", help="write every figure there")
    return options.parse_args()


def _cells(
    streams: Sequence[str],
    delays: Sequence[str],
    models: Sequence[str],
    kept: dict[tuple[object, ...], Cell],
    *,
    rows: int | None,
    again: bool,
) -> Iterable[Cell]:
    digests = {name: _digest(name) for name in MODELS}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(streams) * len(models))
        for name in streams:
            stream = load(name, HELD_OUT.get(name), rows=rows)
            for model in MODELS:
                for delay in (d for d in delays_of(stream) if d in delays):
                    key = (name, delay, model, rows, digests[model])
                    cell = kept.get(key)
                    if model in models and (cell is None or again):
                        progress.update(task, description=f"{name}, {delay}: {model}")
                        cell = _measure(stream, *key)
                        _keep(cell)
                    if cell is not None:
                        yield cell
                if model in models:
                    progress.advance(task)


def _measure(stream: Stream, name: str, delay: str, model: str, rows: int | None, digest: str) -> Cell:
    run = play(MODELS[model], stream, delay)
    return Cell(
        name,
        delay,
        model,
        rows,
        digest,
        run.events,
        len(run.y),
        log_loss(run.y, run.p),
        roc_auc(run.y, run.p),
        calibration_error(run.y, run.p),
        run.events / run.seconds,
        [log_loss(run.y, p) for p in run.experts.T] if run.experts is not None else [],
    )


def _digest(model: str) -> str:
    """Of the code that the figures of this model depend on."""
    files = [HERE / f"{name}.py" for name in ("learner_streams", "learner_held_out", "delays", "learner_peers")]
    if model in RIVERD or "hats" in model:
        files += sorted((HERE.parent / "models").rglob("*.py"))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files))
    with suppress(PackageNotFoundError):
        digest.update(version("vowpalwabbit" if model.startswith("VW") else "river").encode())
    return digest.hexdigest()[:12]


def _kept() -> dict[tuple[object, ...], Cell]:
    if not CELLS.exists():
        return {}
    with CELLS.open(encoding="utf-8") as lines:
        cells = [Cell(**json.loads(line)) for line in lines]
    return {(cell.stream, cell.delay, cell.model, cell.rows, cell.digest): cell for cell in cells}


def _keep(cell: Cell) -> None:
    CELLS.parent.mkdir(exist_ok=True)
    with CELLS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(cell)) + "\n")


if __name__ == "__main__":
    sys.exit(main())
