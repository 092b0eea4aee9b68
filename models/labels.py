"""Labels and weights in all their spellings: what is neither is refused before anything moves."""

from __future__ import annotations

from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

MAX_IMPORTANCE = 1e9  # more says nothing


def as_label(y: Any) -> float:
    """1.0 or 0.0.

    >>> as_label(True), as_label(0)
    (1.0, 0.0)
    """
    try:
        if y == 1:
            return 1.0
        if y == 0:
            return 0.0
    except (TypeError, ValueError):  # pandas' NA, or a whole array
        pass
    raise ValueError(f"a label is True or False, 1 or 0, not {y!r}")


def as_importance(w: Any) -> float:
    """A weight, as exact as the daemon keeps it: float32."""
    try:
        if w == 1.0:
            return 1.0
        if 0.0 <= w <= MAX_IMPORTANCE:
            return float(np.float32(w))
    except (TypeError, ValueError):
        pass
    raise ValueError(f"a weight is a number from 0 to {MAX_IMPORTANCE:g}, not {w!r}")


def as_labels(values: Any) -> NDArray[np.float64]:
    """Of a list, an array, or a pandas, polars or pyarrow series."""
    sequence = _as_sequence(values)
    array = _as_numbers(sequence)
    if array is not None and np.all((array == 0.0) | (array == 1.0)):
        return array
    return np.array([as_label(label) for label in sequence], dtype=np.float64)


def as_importances(values: Any) -> NDArray[np.float64]:
    sequence = _as_sequence(values)
    array = _as_numbers(sequence)
    if array is not None and np.all((array >= 0.0) & (array <= MAX_IMPORTANCE)):
        return array.astype(np.float32).astype(np.float64)
    return np.array([as_importance(weight) for weight in sequence], dtype=np.float64)


def _as_numbers(sequence: Any) -> NDArray[np.float64] | None:
    """One row of plain numbers or booleans; None where each has to be looked at."""
    try:
        array = np.asarray(sequence)
    except (ValueError, OverflowError):  # ragged
        return None
    return array.astype(np.float64) if array.ndim == 1 and array.dtype.kind in "biuf" else None


def _as_sequence(values: Any) -> Any:
    """A pandas, polars or pyarrow series as a list; anything else as it is."""
    series = nw.from_native(values, series_only=True, pass_through=True)
    return series.to_list() if isinstance(series, nw.Series) else series
