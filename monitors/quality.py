"""The quality of a set of served predictions: all its figures together, by the names that rules use."""

from __future__ import annotations

from dataclasses import dataclass

from monitors.bins import Tally
from monitors.calibration import ece, observed_expected, spiegelhalter_z
from monitors.metrics import (
    average_precision,
    coverage,
    decisions,
    logloss,
    normalized_entropy,
    positive_rate,
    roc_auc,
)

THRESHOLD = 0.5

METRICS = (
    "logloss",
    "normalized_entropy",
    "roc_auc",
    "average_precision",
    "ece",
    "ece_debiased",
    "spiegelhalter_z",
    "observed_expected",
    "positive_rate",
    "precision",
    "recall",
    "alert_rate",
    "coverage",
)  # what a rule may watch


@dataclass(frozen=True, slots=True)
class Quality:
    """The quality of a set of served predictions; None is undefined."""

    events: int
    expired: int
    labelled: int
    positives: int
    coverage: float | None
    positive_rate: float | None
    logloss: float | None
    normalized_entropy: float | None
    roc_auc: float | None
    roc_auc_bound: float | None  # the exact area is at most this far away
    roc_auc_error: float | None  # standard error
    average_precision: float | None
    ece: float | None
    ece_expected: float | None  # of a perfectly calibrated model on as many events
    ece_debiased: float | None  # what is left without the part of chance, as a root mean square
    spiegelhalter_z: float | None
    observed_expected: float | None
    precision: float | None  # this and the next two at the threshold
    recall: float | None
    alert_rate: float | None  # of labelled events


def quality(tally: Tally, *, threshold: float = THRESHOLD) -> Quality:
    """Every figure of one tally; ``threshold`` is the probability from which on somebody would act.

    Examples
    --------
    >>> from monitors.bins import tally
    >>> judged = quality(tally(logit=[-2.0, -1.0, 0.5, 2.0], label=[0, 1, 0, 1]))
    >>> judged.labelled, judged.positive_rate, judged.roc_auc, round(judged.logloss, 4)
    (4, 0.5, 0.75, 0.6353)
    >>> quality(tally(logit=[], label=[])).logloss is None
    True
    """
    area, bound, error = roc_auc(tally) or (None, None, None)
    observed, expected, debiased = ece(tally) or (None, None, None)
    precision, recall, alert_rate = decisions(tally, threshold) or (None, None, None)
    return Quality(
        events=tally.events,
        expired=tally.expired,
        labelled=tally.labelled,
        positives=tally.positives,
        coverage=coverage(tally),
        positive_rate=positive_rate(tally),
        logloss=logloss(tally),
        normalized_entropy=normalized_entropy(tally),
        roc_auc=area,
        roc_auc_bound=bound,
        roc_auc_error=error,
        average_precision=average_precision(tally),
        ece=observed,
        ece_expected=expected,
        ece_debiased=debiased,
        spiegelhalter_z=spiegelhalter_z(tally),
        observed_expected=observed_expected(tally),
        precision=precision,
        recall=recall,
        alert_rate=alert_rate,
    )
