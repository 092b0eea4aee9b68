"""The streams on which the learner was developed, each the same whenever it is made.

A stream is a function that yields events, (features, label). Defaults may be chosen by these; what came out is judged
by ``learner_held_out`` too, at which nobody looks before. Only flights have times of their own; elsewhere the time is
the number of the event.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from river import datasets
from river.datasets import synth

from benchmarks.rows import DATA
from riverd.flights import Arrival, Departure, write_topics

Event = tuple[dict[str, Any], bool]

CATEGORIES = ("carrier", "origin", "dest")
NUMBERS = (
    "distance", "planned_minutes", "temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib",
)  # fmt: skip
CROSSES = (("carrier", "origin"), ("origin", "hour"), ("carrier", "dest"))
WINDOW_S = 36 * 3600.0  # the demo's join window


@dataclass(frozen=True, slots=True)
class Stream:
    """Events in the order in which they are asked.

    Where the times are real, ``asked`` and ``due`` are seconds, ``due`` is infinite where no label ever comes (its
    place in ``y`` says nothing), and a label later than ``window`` is as good as none. Else all three are None.
    """

    x: list[dict[str, Any]]
    y: list[bool]
    asked: NDArray[np.float64] | None = None
    due: NDArray[np.float64] | None = None
    window: float | None = None


def load(name: str, make: Callable[[], Iterable[Event]] | None = None, *, rows: int | None = None) -> Stream:
    """A development stream, or what ``make`` makes, in memory: making it is not timed. At most ``rows`` events."""
    if make is None and name == "flights":
        return flights(rows=rows)
    x, y = zip(*islice((make or DEVELOPMENT[name])(), rows), strict=True)
    return Stream(list(x), list(y))


def phishing() -> Iterator[Event]:
    """1,250 sites by 9 numbers, of few values each."""
    yield from datasets.Phishing()


def bananas() -> Iterator[Event]:
    """5,300 points of a plane; the classes are shaped like bananas, and no line parts them."""
    yield from labelled(datasets.Bananas())


def image_segments() -> Iterator[Event]:
    """2,310 patches by 18 numbers. Made binary: brickface, cement, path and window against sky, foliage and grass."""
    for x, y in datasets.ImageSegments():
        yield x, y in ("brickface", "cement", "path", "window")


def sea() -> Iterator[Event]:
    """Three numbers; each 10,000 events another sum of the first two is the border; a tenth of the labels is wrong."""
    for variant in range(4):
        yield from labelled(islice(synth.SEA(variant=variant, noise=0.1, seed=10 + variant), 10_000))


def agrawal() -> Iterator[Event]:
    """Loans by 9 numbers up to half a million, 3 of them codes; each 10,000 events other rules decide."""
    for rule in (0, 2, 4, 8):
        loans = synth.Agrawal(classification_function=rule, perturbation=0.05, seed=20 + rule)
        yield from labelled(islice(loans, 10_000))


def random_rbf_drift() -> Iterator[Event]:
    """20 clouds in 10 dimensions, all on the move."""
    clouds = synth.RandomRBFDrift(
        seed_model=30, seed_sample=31, n_centroids=20, n_drift_centroids=20, change_speed=0.0005
    )
    yield from labelled(islice(clouds, 20_000))


def hyperplane() -> Iterator[Event]:
    """A plane in 10 dimensions that turns in four of them; a twentieth of the labels is wrong."""
    yield from labelled(islice(synth.Hyperplane(seed=40, n_drift_features=4, mag_change=0.001), 20_000))


def led_drift() -> Iterator[Event]:
    """Is a digit even, by its 7 segments, of which 14 % flip, and 17 noise bits; each 10,000 events others move."""
    for moved in (0, 3, 5, 7):
        digits = synth.LEDDrift(
            seed=50 + moved, noise_percentage=0.15, irrelevant_features=True, n_drift_features=moved
        )
        for x, digit in islice(digits, 10_000):
            yield named(x), digit % 2 == 0


def breast_cancer() -> Iterator[Event]:
    """scikit-learn's 569 tumours by 30 numbers, in an order of chance."""
    from sklearn.datasets import load_breast_cancer

    tumours = load_breast_cancer()
    names = [str(name) for name in tumours.feature_names]
    for i in np.random.default_rng(60).permutation(len(tumours.target)):
        yield dict(zip(names, tumours.data[i].tolist(), strict=True)), bool(tumours.target[i])


def ar1_intercept() -> Iterator[Event]:
    """Log-odds by 5 numbers and a base rate that wanders: AR(1), .999, of standard deviation 1.2."""
    rng = np.random.default_rng(70)
    x = rng.normal(size=(20_000, 5))
    logit = -1.0 + ar1(rng, 20_000, 1, memory=0.999, deviation=1.2)[:, 0] + x @ [0.8, -0.6, 0.4, 0.0, 0.0]
    yield from rows_of(x, drawn(rng, logit))


def ar1_weights() -> Iterator[Event]:
    """Log-odds by 8 numbers, of which each weight wanders: AR(1), .9995, of standard deviation .6."""
    rng = np.random.default_rng(71)
    x = rng.normal(size=(40_000, 8))
    weights = ar1(rng, 40_000, 8, memory=0.9995, deviation=0.6)
    yield from rows_of(x, drawn(rng, -1.0 + (weights * x).sum(axis=1)))


def lognormal_columns() -> Iterator[Event]:
    """Amounts with a log-normal tail, in units from .001 to a million; log-odds are linear in their logarithms."""
    rng = np.random.default_rng(80)
    z = rng.normal(size=(20_000, 5))
    x = np.exp(z * [1.0, 1.5, 2.0, 2.5, 1.0]) * [1.0, 1e6, 1e-3, 10.0, 1.0]
    yield from rows_of(x, drawn(rng, -1.0 + z @ [0.8, -0.8, 0.6, 0.4, 0.0]))


def cauchy_columns() -> Iterator[Event]:
    """Numbers without mean or variance, in units from .001 to a million; log-odds follow their hyperbolic tangents."""
    rng = np.random.default_rng(81)
    z = rng.standard_cauchy(size=(20_000, 5))
    logit = -0.5 + np.tanh(z) @ [1.2, -0.8, 0.8, 0.4, 0.0]
    yield from rows_of(z * [1.0, 1e6, 1e-3, 10.0, 1.0], drawn(rng, logit))


def rare() -> Iterator[Event]:
    """80,000 events, one positive in a thousand, by 6 numbers and a category of 20 values."""
    rng = np.random.default_rng(90)
    x, place = rng.normal(size=(80_000, 6)), rng.zipf(1.6, 80_000) % 20
    logit = x @ [1.0, -0.7, 0.5, 0.0, 0.0, 0.0] + rng.normal(size=20)[place]
    logit -= math.log(np.exp(logit).mean()) + math.log(1000.0)
    for (numbers, label), where in zip(rows_of(x, drawn(rng, logit)), place.tolist(), strict=True):
        yield {**numbers, "place": f"p{where}"}, label


def bursts() -> Iterator[Event]:
    """Two positives in a thousand, but two in five in a burst of 150 events on average; one begins in 2,000 events.

    A burst is over before a label that is 500 events late could tell of it. One number is half a deviation higher then.
    """
    rng = np.random.default_rng(91)
    burst = np.zeros(40_000, bool)
    for start in np.flatnonzero(rng.random(40_000) < 1 / 2000):
        burst[start : start + rng.geometric(1 / 150)] = True
    x = rng.normal(size=(40_000, 5))
    x[:, 4] += 0.5 * burst
    yield from rows_of(x, drawn(rng, np.where(burst, -0.4, -6.5) + x @ [0.6, -0.4, 0.0, 0.0, 0.0]))


def flights(*, rows: int | None = None) -> Stream:
    """The demo's flights and features, asked at scheduled departure, labelled at arrival; 2.8 % never get a label."""
    folder = DATA / "flights"
    write_topics(folder)
    landed = {}
    arrival, departure = msgspec.json.Decoder(Arrival).decode, msgspec.json.Decoder(Departure).decode
    with (folder / "arrivals" / "0.jsonl").open("rb") as lines:
        for a in map(arrival, lines):
            landed[a.id] = a.arrived_at.timestamp(), a.late
    x, y, asked, due = [], [], [], []
    with (folder / "flights" / "0.jsonl").open("rb") as lines:
        for flight in map(departure, islice(lines, rows)):
            at, late = landed.get(flight.id, (math.inf, False))
            x.append(flight_features(flight))
            y.append(late)
            asked.append(flight.scheduled_at.timestamp())
            due.append(at)
    return Stream(x, y, np.array(asked), np.array(due), WINDOW_S)


def flight_features(flight: Departure) -> dict[str, Any]:
    x = {name: getattr(flight, name) for name in CATEGORIES}
    x |= {"hour": f"{flight.scheduled_at.hour}", "weekday": f"{flight.scheduled_at.weekday()}"}  # UTC, as the daemon's
    x |= {f"{a}*{b}": f"{x[a]}*{x[b]}" for a, b in CROSSES}
    return x | {name: getattr(flight, name) for name in NUMBERS}


def labelled(events: Iterable[tuple[dict[Any, Any], Any]]) -> Iterator[Event]:
    for x, y in events:
        yield named(x), bool(y)


def named(x: dict[Any, Any]) -> dict[str, Any]:
    """Some of river's streams number their features."""
    return {name if isinstance(name, str) else f"x{name}": value for name, value in x.items()}


def rows_of(x: NDArray[np.float64], y: NDArray[np.bool_]) -> Iterator[Event]:
    names = [f"x{j}" for j in range(x.shape[1])]
    for row, label in zip(x.tolist(), y.tolist(), strict=True):
        yield dict(zip(names, row, strict=True)), label


def drawn(rng: np.random.Generator, logit: NDArray[np.float64]) -> NDArray[np.bool_]:
    return rng.random(len(logit)) < 1 / (1 + np.exp(-logit))


def ar1(rng: np.random.Generator, rows: int, columns: int, *, memory: float, deviation: float) -> NDArray[np.float64]:
    """Stationary AR(1) of this standard deviation, shape (rows, columns)."""
    walks = rng.normal(scale=deviation * math.sqrt(1 - memory**2), size=(rows, columns))
    walks[0] = rng.normal(scale=deviation, size=columns)
    for t in range(1, rows):
        walks[t] += memory * walks[t - 1]
    return walks


_MAKERS: Sequence[Callable[[], Iterator[Event]]] = (
    phishing, bananas, image_segments, breast_cancer, sea, agrawal, random_rbf_drift, hyperplane, led_drift,
    ar1_intercept, ar1_weights, lognormal_columns, cauchy_columns, rare, bursts,
)  # fmt: skip
DEVELOPMENT = {make.__name__: make for make in _MAKERS}
