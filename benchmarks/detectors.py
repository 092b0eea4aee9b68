"""The e-detector's promise, its delays beside river's detectors, and what dependence does: ``-m benchmarks.detectors``.

All streams are simulated, with fixed seeds. The whole takes about 20 minutes on one core, ``--quick`` less than one.

    python -m benchmarks.detectors --markdown tables.md
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from river import drift
from scipy.stats import poisson

from benchmarks.detector_streams import (
    KINDS,
    Floats,
    Played,
    moved,
    off_by,
    positives_lost,
    scenarios,
    shifted,
    sigmoid,
)
from benchmarks.learner_table import Grid, markdown, shown
from monitors.e_detector import FALSE_ALARM_EVERY, TOLERANCE, EDetector

PROMISES = (1e6, 1e5)
SHIFTS = (0.1, -0.1, 0.2, -0.2, 0.3, -0.3, 0.5, -0.5, 0.7, -0.7)
MOVES = (0.0, 0.5, -0.5)  # of all logits, served and true
GOALS = {0.3: 12_000, -0.3: 22_000, 0.7: 2_000}  # of the median delay
LOOSER = (1e5, 1.5e5, 2e5, 2.5e5, 3e5, 4e5, 5e5, 7e5)  # promises to tune by
QUIET = 20_000  # events before a shift
MOST_PER_MILLION = 1.0  # of tuned detectors


@dataclass(frozen=True, slots=True)
class Size:
    stream: int  # events of a quiet one
    rounds: int  # of quiet streams of every kind
    seeds: int  # of delays
    tuning: int  # streams
    dependent: int  # streams
    slow_events: int  # quiet ones
    slow_seeds: int
    patience: int  # events after a shift


FULL = Size(1_000_000, 3, 41, 10, 20, 50_000, 11, 400_000)
QUICK = Size(50_000, 1, 3, 2, 1, 2_000, 1, 50_000)


@dataclass(frozen=True, slots=True)
class Peer:
    """One of river's detectors; settings to tune it by come loosest first."""

    name: str
    make: Callable[..., drift.ADWIN]  # or its like
    feed: Callable[[Floats, Floats], Floats]
    fed: str
    settings: tuple[dict[str, float], ...] = ()
    is_slow: bool = False  # a third of a millisecond per event


def log_loss(p: Floats, y: Floats) -> Floats:
    return -np.log(np.where(y, p, 1 - p))


DELTAS = tuple({"delta": delta} for delta in (0.1, 0.05, 0.03, 0.01, 2e-3, 1e-3, 5e-4, 3e-4, 2e-4, 1e-4, 1e-5))
PEERS = (
    Peer("ADWIN", drift.ADWIN, log_loss, "log loss", DELTAS),
    Peer("ADWIN, residuals", drift.ADWIN, lambda p, y: y - p, "y - p", DELTAS),
    Peer(
        "PageHinkley",
        drift.PageHinkley,
        log_loss,
        "log loss",
        tuple({"threshold": bound} for bound in (60, 80, 100, 130, 160, 200, 220, 240, 260, 300, 400)),
    ),
    Peer(
        "DDM",
        drift.binary.DDM,
        lambda p, y: y != (p > 0.5),
        "0/1 error",
        tuple({"warm_start": 1000, "drift_threshold": bound} for bound in (2.5, 2.75, 3, 3.5, 4, 5, 6)),
    ),
    Peer("KSWIN", lambda: drift.KSWIN(seed=1), log_loss, "log loss", is_slow=True),
)


@dataclass(frozen=True, slots=True)
class Entrant:
    """A detector as it takes part: played, it gives the places of alarms, up to the first from ``until`` on."""

    name: str
    fed: str
    setting: str
    alarms: Callable[[Played, int | None], list[int]]
    is_slow: bool = False


def ours(promise: float = FALSE_ALARM_EVERY, name: str = "e-detector") -> Entrant:
    def alarms(played: Played, _: int | None = None) -> list[int]:
        return EDetector(false_alarm_every=promise).observe(*played)

    return Entrant(name, "logit, label", f"false_alarm_every {promise:,.0f}", alarms)


def entered(peer: Peer, setting: dict[str, float] | None = None) -> Entrant:
    def alarms(played: Played, until: int | None = None) -> list[int]:
        detector, found = peer.make(**(setting or {})), []
        for i, value in enumerate(peer.feed(sigmoid(played[0]), played[1]).tolist()):
            detector.update(value)
            if detector.drift_detected:
                found.append(i)
                if until is not None and i >= until:
                    break
        return found

    said = ", ".join(f"{name} {value:g}" for name, value in setting.items()) if setting else "default"
    return Entrant(f"{peer.name}{', tuned' if setting else ''}", peer.fed, said, alarms, peer.is_slow)


def tuned(entrants: Iterable[Entrant], size: Size) -> Iterator[Entrant]:
    """The first that keeps to one alarm per million on quiet streams of their own, if any does."""
    most = MOST_PER_MILLION * size.tuning * size.stream / 1e6
    for entrant in entrants:
        count = 0
        for seed in range(size.tuning):
            count += len(entrant.alarms(off_by(_rng(20, seed), size.stream), None))
            if count > most:
                break
        else:
            yield entrant
            return


def quiet_grids(size: Size) -> Iterator[Grid]:
    """The promise, kept or not."""
    offs = {"served": 0.0, f"served + {TOLERANCE}": TOLERANCE, f"served - {TOLERANCE}": -TOLERANCE}
    counts = np.zeros((len(offs), len(PROMISES), len(KINDS)), int)
    for o, off in enumerate(offs.values()):
        for k, (rate, spread) in enumerate(KINDS):
            for seed in range(size.rounds):
                played = off_by(_rng(10, k, seed), size.stream, off, rate=rate, spread=spread)
                for e, promise in enumerate(PROMISES):
                    counts[o, e, k] += len(ours(promise).alarms(played, None))
    events = len(KINDS) * size.rounds * size.stream
    rows = [
        (truth, f"1 in {promise:,.0f}", f"{events:,}", *_judged(int(counts[o, e].sum()), events, promise))
        for o, truth in enumerate(offs)
        for e, promise in enumerate(PROMISES)
    ]
    yield Grid("Quiet streams", ("truth", "promise", "events", *JUDGED), rows)
    rates, spreads = list(dict.fromkeys(r for r, _ in KINDS)), list(dict.fromkeys(s for _, s in KINDS))
    edge = counts[1:, 1].sum(axis=0).reshape(len(rates), len(spreads)) / (2 * size.rounds * size.stream / 1e6)
    yield Grid(
        "Alarms per million at the tolerance's edges, where 10 are promised at most",
        ("base rate", *(f"spread {spread:g}" for spread in spreads)),
        [(f"{rate:.1%}", *(f"{figure:.2f}" for figure in line)) for rate, line in zip(rates, edge, strict=True)],
    )


def alarm_rates(entrants: Sequence[Entrant], size: Size) -> Grid:
    """On quiet streams of the base rate of the delays, and on those of every kind."""
    rows = []
    for entrant in entrants:
        length = size.slow_events if entrant.is_slow else size.stream
        seeds = 1 if entrant.is_slow else size.tuning
        alike, taken = _counted(entrant, (off_by(_rng(21, seed), length) for seed in range(seeds)))
        rate = alike / (seeds * length)
        row = [entrant.name, entrant.fed, entrant.setting, f"{alike:,}", f"{seeds * length:,}", f"{rate * 1e6:,.2f}"]
        row.append(f"{math.log(2) / rate:,.0f}" if alike else "")
        if entrant.is_slow:
            row.append("")
        else:
            kinds = (off_by(_rng(10, k, 0), length, rate=r, spread=s) for k, (r, s) in enumerate(KINDS))
            row.append(f"{_counted(entrant, kinds)[0] / (len(KINDS) * length) * 1e6:,.2f}")
        rows.append((*row, f"{taken / (seeds * length) * 1e9:,.0f}"))
    header = ("detector", "fed with", "setting", "alarms at 2 %", "of events", "per million", "median wait by chance",
              "per million, all kinds", "ns / event")  # fmt: skip
    return Grid("False alarms on quiet streams", header, rows)


def _counted(entrant: Entrant, streams: Iterable[Played]) -> tuple[int, float]:
    """Alarms, and the seconds that finding them took."""
    alarms, seconds = 0, 0.0
    for played in streams:
        began = time.perf_counter()
        alarms += len(entrant.alarms(played, None))
        seconds += time.perf_counter() - began
    return alarms, seconds


def moved_grid(entrants: Sequence[Entrant], size: Size) -> Grid:
    """An alarm here is one by mistake, if what is asked is whether the probabilities are true."""
    rows, most = [], size.patience // 4
    for entrant in entrants:
        shares = []
        for by in MOVES:
            streams = (moved(_rng(31, seed), QUIET, most, by) for seed in range(3 * size.dependent))
            shares.append(np.mean([any(at >= QUIET for at in entrant.alarms(played, QUIET)) for played in streams]))
        rows.append((entrant.name, *(f"{share:.0%}" for share in shares)))
    header = ("detector", *(f"{by:+g}" if by else "none" for by in MOVES))
    return Grid(f"Streams with an alarm in {most:,} events after all scores moved and stayed true", header, rows)


def delay_grids(entrants: Sequence[Entrant], size: Size) -> Iterator[Grid]:
    delays = {(entrant.name, shift): _delays(entrant, shift, size) for entrant in entrants for shift in SHIFTS}
    rows = []
    for shift in SHIFTS:
        found, goal = delays["e-detector", shift], GOALS.get(shift)
        low, middle, high = _quartiles(found, size.patience)
        verdict = "" if goal is None else "pass" if np.median(found) <= goal else "MISS"
        share = f"{np.isfinite(found).mean():.0%}"
        rows.append((f"{shift:+g}", low, middle, high, share, f"{goal:,}" if goal else "", verdict))
    header = ("shift", "1st quartile", "median", "3rd quartile", "found", "goal", "")
    yield Grid("Delays of the e-detector, in events", header, rows)
    header = ("detector", *(f"{shift:+g}" for shift in SHIFTS))
    for title, said in (("Median delays", 1), ("First quartiles", 0), ("Third quartiles", 2)):
        rows = [
            (e.name, *(_quartiles(delays[e.name, shift], size.patience)[said] for shift in SHIFTS)) for e in entrants
        ]
        yield Grid(f"{title}, in events", header, rows)
    rows = [(e.name, *(f"{np.isfinite(delays[e.name, shift]).mean():.0%}" for shift in SHIFTS)) for e in entrants]
    yield Grid(f"Found within {size.patience:,} events", header, rows)


def _delays(entrant: Entrant, shift: float, size: Size) -> Floats:
    """Until the first alarm after the shift; infinite where there was none."""
    before, delays = 1_000 if entrant.is_slow else QUIET, []  # slow ones have a short memory
    for seed in range(size.slow_seeds if entrant.is_slow else size.seeds):
        logit, label = shifted(_rng(30, seed), QUIET, size.patience, shift)
        alarms = entrant.alarms((logit[QUIET - before :], label[QUIET - before :]), before)
        delays.append(next((at - before for at in alarms if at >= before), math.inf))
    return np.array(delays, float)


def _quartiles(delays: Floats | list[float], most: int) -> list[str]:
    figures = np.quantile(delays, (0.25, 0.5, 0.75), method="higher")  # no mean of infinities
    return [f"{figure:,.0f}" if math.isfinite(figure) else f"> {most:,}" for figure in figures]


def dependence_grids(size: Size) -> Iterator[Grid]:
    rows = []
    for number, scenario in enumerate(scenarios()):
        counts, events = [0] * len(PROMISES), 0
        for seed in range(size.dependent):
            played = scenario.play(_rng(40, number, seed), size.stream)
            events += len(played[1])
            for e, promise in enumerate(PROMISES):
                counts[e] += len(ours(promise).alarms(played, None))
        judged = [_judged(count, events, promise) for count, promise in zip(counts, PROMISES, strict=True)]
        holds = "a fault" if scenario.is_fault else "holds" if all(line[-1] == "holds" for line in judged) else "BROKEN"
        rows.append((f"{scenario.group}: {scenario.name}", f"{events:,}", *judged[0][:3], *judged[1][:3], holds))
    header = ("dependence", "events", "1 in 1,000,000", "/ M", "bound", "1 in 100,000", "/ M", "bound", "promise")
    yield Grid("Alarms where events depend on each other or labels are lost", header, rows)
    rows = []
    for rate in (0.02, 0.2):
        for share in (0.1, 0.3):
            delays = []
            for seed in range(size.seeds):
                played = positives_lost(_rng(50, seed), QUIET, size.stream, share=share, rate=rate)
                alarms = [at - QUIET for at in ours().alarms(played, None) if at >= QUIET]
                delays.append(alarms[0] if alarms else math.inf)
            found = np.isfinite(delays)
            said = _quartiles(delays, size.stream)[1]
            rows.append((f"{share:.0%}", f"{rate:.0%}", f"{math.log(1 - share):+.3f}", said, f"{found.mean():.0%}"))
    header = ("positives lost", "base rate", "logit moves by", "median delay", f"found in {size.stream:,}")
    yield Grid("Positive labels that never come", header, rows)


JUDGED = ("alarms", "per million", "99 % bound", "promise")


def _judged(alarms: int, events: int, promise: float) -> tuple[str, ...]:
    """The count, beside the most that is credible of a detector that keeps the promise."""
    most = int(poisson.ppf(0.99, events / promise))
    return f"{alarms:,}", f"{alarms / events * 1e6:,.2f}", f"{most:,}", "holds" if alarms <= most else "BROKEN"


def _rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def peer_grids(size: Size) -> Iterator[Grid]:
    entrants = [ours(), *tuned((ours(every, "e-detector, tuned") for every in LOOSER), size)]
    for peer in PEERS:
        entrants += [entered(peer), *tuned((entered(peer, setting) for setting in peer.settings), size)]
    yield alarm_rates(entrants, size)
    yield moved_grid([entrant for entrant in entrants if not entrant.is_slow], size)
    yield from delay_grids(entrants, size)


PARTS = {"quiet": quiet_grids, "dependence": dependence_grids, "peers": peer_grids}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all where none is named")
    options.add_argument("--quick", action="store_true", help="a twentieth or less of everything: no figures to cite")
    options.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there, too")
    chosen = options.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        options.error(f"{', '.join(sorted(unknown))}: not among {', '.join(PARTS)}")
    console, written = Console(width=max(Console().width, 160)), []
    size = QUICK if chosen.quick else FULL
    for grid in (grid for part in chosen.parts or PARTS for grid in PARTS[part](size)):
        console.print(shown(grid))
        written.append(markdown(grid))
        if chosen.markdown:  # each at once: a run may be cut
            chosen.markdown.write_text("\n".join(written), encoding="utf-8")


if __name__ == "__main__":
    main()
