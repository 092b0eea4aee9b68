"""What a window of traffic says: figures of scores, fields, labels' delays and messages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitors.delays import delay_quantiles_s
from monitors.metrics import share_above
from monitors.stability import score_psi
from monitors.traffic_kernels import DEAD, EVENTS, LABELS, MESSAGES

Ints = NDArray[np.int64]

WHOLE_METRICS = (
    "decision_rate",
    "score_psi",
    "label_delay_p50",
    "label_delay_p90",
    "label_delay_p99",
    "dead_share",
)  # what a rule may watch
GUARDRAILS = {"guardrail_mean": "mean", "guardrail_sum": "sum"}
FEATURE_METRICS = ("null_rate", "unseen_rate", "mean", "spread", *GUARDRAILS)  # of one field
TRAFFIC_METRICS = (*WHOLE_METRICS, *FEATURE_METRICS)


@dataclass(frozen=True, slots=True)
class FeatureFigures:
    """One field over a window; None is undefined, or meaningless for its kind."""

    null_rate: float | None  # of events
    mean: float | None = None
    spread: float | None = None  # standard deviation
    sum: float | None = None
    unseen_rate: float | None = None  # of events: values that no event had before


@dataclass(frozen=True, slots=True)
class Traffic:
    """What flowed by in a window of event time; None is undefined."""

    events: int
    messages: int  # of all topics
    labels: int  # whose delay is known
    dead_share: float | None  # of messages
    decision_rate: float | None  # events, labelled or not, scored at least the threshold
    score_psi: float | None  # against the first full window
    score_psi_expected: float | None  # by chance alone
    label_delay_p50: float | None  # seconds
    label_delay_p90: float | None
    label_delay_p99: float | None
    features: Mapping[str, FeatureFigures]

    def value(self, metric: str, feature: str | None) -> float | None:
        """One of ``TRAFFIC_METRICS``; those of a feature need its name."""
        if feature is None:
            return getattr(self, metric)
        return getattr(self.features[feature], GUARDRAILS.get(metric, metric))

    def support(self, metric: str) -> int:
        """How many observations a figure rests on."""
        if metric == "dead_share":
            return self.messages
        return self.labels if metric.startswith("label_delay") else self.events


def traffic_figures(
    *,
    books: Ints,
    scores: Ints,
    delays: Ints,
    categories: Mapping[str, Sequence[int]],
    numbers: Mapping[str, Sequence[float]],
    reference: Ints,
    threshold: float,
) -> Traffic:
    """Every figure of one window.

    Parameters
    ----------
    books
        Events, labels, messages, dead letters.
    scores, delays
        Histograms of served logits and of delays.
    categories
        Nulls and unseen values of each column.
    numbers
        Count, mean, sum of squared deviations and sum of each column.
    reference
        The histogram of scores to compare with; empty if there is none yet.
    threshold
        Probability from which on somebody would act.

    Examples
    --------
    >>> from monitors.traffic_kernels import BINS, DELAY_BINS
    >>> nothing = np.zeros(BINS, dtype=np.int64)
    >>> traffic = traffic_figures(
    ...     books=np.array([4, 0, 10, 1]),
    ...     scores=nothing,
    ...     delays=np.zeros(DELAY_BINS, dtype=np.int64),
    ...     categories={"carrier": (1, 2)},
    ...     numbers={"temp": (3.0, 10.0, 8.0, 30.0)},
    ...     reference=nothing,
    ...     threshold=0.5,
    ... )
    >>> traffic.dead_share, traffic.value("unseen_rate", "carrier"), traffic.value("null_rate", "temp")
    (0.1, 0.5, 0.25)
    >>> traffic.value("spread", "temp"), traffic.score_psi
    (2.0, None)
    """
    events, messages = int(books[EVENTS]), int(books[MESSAGES])
    stability = score_psi(reference, scores)
    p50, p90, p99 = delay_quantiles_s(delays, (0.5, 0.9, 0.99))
    return Traffic(
        events=events,
        messages=messages,
        labels=int(books[LABELS]),
        dead_share=int(books[DEAD]) / messages if messages else None,
        decision_rate=share_above(scores, threshold) / events if events else None,
        score_psi=stability.psi if stability else None,
        score_psi_expected=stability.expected if stability else None,
        label_delay_p50=p50,
        label_delay_p90=p90,
        label_delay_p99=p99,
        features={name: _category(events, *counted) for name, counted in categories.items()}
        | {name: _number(events, *moments) for name, moments in numbers.items()},
    )


def _category(events: int, nulls: int, unseen: int) -> FeatureFigures:
    if not events:
        return FeatureFigures(None)
    return FeatureFigures(nulls / events, unseen_rate=unseen / events)


def _number(events: int, count: float, mean: float, deviations: float, total: float) -> FeatureFigures:
    if not events:
        return FeatureFigures(None)
    null_rate = 1 - count / events
    if not count:
        return FeatureFigures(null_rate, sum=0.0)
    # one value has no spread
    return FeatureFigures(null_rate, mean, math.sqrt(deviations / (count - 1)) if count > 1 else None, total)
