"""How far the fields of a window are from those of a reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from monitors.feature_drift_kernels import BINS, Ints
from monitors.stability import field_psi


@dataclass(frozen=True, slots=True)
class FieldDrift:
    """One field beside the reference; None is undefined: no reference yet, or nothing to compare."""

    psi: float | None = None
    psi_expected: float | None = None  # of two samples of one distribution: the mean
    psi_noise: float | None = None  # and what one pair of them in a thousand exceeds
    clipped_rate: float | None = None  # of numbers: beyond what the model clips at; None of a category

    @property
    def psi_excess(self) -> float | None:
        """The index by its noise: above 1 is more than chance shows, and 0 where there is but one bin.

        >>> FieldDrift(psi=0.06, psi_expected=0.01, psi_noise=0.02).psi_excess
        3.0
        """
        if self.psi is None or self.psi_noise is None:
            return None
        return self.psi / self.psi_noise if self.psi_noise else 0.0


@dataclass(frozen=True, slots=True)
class Drift:
    """A window beside the reference."""

    reference_scores: Ints = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))  # none while it is not whole
    reference_events: int | None = None  # None: not whole yet; 0: its time had gone by
    fields: Mapping[str, FieldDrift] = field(default_factory=dict)


def field_drift(whole: bool, reference: Ints, current: Ints, clipped_rate: float | None = None) -> FieldDrift:
    """Compare two histograms of a field, shape (bins,) each, if the reference is whole."""
    stability = field_psi(reference, current) if whole else None
    if stability is None:
        return FieldDrift(clipped_rate=clipped_rate)
    return FieldDrift(stability.psi, stability.expected, stability.noise, clipped_rate)
