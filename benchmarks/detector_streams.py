"""Simulated streams of served logits and labels whose truth is known, in the order in which they are judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Played = tuple[Floats, Flags]  # served logits, labels
Rng = np.random.Generator

BASE_RATE, SPREAD = 0.02, 1.0
KINDS = [(rate, spread) for rate in (0.002, 0.01, 0.02, 0.1, 0.5) for spread in (0.0, 0.5, 1.0, 3.0)]
HOURLY = 2_000  # events
WINDOW = 24.0  # hours, at whose end a label that has not come is negative
POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


@dataclass(frozen=True, slots=True)
class Scenario:
    """A way in which events depend on each other, or labels go missing."""

    group: str
    name: str
    play: Callable[[Rng, int], Played]
    is_fault: bool = False  # the truth leaves the tolerance: then an alarm is none by mistake


def sigmoid(logit: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-logit))


def drawn(rng: Rng, logit: Floats) -> Flags:
    return rng.random(len(logit)) < sigmoid(logit)


@cache
def centre_of(rate: float, spread: float) -> float:
    """The mean of normal logits of this standard deviation whose mean probability is the rate."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if sigmoid(middle + spread * POINTS) @ WEIGHTS < rate else (low, middle)
    return low


def scores(rng: Rng, events: int, rate: float = BASE_RATE, spread: float = SPREAD) -> Floats:
    return centre_of(rate, spread) + spread * rng.standard_normal(events)


def off_by(
    rng: Rng, events: int, off: Floats | float = 0.0, *, rate: float = BASE_RATE, spread: float = SPREAD
) -> Played:
    """The true logit is the served one and ``off``."""
    logit = scores(rng, events, rate, spread)
    return logit, drawn(rng, logit + off)


def shifted(rng: Rng, quiet: int, events: int, shift: float) -> Played:
    """Quiet events, then as many off by the shift as are asked for."""
    off = np.zeros(quiet + events)
    off[quiet:] = shift
    return off_by(rng, quiet + events, off)


def moved(rng: Rng, quiet: int, events: int, by: float) -> Played:
    """After the quiet events other scores come, and they are as true."""
    logit = scores(rng, quiet + events)
    logit[quiet:] += by
    return logit, drawn(rng, logit)


def positives_lost(rng: Rng, quiet: int, events: int, *, share: float, rate: float = BASE_RATE) -> Played:
    """After the quiet events so many of the positive labels never come, and their events are not judged."""
    logit, label = off_by(rng, quiet + events, rate=rate)
    lost = label & (rng.random(quiet + events) < share)
    lost[:quiet] = False
    return logit[~lost], label[~lost]


def _lost_at_random(rng: Rng, events: int, *, share: float) -> Played:
    logit, label = off_by(rng, events)
    kept = rng.random(events) >= share
    return logit[kept], label[kept]


def _hours(rng: Rng, events: int, traffic: str) -> tuple[Floats, Flags]:
    """When each event is, in hours; and whether in a burst."""
    grid = np.arange(0.0, events / HOURLY, 0.1)
    intensity, burst = np.ones(len(grid)), np.zeros(len(grid), bool)
    if traffic == "daily":
        intensity += 0.8 * np.sin(2 * np.pi * grid / 24)
    elif traffic == "bursts":
        for begin in rng.uniform(0, grid[-1], max(1, len(grid) // 240)):  # one a day
            burst |= (grid >= begin) & (grid < begin + 1)
        intensity[burst] = 10.0
    passed = np.cumsum(intensity) / intensity.sum()
    place = np.sort(rng.random(events))
    return np.interp(place, passed, grid), burst[np.minimum(np.searchsorted(passed, place), len(grid) - 1)]


def _late(rng: Rng, events: int, *, traffic: str, by_label: bool, in_order: str, skip: float = 0.0) -> Played:
    """Labels come log-normally late, median 3 hours; ``by_label``: negative ones at the end of the window."""
    logit, label = off_by(rng, events)
    asked, _ = _hours(rng, events, traffic)
    late = np.minimum(rng.lognormal(np.log(3.0), 1.0, events), WINDOW)
    if by_label:
        late[~label] = WINDOW
    came = asked + late
    if in_order == "event":
        return logit, label
    order = np.argsort(came, kind="stable")
    order = order[(came[order] >= skip) & (came[order] <= asked[-1])]
    return logit[order], label[order]


def _in_bursts(rng: Rng, events: int, *, score: float, off: float = 0.0) -> Played:
    """In bursts other scores come, and the truth is off."""
    _, burst = _hours(rng, events, "bursts")
    logit = scores(rng, events) + score * burst
    return logit, drawn(rng, logit + off * burst)


@cache
def _served_of(sd: float) -> tuple[Floats, Floats]:
    """Logits without the user's effect, and the logits of the mean probability over users."""
    logit = np.linspace(-20.0, 20.0, 4001)
    p = sigmoid(logit[:, None] + sd * POINTS) @ WEIGHTS
    return logit, np.log(p) - np.log1p(-p)


def _by_users(rng: Rng, events: int, *, sd: float, spread_out: bool, rate: float, per_user: int = 20) -> Played:
    """Users differ by what the model does not know; it serves the probability that is true of a random user."""
    own = centre_of(rate, float(np.hypot(SPREAD, sd))) + SPREAD * rng.standard_normal(events)
    user = np.arange(events) // per_user
    if spread_out:  # among those of 99 others
        whole = events // (100 * per_user) * 100 * per_user
        user[:whole] = rng.permuted(user[:whole].reshape(-1, 100 * per_user), axis=1).ravel()
    label = drawn(rng, own + sd * rng.standard_normal(user.max() + 1)[user])
    return np.interp(own, *_served_of(sd)), label


def _wobbling(rng: Rng, events: int, *, by: float, day: int) -> Played:
    return off_by(rng, events, by * np.sin(2 * np.pi * np.arange(events) / day))


def _late_ones() -> Iterator[Scenario]:
    for by_label, kind in ((False, "any 3 h"), (True, "positive 3 h, negative 24 h")):
        for traffic in ("steady", "daily", "bursts"):
            for order, skip in (("event", 0.0), ("arrival", 0.0), ("arrival", WINDOW)):
                if skip and not by_label:
                    continue  # no label is missing at first
                name = f"{kind}, {traffic} traffic, by {order}{' from the 2nd day on' if skip else ''}"
                play = partial(_late, traffic=traffic, by_label=by_label, in_order=order, skip=skip)
                yield Scenario("late", name, play)


def scenarios() -> list[Scenario]:
    """What the promise is tried on, beside independent events."""
    return [
        Scenario("none", "independent events, labels at once", off_by),
        *_late_ones(),
        Scenario("bursts", "scores 2 lower in bursts", partial(_in_bursts, score=-2.0)),
        Scenario("bursts", "scores 2 higher in bursts", partial(_in_bursts, score=2.0)),
        Scenario("bursts", "truth .5 below in bursts", partial(_in_bursts, score=0.0, off=-0.5), is_fault=True),
        *(
            Scenario(
                "users",
                f"effect of sd {sd:g}, rate {rate:.0%}, 20 events {'spread' if spread_out else 'in a row'}",
                partial(_by_users, sd=sd, spread_out=spread_out, rate=rate),
            )
            for sd in (0.5, 1.0)
            for rate in (0.02, 0.2)
            for spread_out in (False, True)
        ),
        Scenario("lost", "10 % of all", partial(_lost_at_random, share=0.1)),
        Scenario("lost", "10 % of positives", lambda rng, n: positives_lost(rng, 0, n, share=0.1), is_fault=True),
        *(
            Scenario(
                "wobble",
                f"±{by:g}, {day:,} events a day",
                partial(_wobbling, by=by, day=day),
                is_fault=by > 0.05,
            )
            for by in (0.05, 0.2)
            for day in (5_000, 50_000, 500_000)
        ),
    ]
