"""Beyond which numbers the model clips, so that monitors can count how many it does not see as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.external import ExternalModel
from models.kernels.encoding import CENTRED_SHARE, CLIP
from models.state import ASKED, COUNT, DEVIATIONS, MEAN, SQUARES
from models.stream_model import StreamModel


def clip_bounds(
    model: StreamModel | ExternalModel, *, columns: Sequence[str], features: Sequence[str]
) -> NDArray[np.float64]:
    """The least and the greatest number of each column that the model takes as it is now, shape (k, 2).

    NaN for a column that is none of its ``features``, or has not come yet.
    """
    bounds = np.full((len(columns), 2), np.nan)
    if isinstance(model, ExternalModel):
        return bounds
    state = model.small_state()
    statistics, asked = state["statistics"], state["counters"][ASKED]
    for row, name in enumerate(sorted(features)):  # the order in which the model keeps them
        n = statistics[row, COUNT]
        if not n:
            continue
        spread = np.sqrt(statistics[row, DEVIATIONS] / n)
        if spread > 0.0 and n >= CENTRED_SHARE * asked:
            middle, reach = statistics[row, MEAN], CLIP * spread
        else:
            # x / sqrt((squares + x^2) / (n + 1)) is within the clip, solved for x
            left = n + 1.0 - CLIP**2
            middle, reach = 0.0, CLIP * np.sqrt(statistics[row, SQUARES] / left) if left > 0 else np.inf
        bounds[columns.index(name)] = middle - reach, middle + reach
    return bounds
