"""Streams with one planted fault, or none: 400,000 events over four weeks, base rate 5 %, the fault from halfway on."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

EVENTS = 400_000
DAYS = 28
FAULT_AT = EVENTS // 2
PER_DAY = EVENTS // DAYS
PER_HOUR = PER_DAY // 24
DAY_US = 86_400_000_000
START_US = 1_700_006_400_000_000  # a midnight
BASE_RATE = 0.05
encode = msgspec.json.encode
FLIPPED = 1.2  # weight of the category whose weight is flipped

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Columns(NamedTuple):
    """A stream before it is written down, n events of it; ``after`` is where the fault acts."""

    rng: np.random.Generator
    after: Bools
    site: NDArray[np.int64]
    user: NDArray[np.int64]
    hot: Bools  # a tenth of the events
    numbers: dict[str, Floats]  # as they are told; NaN is left out
    logit: Floats  # the truth
    flipped: Bools  # the label says the opposite
    lost: Bools  # the label never comes


def base_rate(columns: Columns) -> None:
    """Half as many positives more."""
    rate = 1 / (1 + np.exp(-columns.logit[columns.after]))
    low, high = 0.0, 2.0
    for _ in range(40):
        middle = (low + high) / 2
        more = np.mean(1 / (1 + np.exp(-columns.logit[columns.after] - middle)))
        low, high = (middle, high) if more < 1.5 * rate.mean() else (low, middle)
    columns.logit[columns.after] += low


def shifted_number(columns: Columns) -> None:
    """A sensor reports one standard deviation too much."""
    columns.numbers["heat"][columns.after] += 1.0


def flipped_weight(columns: Columns) -> None:
    """What spoke for a positive speaks against it now."""
    columns.logit[columns.after & columns.hot] -= 2 * FLIPPED


def dead_feature(columns: Columns) -> None:
    """30 % of a number is null."""
    columns.numbers["heat"][columns.after & (columns.rng.random(EVENTS) < 0.3)] = np.nan


def swapped_unit(columns: Columns) -> None:
    """5 % of the events give a number in another unit."""
    columns.numbers["amount"][columns.after & (columns.rng.random(EVENTS) < 0.05)] *= 1000.0


def broken_labels(columns: Columns) -> None:
    """For one day no label comes."""
    columns.lost[FAULT_AT : FAULT_AT + PER_DAY] = True


def poisoned_hour(columns: Columns) -> None:
    """For one hour 30 % of the labels are the opposite."""
    hour = slice(FAULT_AT, FAULT_AT + PER_HOUR)
    columns.flipped[hour] = columns.rng.random(PER_HOUR) < 0.3


def slow_drift(columns: Columns) -> None:
    """0.3 of the logit within a week, slowly enough for the learner."""
    columns.logit[:] += 0.3 * np.clip((np.arange(EVENTS) - FAULT_AT) / (7 * PER_DAY), 0.0, 1.0)


FAULTS: dict[str, Callable[[Columns], None]] = {
    "base rate x 1.5": base_rate,
    "number shifted": shifted_number,
    "weight flipped": flipped_weight,
    "dead feature": dead_feature,
    "unit swapped": swapped_unit,
    "labels broken": broken_labels,
    "poisoned hour": poisoned_hour,
    "slow drift": slow_drift,
}


class Stream(NamedTuple):
    """What is sent: messages and the event time of each event in microseconds."""

    events: list[bytes]
    labels: list[bytes]  # in the order in which they come
    time: NDArray[np.int64]
    label: NDArray[np.int8]
    columns: Columns


def stream(seed: int, fault: str | None, *, busy: bool = False) -> Stream:
    """One stream; ``busy``: from halfway on traffic doubles by day and labels take six hours instead of one."""
    # of a seed no two kinds share a half
    rng = np.random.default_rng([seed, 97, [None, *FAULTS].index(fault), busy])
    site, user = rng.zipf(1.5, EVENTS) % 20, rng.zipf(1.3, EVENTS) % 300
    hot = rng.random(EVENTS) < 0.1
    weights = {"site": rng.normal(0.0, 0.4, 20), "user": rng.normal(0.0, 0.4, 300)}
    heat, wind, amount = rng.normal(size=EVENTS), rng.normal(size=EVENTS), rng.normal(size=EVENTS)
    logit = weights["site"][site] + weights["user"][user] + FLIPPED * hot + 0.5 * heat - 0.4 * wind + 0.3 * amount
    low, high = -12.0, 4.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if np.mean(1 / (1 + np.exp(-logit - middle))) < BASE_RATE else (low, middle)
    none = np.zeros(EVENTS, np.bool_)
    columns = Columns(
        rng, np.arange(EVENTS) >= FAULT_AT, site, user, hot,
        {"heat": heat, "wind": wind, "amount": 100.0 + 30.0 * amount},
        logit + low, none.copy(), none.copy(),
    )  # fmt: skip
    if fault is not None:
        FAULTS[fault](columns)
    label = (rng.random(EVENTS) < 1 / (1 + np.exp(-columns.logit))) ^ columns.flipped
    gaps = np.full(EVENTS, DAYS * DAY_US / EVENTS)
    if busy:
        gaps[FAULT_AT:] /= 2
    time = START_US + np.cumsum(gaps).astype(np.int64)
    delay = rng.exponential(1.0, EVENTS) * np.where(busy & columns.after, 6, 1) * DAY_US / 24 / 4
    return Stream(*_messages(columns, time, label, delay.astype(np.int64)), time, label.astype(np.int8), columns)


def _messages(
    columns: Columns, time: NDArray[np.int64], label: Bools, delay: NDArray[np.int64]
) -> tuple[list[bytes], list[bytes]]:
    numbers = [columns.numbers[name].tolist() for name in ("heat", "wind", "amount")]
    rows = zip(time.tolist(), columns.site.tolist(), columns.user.tolist(), columns.hot.tolist(), *numbers, strict=True)
    events = [
        encode(
            {
                "id": i, "at": at // 1000, "site": f"s{site}", "user": f"u{user}", "kind": "hot" if hot else "cold",
                "heat": heat if heat == heat else None, "wind": wind, "amount": amount,
            }
        )
        for i, (at, site, user, hot, heat, wind, amount) in enumerate(rows)
    ]  # fmt: skip
    # only positives are sent, as clicks are: what does not come within the window is a negative
    sent = np.flatnonzero(label & ~columns.lost)
    came = time[sent] + delay[sent]
    order = np.argsort(came, kind="stable")
    labels = [
        encode({"id": i, "at": at // 1000}) for i, at in zip(sent[order].tolist(), came[order].tolist(), strict=True)
    ]
    return events, labels
