"""When labels come, and what a learner is worth that has to wait for them.

A learner is asked once per event, and what it said then is judged, however late the label. It is handed back its own
prediction with the label, or is told to drop it. That is river's ``stream.simulate_qa`` with a third action.

River's own loop, ``evaluate.progressive_val_score(delay=...)``, judges the same answers but calls ``predict_proba_one``
and, when the label comes, ``learn_one(x, y)``. A model is then told of an event only with its label, so it loses

- statistics of the features that were known at once (a scaler stands still until the first label);
- what it said and by which features, encoded then: it encodes again, and whatever judges its own parts by their earlier
  predictions judges those made after the previous labels came instead, as if there were no delay;
- how late the label is, how many are still to come, and that some never will.

``learner_peers.River`` is that loop's side of the harness: a riverd model wrapped in it shows what this costs.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.learner_streams import Stream

DELAYS = ("0", "50", "500", "5000", "lognormal")  # in events; the third last only where a stream is long enough
MEDIAN, SIGMA = 150.0, 1.5  # of the log-normal delay
MOST_OF_STREAM = 0.45  # longer delays leave too little to learn from
REAL = "real"

LEAST_PROBABILITY = 1e-15  # one sure mistake costs 34.5
BINS = 15  # of the calibration error
WARM_UP = 100


class Prediction(Protocol):
    @property
    def probability(self) -> float: ...


class Learner(Protocol):
    """What the harness runs; ``expert_probabilities(prediction)``, an array of one length, is optional."""

    def ask(self, x: dict[str, Any]) -> Prediction: ...
    def learn(self, prediction: Any, y: bool) -> None: ...
    def drop(self, prediction: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Run:
    """The labelled events in the order in which they were asked: n labels, n probabilities, (n, k) of the experts."""

    y: NDArray[np.bool_]
    p: NDArray[np.float64]
    experts: NDArray[np.float64] | None
    events: int  # labelled or not
    seconds: float  # without what reading the experts took


def delays_of(stream: Stream) -> tuple[str, ...]:
    """The delays at which a stream is run."""
    if stream.due is not None:
        return (REAL,)
    return tuple(d for d in DELAYS if not d.isdigit() or int(d) <= MOST_OF_STREAM * len(stream.y))


def actions(stream: Stream, delay: str) -> Iterator[tuple[str, int]]:
    """("ask" | "learn" | "drop", number of the event) in order of time, whatever is due at the end.

    Of equal times, what was asked earlier comes first and labels come before questions, as river has it.
    """
    asked, ends, comes = _times(stream, delay)
    waiting: list[tuple[float, int]] = []
    for i, now in enumerate(asked):
        while waiting and waiting[0][0] <= now:
            j = heapq.heappop(waiting)[1]
            yield "learn" if comes[j] else "drop", j
        yield "ask", i
        heapq.heappush(waiting, (ends[i], i))
    while waiting:
        j = heapq.heappop(waiting)[1]
        yield "learn" if comes[j] else "drop", j


def _times(stream: Stream, delay: str) -> tuple[list[float], list[float], list[bool]]:
    """When each event is asked, when its prediction ends, and whether by a label."""
    if stream.asked is not None and stream.due is not None and stream.window is not None:
        expires = stream.asked + stream.window
        return stream.asked.tolist(), np.minimum(stream.due, expires).tolist(), (stream.due <= expires).tolist()
    rows = len(stream.y)
    asked = np.arange(rows, dtype=float)
    if delay == "lognormal":
        late = np.random.default_rng(150).lognormal(math.log(MEDIAN), SIGMA, rows)
    else:
        late = np.full(rows, float(delay))
    return asked.tolist(), (asked + late).tolist(), [True] * rows


def play(make: Callable[[], Learner], stream: Stream, delay: str) -> Run:
    """Run a new learner through the stream; another one goes first, which compiles and loads what there is to."""
    order = list(actions(stream, delay))
    _warm_up(make(), stream)
    learner = make()
    ask, learn, drop = learner.ask, learner.learn, learner.drop
    experts_of = getattr(learner, "expert_probabilities", None)
    x, y = stream.x, stream.y
    held: dict[int, Any] = {}
    p = np.full(len(y), np.nan)
    experts: dict[int, Any] = {}
    reading = 0.0
    began = time.perf_counter()
    for what, i in order:
        if what == "ask":
            held[i] = prediction = ask(x[i])
            p[i] = prediction.probability
            if experts_of is not None:
                started = time.perf_counter()
                experts[i] = experts_of(prediction)
                reading += time.perf_counter() - started
        elif what == "learn":
            learn(held.pop(i), y[i])
        else:
            drop(held.pop(i))
    seconds = time.perf_counter() - began - reading
    judged = sorted(i for what, i in order if what == "learn")
    return Run(
        np.array([y[i] for i in judged], dtype=bool),
        p[judged],
        np.array([experts[i] for i in judged]) if experts else None,
        len(y),
        seconds,
    )


def _warm_up(learner: Learner, stream: Stream) -> None:
    for x, y in zip(stream.x[:WARM_UP], stream.y[:WARM_UP], strict=True):
        learner.learn(learner.ask(x), y)


def log_loss(y: NDArray[np.bool_], p: NDArray[np.float64]) -> float:
    """Mean in nats, of probabilities clipped to 1e-15 from 0 and 1; infinite where one is not a number."""
    if not np.isfinite(p).all():
        return math.inf
    p = np.clip(p, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return float(-np.log(np.where(y, p, 1 - p)).mean())


def roc_auc(y: NDArray[np.bool_], p: NDArray[np.float64]) -> float:
    """scikit-learn's; not a number where a probability is none, or only one class came."""
    from sklearn.metrics import roc_auc_score

    if y.all() or not y.any() or not np.isfinite(p).all():
        return math.nan
    return float(roc_auc_score(y, p))


def calibration_error(y: NDArray[np.bool_], p: NDArray[np.float64]) -> float:
    """ECE: |mean probability - share of positives|, averaged over 15 bins of equal counts, equal p in order of time.

    It is not debiased: with few positives even true probabilities score above 0.
    """
    if not np.isfinite(p).all():
        return math.nan
    bins = np.array_split(np.argsort(p, kind="stable"), BINS)
    return sum(abs(float(p[b].sum() - y[b].sum())) for b in bins) / len(y)
