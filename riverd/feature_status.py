"""The fields of a window for the status, those first whose drift moves most of what the model says."""

from __future__ import annotations

from collections.abc import Mapping

from monitors.traffic_figures import FeatureFigures, Traffic
from riverd.status import FeatureStatus


def ranked(traffic: Traffic, weights: Mapping[str, float]) -> dict[str, FeatureStatus]:
    """Every field, by PSI times mean absolute weight; where there are no weights by PSI alone.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> traffic = SimpleNamespace(features={"shop": FeatureFigures(0.0, psi=0.3), "x": FeatureFigures(0.0, psi=0.1)})
    >>> {name: status.impact for name, status in ranked(traffic, {"shop": 0.01, "x": 2.0}).items()}
    {'x': 0.2, 'shop': 0.003}
    >>> [*ranked(traffic, {})]
    ['shop', 'x']
    """
    fields = {name: _status(figures, weights.get(name)) for name, figures in traffic.features.items()}
    return dict(sorted(fields.items(), key=lambda item: _urgency(item[1], weighed=bool(weights))))


def _status(figures: FeatureFigures, weight: float | None) -> FeatureStatus:
    return FeatureStatus(
        null_rate=figures.null_rate,
        mean=figures.mean,
        spread=figures.spread,
        sum=figures.sum,
        unseen_rate=figures.unseen_rate,
        clipped_rate=figures.clipped_rate,
        psi=figures.psi,
        psi_expected=figures.psi_expected,
        psi_noise=figures.psi_noise,
        psi_excess=figures.psi_excess,
        weight=weight,
        impact=None if figures.psi is None or weight is None else figures.psi * weight,
    )


def _urgency(status: FeatureStatus, *, weighed: bool) -> float:
    return -((status.impact if weighed else status.psi) or 0.0)
