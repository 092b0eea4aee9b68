"""Features that rank the labels nearly without fault by themselves: they may be known only with the answer."""

from __future__ import annotations

import logging

import numpy as np

from monitors.labelled_sample import LabelledSample
from riverd.config import Config
from riverd.start.guess_features import LEAK, area_alone

log = logging.getLogger("riverd")


class Leaks:
    """Looks at the fields of the latest labelled events as ``riverd init`` looks at a sample, and says what it finds.

    Nothing is changed by it: a feature may be that good. Each one is logged once in a run.
    """

    def __init__(self, config: Config, sample: LabelledSample) -> None:
        features = config.features
        self._features = [*dict.fromkeys([*features.categories, *features.numbers, *features.buckets])]
        self._sample = sample
        self._logged: set[str] = set()

    def found(self) -> dict[str, float]:
        """By feature its ROC AUC alone, of those at or above 0.99; none with fewer than 20 labels of a class."""
        labels, columns = self._sample.labels, self._sample.columns
        leaks: dict[str, float] = {}
        for name in self._features:
            # a number that is seen through buckets alone is kept as a category
            as_number = name in self._sample.numbers
            if as_number and np.isnan(columns[name]).all():
                continue
            area = area_alone(columns[name].tolist(), labels, as_number=as_number)
            if area is not None and area >= LEAK:
                leaks[name] = area
        for name in leaks.keys() - self._logged:
            log.warning("feature %s ranks the labels alone, AUC %.3f: known only with the answer?", name, leaks[name])
        self._logged |= leaks.keys()
        return leaks
