"""Frames of every library equal their rows as dicts, to the bit."""

import math
from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.logistic_regression import LogisticRegression

compiled = settings(deadline=None)
CROSSES = (("t", "b"), ("o", "t"))

texts = st.sampled_from([None, "", "x", "y", "null", "Ä"])
booleans = st.sampled_from([None, True, False])
floats = st.one_of(st.none(), st.sampled_from([math.nan, math.inf, 1e15, 2e15, -0.0, 1e-160]), st.floats(-9, 9))
integers = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))
rows = st.lists(st.tuples(texts, booleans, floats, integers, st.booleans()), min_size=1, max_size=12).map(
    lambda found: ([dict(zip("tbfi", row, strict=False)) for row in found], [row[-1] for row in found])
)

SCHEMA = pa.schema([("t", pa.string()), ("b", pa.bool_()), ("f", pa.float64()), ("i", pa.int64())])


def as_arrow(rows):
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def as_polars(rows):
    return pl.DataFrame(rows, schema={"t": pl.String, "b": pl.Boolean, "f": pl.Float64, "i": pl.Int64})


def as_pandas_objects(rows):
    return pd.DataFrame({name: np.array([row[name] for row in rows], dtype=object) for name in "tbfi"})


def as_pandas_nullable(rows):
    return as_pandas_objects(rows).astype({"t": "string", "b": "boolean", "i": "Int64", "f": "Float64"})


def as_pandas_on_arrow(rows):
    return as_arrow(rows).to_pandas(types_mapper=pd.ArrowDtype)


LIBRARIES = [as_arrow, as_polars, as_pandas_objects, as_pandas_nullable, as_pandas_on_arrow]


def by_rows(rows, labels, weights=None):
    model = new_model()
    for i, (x, y) in enumerate(zip(rows, labels, strict=True)):
        model.learn_one(x, y, 1.0 if weights is None else weights[i])
    return model


def by_frame(frame, labels, weights=None):
    model = new_model()
    model.learn_many(frame, labels, weights)
    return model


def new_model():
    return LogisticRegression(bits=10, crosses=CROSSES)


@pytest.mark.parametrize("library", LIBRARIES)
@compiled
@given(data=rows)
def test_a_frame_equals_its_rows(library, data):
    rows, labels = data
    expected, model = by_rows(rows, labels), by_frame(library(rows), labels)
    assert model.sha256 == expected.sha256
    forecast = model.predict_proba_many(as_pandas_objects(rows)).to_numpy()
    assert forecast.tolist() == [list(expected.predict_proba_one(x).values()) for x in rows]
    assert list(model.predict_many(as_pandas_objects(rows))) == [expected.predict_one(x) for x in rows]


@compiled
@given(data=rows, cut=st.integers(0, 12))
def test_frames_may_be_cut_anywhere(data, cut):
    rows, labels = data
    model = new_model()
    for part in (slice(cut), slice(cut, None)):
        model.learn_many(as_polars(rows[part]), labels[part])
    assert model.sha256 == by_frame(as_polars(rows), labels).sha256


ROWS = [{"t": "x", "b": True, "f": 1.5, "i": 3}, {"t": None, "b": None, "f": None, "i": None}]
ROWS += [{"t": "y", "b": False, "f": -2.5, "i": 2**53 + 1}]


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_comes_back_is_of_the_same_library(library):
    model, frame = by_rows(ROWS, [1, 0, 1]), library(ROWS)
    forecast, decided = model.predict_proba_many(frame), model.predict_many(frame)
    assert type(forecast) is type(frame)
    named = forecast if isinstance(frame, pd.DataFrame) else {True: forecast["True"], False: forecast["False"]}
    for key in (False, True):
        column = named[key].to_pylist() if isinstance(frame, pa.Table) else list(named[key])
        assert column == [model.predict_proba_one(x)[key] for x in ROWS]
    values = decided.to_pylist() if isinstance(frame, pa.Table) else list(decided)
    assert values == [model.predict_one(x) for x in ROWS]


@pytest.mark.parametrize(
    "index", [[7, 3, 5], ["a", "b", "c"], pd.to_datetime(["2026-01-03", "2026-01-01", "2026-01-02"])]
)
def test_the_index_is_kept(index):
    frame = as_pandas_objects(ROWS).set_index(pd.Index(index))
    model = by_frame(frame, pd.Series([1, 0, 1], index=index))
    assert model.predict_proba_many(frame).index.equals(frame.index)
    assert model.predict_many(frame).index.equals(frame.index)
    assert model.sha256 == by_rows(ROWS, [1, 0, 1]).sha256


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_empty_frame_changes_nothing(library):
    model = by_rows(ROWS, [1, 0, 1])
    before = model.sha256
    model.learn_many(library(ROWS)[:0], [])
    assert model.sha256 == before
    assert len(model.predict_proba_many(library(ROWS)[:0])) == 0
    assert len(model.predict_many(library(ROWS)[:0])) == 0


def test_a_frame_without_columns_is_a_base_rate():
    model = by_frame(pd.DataFrame(index=range(3)), [1, 1, 0])
    assert model.sha256 == by_rows([{}] * 3, [1, 1, 0]).sha256


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (pd.Series([1, 2.5, None], dtype=object), [1, 2.5, None]),
        (
            pd.Series([10**400, Decimal("0.1"), np.float32(0.1)], dtype=object),
            [10**400, Decimal("0.1"), np.float32(0.1)],
        ),
        (pd.Series([True, "x", math.nan], dtype=object), [True, "x", math.nan]),
        (pd.Series([np.True_, pd.NA, "1"], dtype=object), [True, None, "1"]),
        (pd.Series(["x", pd.NA, None], dtype="string"), ["x", None, None]),
        (pd.Series(["x", None, "z"], dtype="category"), ["x", None, "z"]),
        (pd.Series([True, None, False], dtype="boolean"), [True, None, False]),
        (pd.Series([1, None, 3], dtype="Int8"), [1, None, 3]),
        (pd.Series([1, 2, 3], dtype="uint64"), [1, 2, 3]),
        (pd.Series([0.1, None, 3], dtype="float32"), [np.float32(0.1), None, 3.0]),
        (pd.Series([None, None, None], dtype=object), [None, None, None]),
        (pd.Series([None, None, None], dtype=float), [None, None, None]),
        (pl.Series(["x", None, "z"], dtype=pl.Categorical), ["x", None, "z"]),
        (pl.Series(["x", None, "z"], dtype=pl.Enum(["x", "z"])), ["x", None, "z"]),
        (pl.Series([None, None, None]), [None, None, None]),
        (pl.Series(["0.1", None, "3"]).cast(pl.Decimal(10, 2)), [Decimal("0.10"), None, Decimal("3.00")]),
        (pl.Series([1, 2.5, None], dtype=pl.Object), [1, 2.5, None]),
        (pa.array(["x", None, "z"]).dictionary_encode(), ["x", None, "z"]),
        (pa.nulls(3), [None, None, None]),
        (pa.array([2**63, None, 3], pa.uint64()), [2**63, None, 3]),
    ],
    ids=lambda value: f"{type(value).__module__.split('.')[0]}-{getattr(value, 'dtype', getattr(value, 'type', ''))}",
)
def test_columns_of_every_type_equal_their_values(column, values):
    frame = {pd.Series: pd.DataFrame, pl.Series: pl.DataFrame}.get(type(column), pa.table)({"o": column})
    expected = by_rows([{"o": value} for value in values], [1, 0, 1])
    assert by_frame(frame, [1, 0, 1]).sha256 == expected.sha256


def test_an_empty_text_column_is_a_category_for_crosses():
    # pandas reads a column without any value as float64
    frame = pd.DataFrame({"t": [math.nan, math.nan], "b": [True, False]})
    assert frame["t"].dtype == float
    rows = [{"t": None, "b": True}, {"t": None, "b": False}]
    assert by_frame(frame, [1, 0]).sha256 == by_rows(rows, [1, 0]).sha256


@pytest.mark.parametrize(
    "labels",
    [
        [True, False, True],
        (1, 0, 1),
        np.array([1.0, 0.0, 1.0]),
        np.array([True, False, True]),
        pd.Series([1, 0, 1], index=[5, 6, 7]),
        pd.Series([True, False, True], dtype="boolean"),
        pl.Series([True, False, True]),
        pa.chunked_array([[True, False], [True]]),
        pa.chunked_array([[1, 0, 1]]),
    ],
    ids=lambda y: type(y).__module__.split(".")[0] + type(y).__name__,
)
def test_labels_and_weights_may_be_of_any_library(labels):
    expected = by_rows(ROWS, [1, 0, 1], weights=[1, 0, 1])
    assert by_frame(as_arrow(ROWS), labels, labels).sha256 == expected.sha256


def test_names_need_not_be_text():
    frame = pd.DataFrame({0: [1.0, 2.0], 1: ["x", "y"]})
    assert by_frame(frame, [1, 0]).sha256 == by_rows([{"0": 1.0, 1: "x"}, {0: 2.0, "1": "y"}], [1, 0]).sha256


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"when": pd.to_datetime(["2026-01-01", None])}), "column 'when' is a Datetime"),
        (pd.DataFrame({"when": pd.to_datetime([None, None])}), "column 'when' is a Datetime"),
        (pd.DataFrame({"when": [date(2026, 1, 1), None]}), "column 'when' holds a date"),
        (pl.DataFrame({"when": [datetime(2026, 1, 1), None]}), "column 'when' is a Datetime"),
        (pl.DataFrame({"when": [date(2026, 1, 1), None]}), "column 'when' is a Date"),
        (pa.table({"when": [date(2026, 1, 1), None]}), "column 'when' is a Date"),
        (pl.DataFrame({"when": [[1], None]}), "column 'when' is a List"),
        (pd.DataFrame({"when": [[1], None]}), "column 'when' holds a list"),
        (pd.DataFrame({"when": [b"x", None]}), "column 'when' holds a bytes"),
        (pd.DataFrame({"when": [1, "x"]}, dtype=object), "column 'when' is a category and holds the number 1"),
        (pd.DataFrame({"when": [True, 2]}, dtype=object), "column 'when' is a category and holds the number 2"),
        (pd.DataFrame({"when": pd.Categorical([1, 2])}), "column 'when' is a category and holds the number 1"),
    ],
)
def test_what_is_no_feature_is_refused_by_name_and_changes_nothing(frame, message):
    model = by_rows(ROWS, [1, 0, 1])
    before = model.sha256
    with pytest.raises(TypeError, match=message):
        model.learn_many(frame, [1, 0])
    with pytest.raises(TypeError, match=message):
        model.predict_proba_many(frame)
    assert model.sha256 == before


def test_a_tie_is_decided_alike_for_one_and_many():
    model = LogisticRegression(expert="ftrl", bits=10)
    model._state.weights[-1] = (-1e-20, 0.0)  # a logit above zero that leaves the probability at a half
    assert model.ask({}).logit > 0
    assert model.predict_proba_one({})[True] == 0.5
    assert list(model.predict_many(pd.DataFrame(index=range(2)))) == [model.predict_one({})] * 2
