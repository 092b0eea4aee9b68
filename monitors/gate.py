"""The gate: a challenger takes the champion's place only with evidence that it has less log loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from monitors import gate_kernels as kernels
from monitors.gate_kernels import (
    AGAINST,
    BETS,
    BETTER,
    CLIPPED,
    CLIPPED_SQUARES,
    CLIPPED_SUM,
    EVENTS,
    FOR,
    FRACTIONS,
    OPEN,
    SPENT,
    SQUARES,
    SUM,
    VERDICT,
)
from stream.records import Rows

Verdict = Literal["promote", "reject"]

NOT_YET = np.iinfo(np.int64).max  # a row after all others
LEVEL, CLIP, LEAST_CLIP = 0.05, 2.0, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """What the gate promises.

    Parameters
    ----------
    level
        Chance, at most, that a challenger is promoted that is not better; and that one is called worse that is not.
    clip
        Nats at which an event's loss difference is cut off, either way. Where the odds of the two differ by less than
        a factor exp(clip), 7.4 by default, nothing is cut. At 1 and more, a challenger that is too sure of itself
        gains nothing by the cut where the champion is right.
    max_events
        Judged events after which a challenger without a verdict is rejected. The default is enough for one that is
        better by .001 nats with a variance of .003, or by .003 with .04: see ``events_needed``.
    missing_is_negative
        A prediction without a label counts as one with label 0 once its window has passed; otherwise it is left out.
    """

    level: float = LEVEL
    clip: float = CLIP
    max_events: int = 200_000
    missing_is_negative: bool = True

    def __post_init__(self) -> None:
        if not 0.0 < self.level < 1.0:
            raise ValueError(f"level is a chance between 0 and 1: {self.level}")
        if not LEAST_CLIP <= self.clip <= kernels.MOST_LOGIT:
            raise ValueError(f"clip must be from {LEAST_CLIP:g} to {kernels.MOST_LOGIT:g} nats: {self.clip}")
        if self.max_events < 1:
            raise ValueError(f"max_events must be at least 1: {self.max_events}")


@dataclass(frozen=True, slots=True)
class GateFigures:
    """How the challenger stands.

    Differences are the champion's log loss less the challenger's, in nats an event: above 0 is better.

    Evidence is the natural log of what gamblers own who began with 1 and bet for the challenger, or against it; either
    decides at ``bound``.
    """

    events: int  # judged
    clipped: int  # of them, whose difference was cut off
    gain: float | None  # mean difference, not clipped; None before the first event
    gain_error: float | None  # its standard error, were the events independent
    clipped_gain: float | None
    clipped_gain_error: float | None
    evidence: float
    evidence_against: float
    bound: float


class Gate:
    """Promotes a challenger that is better, and one that is not with a chance of at most ``level``, whenever one looks.

    Rows are judged in their order, each once its fate is known, by the scores that both models gave at question time;
    so quick labels count no sooner than slow ones. Differences of log loss are clipped and bet on: gamblers stake fixed
    fractions on the challenger, others against it. What a gambler owns grows in expectation only if the challenger
    really is better, so all of them together reach 1 / ``level`` with a chance of at most ``level``.

    **The promise.** With mu_i the expected clipped difference of the i-th judged event given the outcomes of those
    before it, the chance that the challenger is ever promoted at an event n with mu_1 + ... + mu_n <= 0 is at most
    ``level``. The challenger may be better at times and worse at others; what counts is the average so far. Nothing is
    said of events to come. Where outcomes depend on each other by something that neither model knows, mu is what that
    something makes of it: twenty events of one user are then nearer to one than to twenty, and the promise, kept to
    the letter, is worth less.

    Promotion waits, too, until the differences that are not clipped are on average three standard errors above 0, and
    add up to more than the 36 nats that a single event can cost: a challenger that is rarely but terribly wrong is held
    back by what it did, or until it has been watched for long. The error is that of the sums of 64 events in a row, of
    which there must be eight, so events of one user, or of one bad hour, count for what they are worth. All this only
    makes promotions fewer.

    Events count alike, whatever their weight, as in all metrics: the weight says how much is learned from an event.
    A label that was corrected later counts as it came first.

    Parameters
    ----------
    config
        What is promised.

    Attributes
    ----------
    verdict : "promote", "reject" or None
        It stands until the next ``begin``. When it is noticed depends on when ``observe`` is called, its event does
        not: act on it at ticks.

    Examples
    --------
    The champion's logits are off by .3, the challenger's by nothing:

    >>> from stream.records import FIRST_POSITIVE, RESOLVED
    >>> rng = np.random.default_rng(7)
    >>> true = rng.normal(0.0, 1.0, 20_000)
    >>> status = RESOLVED + FIRST_POSITIVE * (rng.random(20_000) < 1 / (1 + np.exp(-true)))
    >>> rows = Rows(*[np.zeros(0)] * len(Rows._fields))
    >>> rows = rows._replace(status=status.astype(np.uint8), logit=true + rng.normal(0.0, 0.3, 20_000))
    >>> gate = Gate(GateConfig())
    >>> gate.begin(0)
    >>> gate.observe(rows, true, 0, 20_000)
    >>> gate.verdict, gate.figures.events
    ('promote', 4563)

    References
    ----------
    Waudby-Smith and Ramdas 2023, "Estimating means of bounded random variables by betting".
    Choe and Ramdas 2023, "Comparing sequential forecasters", for the average so far as what is tested.
    """

    def __init__(self, config: GateConfig) -> None:
        self.config = config
        self._cursor = np.array([NOT_YET, 0, 0, OPEN], np.int64)
        self._stakes = np.full((2, BETS), 1.0 / BETS)
        self._sums = np.zeros(7)

    @property
    def verdict(self) -> Verdict | None:
        if self._cursor[VERDICT] == OPEN:
            return None
        return "promote" if self._cursor[VERDICT] == BETTER else "reject"

    def begin(self, next_row: int) -> None:
        """Judge a new challenger, by the rows from this one on."""
        self._cursor[:] = next_row, 0, 0, OPEN
        self._stakes[:] = 1.0 / BETS
        self._sums[:] = 0.0

    def observe(self, rows: Rows, challenger_logit: NDArray[np.float64], base: int, next_row: int) -> None:
        """Go on to the first row whose fate is open, or to the verdict.

        ``challenger_logit`` has a place for each of the rows, NaN where the challenger was not asked; those rows are
        left out.
        """
        kernels.walk(
            np.ascontiguousarray(rows.status),
            np.ascontiguousarray(rows.logit),
            np.ascontiguousarray(challenger_logit),
            base,
            next_row,
            self.config.missing_is_negative,
            float(self.config.clip),
            1.0 / self.config.level,
            self.config.max_events,
            self._cursor,
            self._stakes,
            self._sums,
        )

    @property
    def figures(self) -> GateFigures:
        events, clipped = int(self._cursor[EVENTS]), int(self._cursor[CLIPPED])
        gain, error = _mean(events, self._sums[SUM], self._sums[SQUARES])
        clipped_gain, clipped_error = _mean(events, self._sums[CLIPPED_SUM], self._sums[CLIPPED_SQUARES])
        return GateFigures(
            events,
            clipped,
            gain,
            error,
            clipped_gain,
            clipped_error,
            _owned(self._stakes[FOR]),
            _owned(self._stakes[AGAINST]),
            -math.log(self.config.level),
        )

    @property
    def reason(self) -> str:
        """How the challenger stands, in words: "better after 1,234 events: ..."."""
        figures = self.figures
        if figures.gain is None:
            return "no event was judged yet"
        said = (
            f"difference {figures.gain:+.5f} +- {figures.gain_error:.5f} nats an event"
            f" (clipped {figures.clipped_gain:+.5f}), evidence for {figures.evidence:.2f},"
            f" against {figures.evidence_against:.2f} of {figures.bound:.2f}"
        )
        after = f"after {figures.events:,} events"
        held_back = ", held back: not clearly better yet without the clip"
        is_held_back = figures.evidence >= figures.bound and self._cursor[VERDICT] != BETTER
        code = self._cursor[VERDICT]
        if code == OPEN:
            return f"open {after} of at most {self.config.max_events:,}{held_back if is_held_back else ''}: {said}"
        if code == BETTER:
            return f"better {after}: {said}"
        if code == SPENT:
            return f"no verdict {after}, the most allowed{held_back if is_held_back else ''}: {said}"
        return f"worse {after}: {said}"

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Small arrays, by name."""
        return {name: getattr(self, f"_{name}").copy() for name in STATE}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state."""
        for name in STATE:
            getattr(self, f"_{name}")[...] = state[name]


STATE = ("cursor", "stakes", "sums")


def events_needed(
    *, gain: float, variance: float, level: float = LEVEL, clip: float = CLIP, share: float = 0.95
) -> int:
    """Judged events within which this share of challengers, at least, is promoted.

    Of the clipped difference the mean is at least ``gain`` and the variance at most ``variance``, given what came
    before; nothing else is assumed, so the figure is often twice what is really needed.

    A gambler who stakes l and began with 1/K has won when the product of the n factors 1 + l d reaches K / level. By
    Markov's inequality for the power -s of it, that fails with a chance of at most (K / level)^s r^n, where r is the
    expectation of (1 + l d)^-s. The third derivative of this function of d is negative, so of all laws on
    [-clip, clip] with that mean and variance the one with two values, -clip the lower, has the largest r (the parabola
    through the two that touches at the upper one lies above the function). With half of the chance of failure, n =
    (s log(K / level) - log((1 - share) / 2)) / -log r, for the best gambler and the best s.

    With the other half the sum of differences exceeds 36 nats: the same with exp(-s d) for the function, if the clip
    hides nothing. That their mean is three standard errors above 0 is all but certain by then, and not counted.

    Examples
    --------
    Two logits that differ by noise gain half of the variance:

    >>> events_needed(gain=0.01, variance=0.02), events_needed(gain=0.001, variance=0.002)
    (10539, 105434)
    """
    if not 0.0 < gain < clip or not 0.0 < variance <= (clip - gain) * (clip + gain):
        raise ValueError(f"no difference within {clip:g} nats has mean {gain:g} above 0 and variance {variance:g}")
    lowest = variance / (variance + (clip + gain) ** 2)  # chance of -clip
    upper = gain + variance / (clip + gain)
    stake, s = FRACTIONS[:, None] / clip, np.geomspace(1e-4, 30.0, 1_000)
    doubt = -math.log((1.0 - share) / 2.0)

    def events(target: float, at_lowest: NDArray[np.float64], at_upper: NDArray[np.float64]) -> float:
        fall = lowest * np.expm1(at_lowest) + (1.0 - lowest) * np.expm1(at_upper)
        return float(((s * target + doubt) / -np.log1p(np.where(fall < 0.0, fall, -1e-18))).min())

    evidence = events(math.log(BETS / level), -s * np.log1p(-stake * clip), -s * np.log1p(stake * upper))
    least = kernels.BATCH * kernels.LEAST_BATCHES
    return math.ceil(max(evidence, events(kernels.WORST, s * clip, -s * upper), least))


def _mean(events: int, total: float, squares: float) -> tuple[float | None, float | None]:
    """And its standard error."""
    if not events:
        return None, None
    mean = float(total) / events
    return mean, math.sqrt(max(float(squares) / events - mean * mean, 0.0) / events)


def _owned(stakes: NDArray[np.float64]) -> float:
    return math.log(max(float(stakes.sum()), float(np.finfo(float).tiny)))
