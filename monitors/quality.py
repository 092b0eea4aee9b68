"""The quality of a set of served predictions: all its figures together, by the names that rules use."""

from __future__ import annotations

from dataclasses import dataclass

from monitors.bins import Tally
from monitors.calibration import Group, ece, observed_expected, reliability, spiegelhalter_z
from monitors.errors import logloss_error, observed_expected_error, share_error
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

WITH_ERROR = (
    "logloss",
    "roc_auc",
    "observed_expected",
    "positive_rate",
    "precision",
    "recall",
    "alert_rate",
    "coverage",
)  # those that have a standard error


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
    logloss_error: float | None  # standard error
    normalized_entropy: float | None
    roc_auc: float | None
    roc_auc_bound: float | None  # the exact area is at most this far away
    roc_auc_error: float | None
    average_precision: float | None
    ece: float | None
    ece_expected: float | None  # of a perfectly calibrated model on as many events
    ece_debiased: float | None  # what is left without the part of chance, as a root mean square
    spiegelhalter_z: float | None
    observed_expected: float | None
    observed_expected_error: float | None
    precision: float | None  # this and the next two at the threshold
    recall: float | None
    alert_rate: float | None  # of labelled events
    reliability: tuple[Group, ...]  # from the lowest scores to the highest

    def standard_error(self, metric: str) -> float | None:
        """How far chance may have moved one of ``WITH_ERROR``, in its own unit; None is undefined.

        Examples
        --------
        >>> from monitors.bins import tally
        >>> judged = quality(tally(logit=[-2.0, -1.0, 0.5, 2.0] * 50, label=[0, 1, 0, 1] * 50))
        >>> [round(judged.standard_error(metric), 4) for metric in ("logloss", "roc_auc", "positive_rate")]
        [0.037, 0.0355, 0.0352]
        """
        match metric:
            case "logloss":
                return self.logloss_error
            case "roc_auc":
                return self.roc_auc_error
            case "observed_expected":
                return self.observed_expected_error
        share = getattr(self, metric)
        return None if share is None else share_error(share, self._base(metric))

    def _base(self, metric: str) -> float:
        """The number of events that a share is of."""
        match metric:
            case "positive_rate" | "alert_rate":
                return self.labelled
            case "coverage":
                return self.events
            case "recall":
                return self.positives
            case "precision":
                return (self.alert_rate or 0.0) * self.labelled
        raise ValueError(f"{metric} has no standard error, only {', '.join(WITH_ERROR)} have")


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
        logloss_error=logloss_error(tally),
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
        observed_expected_error=observed_expected_error(tally),
        precision=precision,
        recall=recall,
        alert_rate=alert_rate,
        reliability=tuple(reliability(tally)),
    )
