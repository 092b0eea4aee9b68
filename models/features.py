"""From raw dicts and data frames to the columns that the encoder walks."""

from __future__ import annotations

import math
import numbers
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from models.hashing import hash_feature
from stream.records import MAX_WORDS

TEXT_OR_BOOLEAN = (str, bool, np.bool_)
LISTS = (list, tuple)
NUMBER_TYPES = (float, int, numbers.Real, Decimal)  # the frequent ones first: the others are asked slowly
PLAIN_NUMBERS = (
    nw.Float64, nw.Float32, nw.Int64, nw.Int32, nw.Int16, nw.Int8, nw.UInt64, nw.UInt32, nw.UInt16, nw.UInt8,
)  # fmt: skip
WANTED = "a feature is text, a number, a boolean, a list of words or None"


@dataclass(frozen=True, slots=True)
class Columns:
    """n events as columns, with their names.

    Hashes of categories (n, c), numbers (n, k), and hashes of words (n, MAX_WORDS times the lists), 0 behind the last.
    """

    category_names: tuple[str, ...]
    number_names: tuple[str, ...]
    word_names: tuple[str, ...]
    categories: NDArray[np.uint64]
    numbers: NDArray[np.float64]
    words: NDArray[np.uint64]


def columns_of_dict(x: Mapping[Any, Any], known_numbers: Container[str]) -> Columns:
    """One event. Text and booleans are categories, numbers numbers, lists of text words; None and NaN are null.

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
    word_names: list[str] = []
    words: list[int] = []
    for key, value in x.items():
        name = key if isinstance(key, str) else str(key)
        if isinstance(value, TEXT_OR_BOOLEAN):
            category_names.append(name)
            hashes.append(hash_feature(name, value if isinstance(value, str) else bool(value)))
        elif is_null(value):
            if name in known_numbers:
                number_names.append(name)
                values.append(math.nan)
            else:
                category_names.append(name)
                hashes.append(hash_feature(name, None))
        elif isinstance(value, NUMBER_TYPES):
            number_names.append(name)
            values.append(_as_float(value))
        elif isinstance(value, LISTS) and all(isinstance(word, str) for word in value):
            word_names.append(name)
            hashes_of_words = [hash_feature(name, word) for word in value[:MAX_WORDS]]
            words += hashes_of_words + [0] * (MAX_WORDS - len(hashes_of_words))
        else:
            raise TypeError(f"feature {name!r} is a {type(value).__name__}; {WANTED}")
    return Columns(
        tuple(category_names),
        tuple(number_names),
        tuple(word_names),
        np.array(hashes, dtype=np.uint64).reshape(1, len(hashes)),
        np.array(values, dtype=np.float64).reshape(1, len(values)),
        np.array(words, dtype=np.uint64).reshape(1, len(words)),
    )


def is_null(value: Any) -> bool:
    """Whether this is None, NaN of any type, or pandas' NA, which answers no comparison."""
    if value is None or isinstance(value, TEXT_OR_BOOLEAN):
        return value is None
    if isinstance(value, NUMBER_TYPES):
        return bool(value != value)
    return type(value).__name__ == "NAType"


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond float64: as absurd as infinity
        return math.inf


def columns_of_frame(frame: nw.DataFrame[Any], known_numbers: Container[str]) -> Columns:
    """The rows of a frame. Numeric columns are numbers, all others categories; missing is null.

    A column of objects that holds numbers alone counts as numeric, as in a dict, and one without any value
    as numeric only where its name has been a number before: pandas gives an empty text column a numeric type.

    Raises
    ------
    TypeError
        A column that holds something else than text, booleans and numbers, or numbers among the others.
    """
    category_names: list[str] = []
    categories: list[NDArray[np.uint64]] = []
    number_names: list[str] = []
    values: list[NDArray[np.float64]] = []
    for series in frame.iter_columns():
        name = str(series.name)
        if series.dtype.is_temporal() or series.dtype.is_nested():
            raise TypeError(f"column {name!r} is a {series.dtype}; {WANTED}")
        nulls = series.null_count()
        if series.dtype in PLAIN_NUMBERS and nulls < len(series) and (not nulls or series.dtype.is_float()):
            number_names.append(name)
            values.append((series.cast(nw.Float64) if nulls else series).to_numpy().astype(np.float64))
            continue
        column = series.to_list()
        hashed = _hash_texts(name, column)
        if hashed is None:  # not text alone
            column = [None if is_null(value) else value for value in column]
            if _is_numeric(series.dtype, column, known=name in known_numbers):
                number_names.append(name)
                values.append(np.array([math.nan if value is None else _as_float(value) for value in column]))
                continue
            hashed = _hash_column(name, column)
        category_names.append(name)
        categories.append(hashed)
    rows = len(frame)
    return Columns(
        tuple(category_names),
        tuple(number_names),
        (),
        _stack(categories, rows, np.uint64),
        _stack(values, rows, np.float64),
        np.zeros((rows, 0), np.uint64),
    )


def _is_numeric(dtype: nw.dtypes.DType, column: Sequence[Any], *, known: bool) -> bool:
    values = [value for value in column if value is not None]
    if not values:
        return known
    return dtype.is_numeric() or (
        dtype == nw.Object
        and all(isinstance(value, NUMBER_TYPES) and not isinstance(value, TEXT_OR_BOOLEAN) for value in values)
    )


class _NotTextError(Exception):
    """A column holds something else than text and nulls."""


class _Texts(dict[Any, int]):
    """Hashes of a column's values, each worked out once: a whole column is mapped without a Python call per value."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __missing__(self, value: Any) -> int:
        if type(value) is not str and not is_null(value):
            raise _NotTextError
        hashed = hash_feature(self._name, value if type(value) is str else None)
        if type(value) is str:  # NaN is not even equal to itself
            self[value] = hashed
        return hashed


def _hash_texts(name: str, column: Sequence[Any]) -> NDArray[np.uint64] | None:
    """The hashes of a column of text and nulls, at least one of them text; None if it is another one."""
    texts = _Texts(name)
    try:
        hashed = np.fromiter(map(texts.__getitem__, column), np.uint64, len(column))
    except (_NotTextError, TypeError):  # what can't be hashed is no text either
        return None
    return hashed if texts else None


def _hash_column(name: str, column: Iterable[Any]) -> NDArray[np.uint64]:
    known: dict[Any, int] = {}
    hashes = []
    for value in column:
        if isinstance(value, bool | np.bool_):
            value = bool(value)
        elif isinstance(value, NUMBER_TYPES):
            raise TypeError(
                f"column {name!r} is a category and holds the number {value!r}; make the whole column text or numbers"
            )
        elif not isinstance(value, str) and value is not None:
            raise TypeError(f"column {name!r} holds a {type(value).__name__}; {WANTED}")
        if value not in known:
            known[value] = hash_feature(name, value)
        hashes.append(known[value])
    return np.array(hashes, dtype=np.uint64)


def _stack(columns: Sequence[NDArray[Any]], rows: int, dtype: type[np.generic]) -> NDArray[Any]:
    # the kernels are compiled for row-major arrays alone
    if not columns:
        return np.zeros((rows, 0), dtype)
    return np.ascontiguousarray(np.stack(columns, axis=1))
