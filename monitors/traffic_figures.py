"""What a window of traffic says: figures of scores, fields, labels' delays and messages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monitors.delays import delay_quantiles_s
from monitors.expected import expected_quality
from monitors.feature_drift_figures import Drift, FieldDrift
from monitors.metrics import share_above
from monitors.stability import score_psi
from monitors.traffic_kernels import DEAD, EVENTS, LABELS, MESSAGES

Ints = NDArray[np.int64]

WHOLE_METRICS = (
    "decision_rate",
    "score_psi",
    "expected_logloss",
    "expected_roc_auc",
    "label_delay_p50",
    "label_delay_p90",
    "label_delay_p99",
    "dead_share",
)  # what a rule may watch
GUARDRAILS = {"guardrail_mean": "mean", "guardrail_sum": "sum"}
DRIFT_METRICS = ("psi", "psi_excess", "clipped_rate")
FEATURE_METRICS = ("null_rate", "unseen_rate", "mean", "spread", *DRIFT_METRICS, *GUARDRAILS)  # of one field
TRAFFIC_METRICS = (*WHOLE_METRICS, *FEATURE_METRICS)


@dataclass(frozen=True, slots=True)
class FeatureFigures:
    """One field over a window; None is undefined, or meaningless for its kind."""

    null_rate: float | None  # of events
    mean: float | None = None
    spread: float | None = None  # standard deviation
    sum: float | None = None
    unseen_rate: float | None = None  # of events: values that no event had before
    psi: float | None = None  # against the reference
    psi_expected: float | None = None  # by chance alone
    psi_noise: float | None = None  # what chance alone exceeds once in a thousand
    psi_excess: float | None = None  # psi by psi_noise
    clipped_rate: float | None = None  # of numbers: beyond what the model clips at


@dataclass(frozen=True, slots=True)
class Traffic:
    """What flowed by in a window of event time; None is undefined."""

    events: int
    messages: int  # of all topics
    labels: int  # whose delay is known
    dead_share: float | None  # of messages
    decision_rate: float | None  # events, labelled or not, scored at least the threshold
    score_psi: float | None  # against the reference
    score_psi_expected: float | None  # by chance alone
    expected_logloss: float | None  # nats; this and the next if the probabilities are true, whatever the labels say
    expected_roc_auc: float | None
    label_delay_p50: float | None  # seconds
    label_delay_p90: float | None
    label_delay_p99: float | None
    features: Mapping[str, FeatureFigures]
    reference_events: int | None = None  # None: it is not whole yet; 0: its time had gone by

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
    drift: Drift,
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
    drift
        The scores to compare with, and how far each column is from the reference.
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
    ...     drift=Drift(),
    ...     threshold=0.5,
    ... )
    >>> traffic.dead_share, traffic.value("unseen_rate", "carrier"), traffic.value("null_rate", "temp")
    (0.1, 0.5, 0.25)
    >>> traffic.value("spread", "temp"), traffic.score_psi
    (2.0, None)
    """
    events, messages = int(books[EVENTS]), int(books[MESSAGES])
    stability, expected = score_psi(drift.reference_scores, scores), expected_quality(scores)
    p50, p90, p99 = delay_quantiles_s(delays, (0.5, 0.9, 0.99))
    return Traffic(
        events=events,
        messages=messages,
        labels=int(books[LABELS]),
        dead_share=int(books[DEAD]) / messages if messages else None,
        decision_rate=share_above(scores, threshold) / events if events else None,
        score_psi=stability.psi if stability else None,
        score_psi_expected=stability.expected if stability else None,
        expected_logloss=expected.logloss if expected else None,
        expected_roc_auc=expected.roc_auc if expected else None,
        label_delay_p50=p50,
        label_delay_p90=p90,
        label_delay_p99=p99,
        features={
            name: _drifted(figures, drift.fields.get(name, FieldDrift()))
            for name, figures in (
                *((name, _category(events, *counted)) for name, counted in categories.items()),
                *((name, _number(events, *moments)) for name, moments in numbers.items()),
            )
        },
        reference_events=drift.reference_events,
    )


def _drifted(figures: FeatureFigures, drift: FieldDrift) -> FeatureFigures:
    return replace(
        figures,
        psi=drift.psi,
        psi_expected=drift.psi_expected,
        psi_noise=drift.psi_noise,
        psi_excess=drift.psi_excess,
        clipped_rate=drift.clipped_rate,
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
