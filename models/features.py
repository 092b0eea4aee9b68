"""From raw dicts and data frames to the columns that the encoder walks."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from models.hashing import hash_feature


@dataclass(frozen=True, slots=True)
class Columns:
    """n events as columns: category hashes (n, c) and numbers (n, k), with the names of both."""

    category_names: tuple[str, ...]
    number_names: tuple[str, ...]
    categories: NDArray[np.uint64]
    numbers: NDArray[np.float64]


def columns_of_dict(x: Mapping[Any, Any], known_numbers: Mapping[str, int]) -> Columns:
    """One event. Text and booleans are categories, numbers numbers, None and NaN null.

    A null is a number's where the name has been a number before, else a category's; the slot is the same.

    Raises
    ------
    TypeError
        A value that is none of these, with its name.
    """
    category_names: list[str] = []
    hashes: list[int] = []
    number_names: list[str] = []
    values: list[float] = []
    for key, value in x.items():
        name = key if isinstance(key, str) else str(key)
        if isinstance(value, float | int) and not isinstance(value, bool):
            number_names.append(name)
            values.append(_as_float(value))
        elif isinstance(value, str | bool | np.bool_):
            category_names.append(name)
            hashes.append(hash_feature(name, value if isinstance(value, str) else bool(value)))
        elif value is None:
            if name in known_numbers:
                number_names.append(name)
                values.append(math.nan)
            else:
                category_names.append(name)
                hashes.append(hash_feature(name, None))
        elif isinstance(value, numbers.Real):
            number_names.append(name)
            values.append(_as_float(value))
        else:
            raise TypeError(
                f"feature {name!r} is a {type(value).__name__}; a feature is text, a number, a boolean or None"
            )
    return Columns(
        tuple(category_names),
        tuple(number_names),
        np.array(hashes, dtype=np.uint64).reshape(1, len(hashes)),
        np.array(values, dtype=np.float64).reshape(1, len(values)),
    )


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond float64: as absurd as infinity
        return math.inf


def columns_of_frame(frame: nw.DataFrame[Any]) -> Columns:
    """The rows of a frame. Numeric columns are numbers, all others categories; missing is null.

    A column of objects that holds numbers alone counts as numeric, as in a dict.

    Raises
    ------
    TypeError
        A column that holds something else than text, booleans and numbers.
    """
    category_names: list[str] = []
    categories: list[NDArray[np.uint64]] = []
    number_names: list[str] = []
    values: list[NDArray[np.float64]] = []
    for series in frame.iter_columns():
        name = str(series.name)
        if series.dtype.is_numeric():
            number_names.append(name)
            values.append(np.array([math.nan if v is None else v for v in series.to_list()], dtype=np.float64))
        else:
            category_names.append(name)
            categories.append(_hash_column(name, series.to_list()))
    rows = len(frame)
    return Columns(
        tuple(category_names),
        tuple(number_names),
        _stack(categories, rows, np.uint64),
        _stack(values, rows, np.float64),
    )


def _hash_column(name: str, values: Iterable[Any]) -> NDArray[np.uint64]:
    known: dict[Any, int] = {}
    hashes = []
    for value in values:
        if value is None or value != value:  # None, NaN, pandas' NA and NaT compare unequal or unknown
            value = None
        elif isinstance(value, bool | np.bool_):
            value = bool(value)
        elif not isinstance(value, str):
            raise TypeError(
                f"column {name!r} holds a {type(value).__name__}; a feature is text, a number, a boolean or None"
            )
        if value not in known:
            known[value] = hash_feature(name, value)
        hashes.append(known[value])
    return np.array(hashes, dtype=np.uint64)


def _stack(columns: Sequence[NDArray[Any]], rows: int, dtype: type[np.generic]) -> NDArray[Any]:
    # the kernels are compiled for row-major arrays alone
    if not columns:
        return np.zeros((rows, 0), dtype)
    return np.ascontiguousarray(np.stack(columns, axis=1))
