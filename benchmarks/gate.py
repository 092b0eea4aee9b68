"""The gate's promise, its power beside the number stated beforehand, and what breaks or hides: ``-m benchmarks.gate``.

All streams are simulated, with fixed seeds. The whole takes about four minutes of one core, ``--quick`` some seconds.

    python -m benchmarks.gate --markdown tables.md
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from scipy.optimize import brentq
from scipy.stats import binom

from benchmarks.detector_streams import Flags, Floats, Rng, centre_of, drawn, sigmoid
from benchmarks.learner_table import Grid, markdown, shown
from monitors.gate import CLIP, LEVEL, Gate, GateConfig, events_needed
from monitors.gate_kernels import FRACTIONS
from stream.records import EXPIRED, FIRST_POSITIVE, PENDING, RESOLVED, Rows

RATES = (0.5, 0.1, 0.02)
NOISES = (0.1, 0.5, 1.5)
GAINS = (0.01, 0.003)
SPREAD = 1.0  # of the true logits
POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(48)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
NOTHING = Rows(*[np.zeros(0)] * len(Rows._fields))
WINDOW, QUICK_LABEL = 5_000, 500  # events: until a missing label is negative; mean delay of a positive one


class Run(NamedTuple):
    verdict: str  # "promoted", "worse", "spent", "open"
    events: int


class Law(NamedTuple):
    """Of a difference: its mean, and mean and variance of it clipped."""

    gain: float
    clipped: float
    variance: float

    @property
    def stated(self) -> int:
        return events_needed(gain=self.clipped, variance=self.variance)


def judged(champion: Floats, challenger: Floats, label: Flags, config: GateConfig | None = None) -> Run:
    gate = Gate(config or GateConfig())
    gate.begin(0)
    status = np.where(label, RESOLVED | FIRST_POSITIVE, EXPIRED).astype(np.uint8)
    gate.observe(NOTHING._replace(status=status, logit=champion), challenger, 0, len(label))
    return run_of(gate)


def run_of(gate: Gate) -> Run:
    if gate.verdict is None:
        return Run("open", gate.figures.events)
    worse = gate.figures.evidence_against >= gate.figures.bound
    return Run("promoted" if gate.verdict == "promote" else "worse" if worse else "spent", gate.figures.events)


def logits(rng: Rng, events: int, rate: float, *noises: float) -> tuple[Floats, ...]:
    """The true logit, and it with noise of each of these standard deviations."""
    true = centre_of(rate, SPREAD) + SPREAD * rng.standard_normal(events)
    return true, *(true + noise * rng.standard_normal(events) for noise in noises)


@cache
def law(rate: float, champion: float, challenger: float) -> Law:
    true = centre_of(rate, SPREAD) + SPREAD * POINTS[:, None, None]
    one, other = true + champion * POINTS[:, None], true + challenger * POINTS
    weights = WEIGHTS[:, None, None] * WEIGHTS[:, None] * WEIGHTS
    moments = np.zeros(3)
    for sign in (1.0, -1.0):
        d = np.logaddexp(0.0, -sign * one) - np.logaddexp(0.0, -sign * other)
        share, clipped = weights * sigmoid(sign * true), np.clip(d, -CLIP, CLIP)
        moments += (share * d).sum(), (share * clipped).sum(), (share * clipped**2).sum()
    return Law(float(moments[0]), float(moments[1]), float(moments[2] - moments[1] ** 2))


@cache
def noise_worth(gain: float, rate: float, challenger: float) -> float:
    """The noise of a champion whom the challenger beats by so many nats."""
    return float(brentq(lambda noise: law(rate, noise, challenger).gain - gain, challenger, 6.0))


def equal_grid(runs: int, events: int) -> Grid:
    rows, at_most = [], LEVEL * runs
    for r, rate in enumerate(RATES):
        for noise in NOISES:
            found = []
            for seed in range(runs):
                rng = np.random.default_rng([60, r, int(10 * noise), seed])
                true, one, other = logits(rng, events, rate, noise, noise)
                found.append(judged(one, other, drawn(rng, true)))
            shares = shares_of(found)
            promoted = sum(run.verdict == "promoted" for run in found)
            rows.append((f"{rate:.0%}", f"{noise:g}", *shares, "holds" if promoted <= at_most else "MISS"))
    return Grid(f"Equal challengers, {runs} runs each", ("base rate", "noise", *SHARES, f"<= {LEVEL:.0%}"), rows)


def better_grid(runs: int, events: int) -> Grid:
    rows = []
    for gain in GAINS:
        for r, rate in enumerate(RATES):
            for weak in (0.1, 0.5):
                champion = noise_worth(gain, rate, weak)
                expected, found = law(rate, champion, weak), []
                stated = expected.stated
                for seed in range(runs):
                    rng = np.random.default_rng([61, r, int(1000 * gain), int(10 * weak), seed])
                    true, one, other = logits(rng, events, rate, champion, weak)
                    found.append(judged(one, other, drawn(rng, true)))
                within = np.mean([run.verdict == "promoted" and run.events <= stated for run in found])
                verdict = "pass" if within >= 0.95 else "MISS" if stated <= events else "beyond max_events"
                rows.append((
                    f"{gain:g}", f"{rate:.0%}", f"{champion:.2f}", f"{weak:g}", f"{expected.clipped:.4f}",
                    f"{expected.variance:.4f}", f"{stated:,}", f"{within:.0%}", verdict, *spans(found, "promoted"),
                    *shares_of(found)[:2],
                ))  # fmt: skip
    header = ("better by", "base rate", "champion's noise", "challenger's", "clipped", "variance", "stated",
              "promoted within", "", "median", "95 %", "promoted", "called worse")  # fmt: skip
    return Grid(f"Better challengers, {runs} runs each", header, rows)


def worse_grid(runs: int, events: int) -> Grid:
    rows = []
    for r, rate in enumerate(RATES):
        challenger, found = noise_worth(0.01, rate, 0.1), []
        for seed in range(runs):
            rng = np.random.default_rng([62, r, seed])
            true, one, other = logits(rng, events, rate, 0.1, challenger)
            found.append(judged(one, other, drawn(rng, true)))
        rows.append((f"{rate:.0%}", *shares_of(found), *spans(found, "worse")))
    return Grid(f"Worse by .01, {runs} runs each", ("base rate", *SHARES, "median", "95 %"), rows)


def later_grid(runs: int, events: int) -> Grid:
    """Equal at first, then the champion becomes worse by .01: events from then on."""
    rows, rate = [], 0.1
    noise = noise_worth(0.01, rate, 0.1)
    for quiet in (0, 5_000, 20_000, 50_000):
        found = []
        for seed in range(runs):
            rng = np.random.default_rng([63, quiet, seed])
            true, right, one, other = logits(rng, events, rate, 0.1, noise, 0.1)
            found.append(judged(np.where(np.arange(events) < quiet, right, one), other, drawn(rng, true)))
        middle, high = spans([Run(run.verdict, run.events - quiet) for run in found], "promoted")
        rows.append((f"{quiet:,}", *shares_of(found), middle, high))
    header = ("equal for", *SHARES, "median after it", "95 %")
    return Grid(f"Better by .01 after a while, base rate {rate:.0%}, {runs} runs each", header, rows)


def late_grid(runs: int, events: int) -> Grid:
    """One says too little and one too much, at the same loss; a positive label comes soon, a negative one never."""
    rows, config = [], GateConfig(max_events=events)
    for r, rate in enumerate(RATES):
        found: dict[str, list[Run]] = {
            "in row order, all at once": [],
            "in row order, 20 polls": [],
            "as they come": [],
        }
        low, high = shift_pair(rate)
        for seed in range(runs):
            rng = np.random.default_rng([64, r, seed])
            (true,) = logits(rng, events, rate)
            label = drawn(rng, true)
            wait = np.where(label, rng.exponential(QUICK_LABEL, events), WINDOW)
            came = np.arange(events) + np.minimum(wait, WINDOW)
            one, other = true + low, true + high
            at_once, polled, by_arrival = found.values()
            at_once.append(judged(one, other, label, config))
            polled.append(judged_late(one, other, label, came, config))
            order = np.argsort(came, kind="stable")
            by_arrival.append(judged(one[order], other[order], label[order], config))
        rows += [(f"{rate:.0%}", name, *shares_of(played)) for name, played in found.items()]
    return Grid(f"Equal, labels late by what they are, {runs} runs each", ("base rate", "judged", *SHARES), rows)


def opposite_grid(runs: int, events: int) -> Grid:
    """The same two in ten times as many runs: differences of nearly two values use up most of the promise."""
    rows, runs = [], 10 * runs
    for r, rate in enumerate(RATES):
        low, high = shift_pair(rate)
        found = []
        for seed in range(runs):
            rng = np.random.default_rng([68, r, seed])
            (true,) = logits(rng, events, rate)
            found.append(judged(true + low, true + high, drawn(rng, true)))
        promoted = sum(run.verdict == "promoted" for run in found)
        most = int(binom.ppf(0.99, runs, LEVEL))
        rows.append((f"{rate:.0%}", f"{promoted:,}", f"{most:,}", f"{promoted / runs:.1%}", *shares_of(found)[1:]))
    header = ("base rate", "promoted", "99 % bound", "promoted", *SHARES[1:])
    return Grid(f"Equal, one too low and one too high, {runs:,} runs each", header, rows)


def judged_late(champion: Floats, challenger: Floats, label: Flags, came: Floats, config: GateConfig) -> Run:
    """Rows are asked for while the labels of others are awaited."""
    gate = Gate(config)
    gate.begin(0)
    status = np.where(label, RESOLVED | FIRST_POSITIVE, EXPIRED)
    for now in np.linspace(0, came.max(), 21)[1:]:
        known = np.where(came <= now, status, PENDING).astype(np.uint8)
        gate.observe(NOTHING._replace(status=known, logit=champion), challenger, 0, min(int(now), len(label)))
    return run_of(gate)


def shift_pair(rate: float) -> tuple[float, float]:
    """A logit's shift down, and the one up that costs the same."""
    true = centre_of(rate, SPREAD) + SPREAD * POINTS

    def cost(shift: float) -> float:
        return float(WEIGHTS @ (np.logaddexp(0.0, true + shift) - sigmoid(true) * (true + shift)))

    return -0.5, float(brentq(lambda shift: cost(shift) - cost(-0.5), 0.05, 2.0))


def dependent_grid(runs: int, events: int) -> Grid:
    """Twenty events in a row are of one user: the same scores, and an effect that no model knows."""
    rows = []
    for effect in (0.0, 0.5, 1.0, 2.0):
        for rate in (0.1, 0.02):
            found = []
            for seed in range(runs):
                rng = np.random.default_rng([65, int(10 * effect), int(100 * rate), seed])
                true, one, other = (np.repeat(z, 20) for z in logits(rng, events // 20, rate, 0.5, 0.5))
                users = np.repeat(rng.standard_normal(events // 20), 20)
                found.append(judged(one, other, drawn(rng, true + effect * users)))
            rows.append((f"{effect:g}", f"{rate:.0%}", *shares_of(found)))
    return Grid(
        f"Equal, twenty events in a row of a user, {runs} runs each", ("sd of effect", "base rate", *SHARES), rows
    )


def harm_grid(runs: int, events: int) -> Grid:
    """Better by .01, but for rare events in which the challenger says 0 or 1, and each is wrong half of the time."""
    rows, rate, sure = [], 0.5, 20.0
    noise = noise_worth(0.01, rate, 0.1)
    for every in (200, 500, 1_000, 2_000, 5_000, 20_000):
        found, without = [], 0
        for seed in range(runs):
            rng = np.random.default_rng([66, every, seed])
            true, one, other = logits(rng, events, rate, noise, 0.1)
            label, hit = drawn(rng, true), rng.random(events) < 1 / every
            other[hit] = sure * rng.choice([-1.0, 1.0], hit.sum())
            found.append(judged(one, other, label))
            signed = np.where(label, 1.0, -1.0)
            won = np.clip(np.logaddexp(0, -signed * one) - np.logaddexp(0, -signed * other), -CLIP, CLIP) / CLIP
            grown = [np.exp(np.minimum(np.cumsum(np.log1p(part * won)), 50.0)) for part in FRACTIONS]
            without += bool((np.mean(grown, axis=0) >= 1 / LEVEL).any())
        rows.append((f"{every:,}", f"{0.01 - sure / 2 / every:+.4f}", f"{without / runs:.0%}", *shares_of(found)))
    header = ("terribly wrong once in", "true difference, about", "promoted without the guard", *SHARES)
    return Grid(f"Rarely terribly wrong, {runs} runs each", header, rows)


SHARES = ("promoted", "called worse", "no verdict")


def shares_of(found: list[Run]) -> tuple[str, ...]:
    counts = [sum(run.verdict == verdict for run in found) for verdict in ("promoted", "worse")]
    return tuple(f"{count / len(found):.0%}" for count in (*counts, len(found) - sum(counts)))


def spans(found: list[Run], verdict: str) -> tuple[str, ...]:
    """Median and 95 % of the events until that verdict; of none they are infinite."""
    events = [run.events if run.verdict == verdict else math.inf for run in found]
    figures = np.quantile(events, (0.5, 0.95), method="higher")
    return tuple(f"{figure:,.0f}" if math.isfinite(figure) else "never" for figure in figures)


PARTS: dict[str, Callable[[int, int], Grid]] = {
    "equal": equal_grid,
    "better": better_grid,
    "worse": worse_grid,
    "later": later_grid,
    "late": late_grid,
    "opposite": opposite_grid,
    "dependent": dependent_grid,
    "harm": harm_grid,
}


def grids(parts: list[str], runs: int, events: int) -> Iterator[Grid]:
    for part in parts:
        yield PARTS[part](runs, events)


def speed() -> str:
    rng = np.random.default_rng(67)
    true, one, other = logits(rng, 2_000_000, 0.1, 0.01, 0.01)
    label, config = drawn(rng, true), GateConfig(level=1e-30, max_events=10**9)
    judged(one[:10], other[:10], label[:10], config)
    began = time.perf_counter()
    judged(one, other, label, config)
    return f"{(time.perf_counter() - began) / len(label) * 1e9:.0f} ns an event"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all where none is named")
    options.add_argument("--quick", action="store_true", help="a tenth of the runs and less: no figures to cite")
    options.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there, too")
    chosen = options.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        options.error(f"{', '.join(sorted(unknown))}: not among {', '.join(PARTS)}")
    console, written = Console(width=max(Console().width, 160)), []
    runs, events = (10, 20_000) if chosen.quick else (100, GateConfig().max_events)
    for grid in grids(chosen.parts or list(PARTS), runs, events):
        console.print(shown(grid))
        written.append(markdown(grid))
        if chosen.markdown:  # each at once: a run may be cut
            chosen.markdown.write_text("\n".join(written), encoding="utf-8")
    console.print(speed())


if __name__ == "__main__":
    main()
