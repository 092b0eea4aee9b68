"""Metrics of the windows: how good the predictions were, what flowed by, each feature, each slice.

Of each window there are two: ``labels="final"``, whose labels have all come or are too late, and
``labels="provisional"``, the newest events with the labels so far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric

from riverd.status import FeatureStatus, SliceStatus, Status, TrafficStatus, WindowStatus
from riverd.web.families import Rows, gauge

OF_WINDOWS: tuple[tuple[str, str, Callable[[WindowStatus], float | None]], ...] = (
    ("events", "Predictions in the window.", lambda window: window.events),
    ("labelled_events", "Of them, those whose label has come.", lambda window: window.labelled),
    ("expired_events", "Of them, those whose label came not in time.", lambda window: window.expired),
    ("coverage_ratio", "Labelled events by events.", lambda window: window.coverage),
    ("positive_ratio", "Positives by labelled events.", lambda window: window.positive_rate),
    ("logloss_nats", "Mean logloss.", lambda window: window.logloss),
    ("logloss_error_nats", "Standard error of that.", lambda window: window.logloss_error),
    ("normalized_entropy_ratio", "Logloss by that of the base rate.", lambda window: window.normalized_entropy),
    ("roc_auc_ratio", "Area under the ROC curve.", lambda window: window.roc_auc),
    ("roc_auc_error_ratio", "Standard error of that.", lambda window: window.roc_auc_error),
    ("average_precision_ratio", "Area under precision by recall.", lambda window: window.average_precision),
    ("observed_expected_ratio", "Positives by the sum of probabilities.", lambda window: window.observed_expected),
    ("observed_expected_error_ratio", "Standard error of that.", lambda window: window.observed_expected_error),
    ("spiegelhalter_z", "Calibration: beyond 3 or -3 hardly by chance.", lambda window: window.spiegelhalter_z),
    ("ece_ratio", "Expected calibration error in bins.", lambda window: window.ece),
    ("ece_expected_ratio", "What that is for perfect calibration, by chance.", lambda window: window.ece_expected),
    ("ece_debiased_ratio", "It without the part of chance.", lambda window: window.ece_debiased),
    ("precision_ratio", "Positives by labelled events at the threshold.", lambda window: window.precision),
    ("recall_ratio", "Positives at the threshold by positives.", lambda window: window.recall),
    ("alert_ratio", "Labelled events at the threshold by labelled events.", lambda window: window.alert_rate),
    ("logloss_sum_nats", "Sum of logloss.", lambda window: _times_or_none(window.logloss, window.labelled)),
    ("positive_events", "Positives.", lambda window: _times_or_none(window.positive_rate, window.labelled)),
    (
        "ordered_pairs",
        "Pairs of a positive and a negative in the right order: AUC by sums.",
        lambda w: _ordered_pairs(w),
    ),
    ("pairs", "Pairs of a positive and a negative.", lambda window: _pairs(window)),
)
OF_TRAFFIC: tuple[tuple[str, str, Callable[[TrafficStatus], float | None]], ...] = (
    ("decision_ratio", "Events scored at least the threshold by events.", lambda traffic: traffic.decision_rate),
    ("dead_ratio", "Dead letters by messages.", lambda traffic: traffic.dead_share),
    ("score_psi", "Stability of scores against the reference.", lambda traffic: traffic.score_psi),
    ("score_psi_expected", "What that is by chance alone.", lambda traffic: traffic.score_psi_expected),
    ("expected_logloss_nats", "Logloss if the probabilities are true.", lambda traffic: traffic.expected_logloss),
    ("expected_roc_auc_ratio", "ROC AUC if the probabilities are true.", lambda traffic: traffic.expected_roc_auc),
)
DELAYS: tuple[tuple[str, Callable[[TrafficStatus], float | None]], ...] = (
    ("50", lambda traffic: traffic.label_delay_p50),
    ("90", lambda traffic: traffic.label_delay_p90),
    ("99", lambda traffic: traffic.label_delay_p99),
)
OF_FEATURES: tuple[tuple[str, str, Callable[[FeatureStatus], float | None]], ...] = (
    ("null_ratio", "Events without this feature by events.", lambda feature: feature.null_rate),
    ("unseen_ratio", "Events with a value that none had before.", lambda feature: feature.unseen_rate),
    ("clipped_ratio", "Numbers beyond what the model clips at.", lambda feature: feature.clipped_rate),
    ("psi", "Stability of its values against the reference.", lambda feature: feature.psi),
    ("psi_expected", "What that is by chance alone.", lambda feature: feature.psi_expected),
    ("psi_noise", "What chance exceeds once in a thousand.", lambda feature: feature.psi_noise),
    ("psi_excess_ratio", "The index by that noise.", lambda feature: feature.psi_excess),
    ("impact", "Stability by the mean absolute weight in the model.", lambda feature: feature.impact),
    ("mean", "Mean of a number.", lambda feature: feature.mean),
    ("spread", "Standard deviation of a number.", lambda feature: feature.spread),
    ("summed", "Sum of a number.", lambda feature: feature.sum),
)
OF_SLICES: tuple[tuple[str, str, Callable[[SliceStatus], float | None]], ...] = (
    ("events", "Predictions of a value of a field, in a final window.", lambda part: part.events),
    ("labelled_events", "Of them, those whose label has come.", lambda part: part.labelled),
    ("positive_ratio", "Positives by labelled events.", lambda part: part.positive_rate),
    ("logloss_nats", "Mean logloss.", lambda part: part.logloss),
    ("logloss_error_nats", "Standard error of that.", lambda part: part.logloss_error),
    ("roc_auc_ratio", "Area under the ROC curve.", lambda part: part.roc_auc),
    ("roc_auc_error_ratio", "Standard error of that.", lambda part: part.roc_auc_error),
    ("observed_expected_ratio", "Positives by the sum of probabilities.", lambda part: part.observed_expected),
    ("observed_expected_error_ratio", "Standard error of that.", lambda part: part.observed_expected_error),
    ("coverage_ratio", "Labelled events by events.", lambda part: part.coverage),
    ("normalized_entropy_ratio", "Logloss by that of the base rate.", lambda part: part.normalized_entropy),
    ("ece_debiased_ratio", "Calibration error without the part of chance.", lambda part: part.ece_debiased),
)


def window_families(status: Status) -> Iterator[Metric]:
    """All that is known of the windows."""
    key = ("window", "labels")
    windows = [((window.window, "final" if window.final else "provisional"), window) for window in status.windows]
    flows = [(names, window.traffic) for names, window in windows if window.traffic is not None]
    features = [((*names, name), one) for names, flow in flows for name, one in flow.features.items()]
    parts = [((window.window, part.field, part.value), part) for _, window in windows for part in window.slices]
    for name, of, figure in OF_WINDOWS:
        yield gauge(f"riverd_window_{name}", of, key, [(names, figure(window)) for names, window in windows])
    for name, of, figure in OF_TRAFFIC:
        yield gauge(f"riverd_window_{name}", of, key, [(names, figure(flow)) for names, flow in flows])
    delays: Rows = [((*names, percentile), delay(flow)) for names, flow in flows for percentile, delay in DELAYS]
    yield gauge("riverd_window_label_delay_seconds", "From an event to its label.", (*key, "percentile"), delays)
    for name, of, figure in OF_FEATURES:
        yield gauge(f"riverd_feature_{name}", of, (*key, "feature"), [(names, figure(one)) for names, one in features])
    for name, of, figure in OF_SLICES:
        rows: Rows = [(names, figure(part)) for names, part in parts]
        yield gauge(f"riverd_slice_{name}", of, ("window", "field", "value"), rows)


def _times_or_none(mean: float | None, count: float) -> float | None:
    return None if mean is None else mean * count


def _pairs(window: WindowStatus) -> float | None:
    positives = _times_or_none(window.positive_rate, window.labelled)
    return None if positives is None else round(positives) * (window.labelled - round(positives))


def _ordered_pairs(window: WindowStatus) -> float | None:
    pairs = _pairs(window)
    return None if pairs is None else _times_or_none(window.roc_auc, pairs)
