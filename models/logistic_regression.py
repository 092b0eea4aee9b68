"""Logistic regression on hashed features, learned one event at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from river import base
from river.utils import dataframe

from models import kernels
from models.features import Columns, columns_of_dict, columns_of_frame
from models.plan import Plan, make_plan
from models.state import DROPPED, new_state, sha256

MAX_NUMBERS = 1 << 16  # number columns with statistics of their own
MAX_IMPORTANCE = 1e9  # more says nothing


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was said of an event, and on what grounds: ``learn`` needs exactly this."""

    logit: float
    slots: NDArray[np.uint32]
    values: NDArray[np.float32]

    @property
    def probability(self) -> float:
        return float(kernels.sigmoid(self.logit))


class LogisticRegression(base.MiniBatchClassifier):
    """Logistic regression with FTRL-Proximal that takes raw events and late labels.

    Text and booleans are hashed as categories, numbers are standardised by the statistics of earlier
    events, and a missing value is a feature of its own. With labels that come late, ``ask`` when the event
    happens and ``learn`` what was asked when its label comes; ``learn_one`` does both at once.

    Parameters
    ----------
    alpha
        Learning rate of each coordinate before its gradients have shrunk it.
    beta
        Steps that keep the first learning rate.
    l1
        Weights whose evidence stays below it are exactly zero.
    l2
        Pull of every weight towards zero. Neither penalty touches the bias.
    bits
        There are 2^bits weights; two features that share one by chance are learned as one.
    crosses
        Pairs of categories whose combinations are features too.

    Examples
    --------
    >>> from river import datasets, evaluate, metrics
    >>> loss = evaluate.progressive_val_score(datasets.Phishing(), LogisticRegression(), metrics.LogLoss())
    >>> round(loss.get(), 4)
    0.261

    Labels that come 100 events late are learned as they were asked:

    >>> from river import stream
    >>> model, loss, asked = LogisticRegression(), metrics.LogLoss(), {}
    >>> for i, x, y in stream.simulate_qa(datasets.Phishing(), moment=None, delay=100):
    ...     if y is None:
    ...         asked[i] = model.ask(x)
    ...     else:
    ...         prediction = asked.pop(i)
    ...         loss.update(y, prediction.probability)
    ...         model.learn(prediction, y)
    >>> round(loss.get(), 4)
    0.3015

    References
    ----------
    McMahan et al., "Ad click prediction: a view from the trenches", KDD 2013, algorithm 1.
    """

    def __init__(
        self,
        *,
        alpha: float = 0.3,
        beta: float = 1.0,
        l1: float = 0.0,
        l2: float = 0.0,
        bits: int = 18,
        crosses: Sequence[tuple[str, str]] | None = None,
    ) -> None:
        if not 0 < alpha < math.inf:
            raise ValueError(f"alpha must be positive and finite, not {alpha}")
        if not all(0 <= constant < math.inf for constant in (beta, l1, l2)):
            raise ValueError(f"beta, l1 and l2 must be finite and not negative: {beta}, {l1}, {l2}")
        if not 1 <= bits <= 30:
            raise ValueError(f"bits must be between 1 and 30, not {bits}")
        self.alpha = alpha
        self.beta = beta
        self.l1 = l1
        self.l2 = l2
        self.bits = bits
        self.crosses = crosses
        self._state = new_state(bits=bits, numbers=0)
        self._columns: dict[str, int] = {}

    @classmethod
    def _unit_test_params(cls):  # noqa: ANN206 - river's own signature
        yield {"bits": 12}

    def ask(self, x: Mapping[Any, Any]) -> Prediction:
        """Score the event as it is now and let it move the statistics of its numbers."""
        columns = columns_of_dict(x, self._columns)
        self._admit(columns.number_names)
        plan = self._plan(columns)
        slots, values = np.empty(plan.width, np.uint32), np.empty(plan.width, np.float32)
        size, logit = kernels.ask(
            plan.entries,
            columns.categories,
            columns.numbers,
            columns.words,
            0,
            self._state,
            self._bias,
            self._settings,
            slots,
            values,
            0,
            kernels.new_scratch(plan.width),
        )
        return Prediction(logit, slots[:size], values[:size])

    def learn(self, prediction: Prediction, y: base.typing.ClfTarget, w: float = 1.0) -> None:
        """Learn the outcome of an event that was asked, with the features of that moment.

        Raises
        ------
        ValueError
            A label that is not 0 or 1, a weight outside 0 to 1e9, or a prediction of a model with other bits.
            Nothing is learned.
        """
        label, importance = _as_label(y), _as_importance(w)
        size = len(prediction.slots)
        if prediction.slots[0] != self._bias:  # a foreign slot would write beyond the weights
            raise ValueError(f"the prediction was made by a model with other bits than {self.bits}; learn it there")
        kernels.learn(
            self._state.weights,
            self._state.dirty,
            self._state.counters,
            self._settings,
            prediction.slots,
            prediction.values,
            0,
            size,
            label,
            importance,
            kernels.new_scratch(size),
        )

    def drop(self, prediction: Prediction) -> None:  # noqa: ARG002 - the mixture will need it
        """No label will come for this prediction."""
        self._state.counters[DROPPED] += 1

    def learn_one(self, x: Mapping[Any, Any], y: base.typing.ClfTarget, w: float = 1.0) -> None:
        """Ask and learn at once: the label is there with the event."""
        _as_label(y), _as_importance(w)  # a bad label must not move the statistics either
        self.learn(self.ask(x), y, w)

    def predict_proba_one(self, x: Mapping[Any, Any], **kwargs: Any) -> dict[base.typing.ClfTarget, float]:  # noqa: ARG002
        p = float(kernels.sigmoid(self._score(columns_of_dict(x, self._columns))[0]))
        return {False: 1.0 - p, True: p}

    def learn_many(self, X: Any, y: Any, w: Any = None) -> None:  # noqa: N803 - river's name
        """Learn the rows of a pandas, polars or pyarrow frame in order, each as ``learn_one`` would."""
        columns = self._columns_of(nw.from_native(X, eager_only=True))
        labels = np.array([_as_label(label) for label in _as_sequence(y)])
        importance = (
            np.ones(len(labels)) if w is None else np.array([_as_importance(weight) for weight in _as_sequence(w)])
        )
        if not len(labels) == len(columns.numbers) == len(importance):
            raise ValueError(f"{len(columns.numbers)} rows, {len(labels)} labels, {len(importance)} weights")
        self._admit(columns.number_names)
        plan = self._plan(columns)
        kernels.ask_and_learn_many(
            plan.entries,
            columns.categories,
            columns.numbers,
            columns.words,
            labels,
            importance,
            self._state,
            self._bias,
            self._settings,
            np.empty(plan.width, np.uint32),
            np.empty(plan.width, np.float32),
            kernels.new_scratch(plan.width),
        )

    def predict_proba_many(self, X: Any) -> Any:  # noqa: N803 - river's name
        """Probabilities of False and True, one row per row of the frame, with its index."""
        frame = nw.from_native(X, eager_only=True)
        p = self._probabilities(frame)
        return dataframe.to_native_frame({False: 1.0 - p, True: p}, like=frame)

    def predict_many(self, X: Any) -> Any:  # noqa: N803 - river's name
        """True where True is the likelier outcome, one value per row of the frame, with its index."""
        frame = nw.from_native(X, eager_only=True)
        return dataframe.to_native_series(self._probabilities(frame) > 0.5, name=None, like=frame)

    @property
    def sha256(self) -> str:
        """Digest of all that was learned, whatever the order in which numbers became known."""
        by_name = [self._columns[name] for name in sorted(self._columns)]
        return sha256(self._state._replace(statistics=self._state.statistics[by_name]))

    @property
    def _bias(self) -> int:
        return 1 << self.bits

    @property
    def _settings(self) -> kernels.Settings:
        return kernels.Settings(float(self.alpha), float(self.beta), float(self.l1), float(self.l2))

    def _admit(self, names: Sequence[str]) -> None:
        """Give new numbers statistics of their own, in the order of their names."""
        new = sorted(name for name in names if name not in self._columns)[: MAX_NUMBERS - len(self._columns)]
        if new:
            self._columns.update({name: len(self._columns) + i for i, name in enumerate(new)})
            grown = np.vstack([self._state.statistics, np.zeros((len(new), 4))])
            self._state = self._state._replace(statistics=grown)

    def _plan(self, columns: Columns) -> Plan:
        return make_plan(
            categories=columns.category_names,
            numbers=columns.number_names,
            words=columns.word_names,
            crosses=self.crosses or (),
            # a name without statistics of its own is encoded by its sign
            statistics={name: self._columns.get(name, MAX_NUMBERS) for name in columns.number_names},
        )

    def _columns_of(self, frame: nw.DataFrame[Any]) -> Columns:
        return columns_of_frame(frame, self._columns)

    def _probabilities(self, frame: nw.DataFrame[Any]) -> NDArray[np.float64]:
        logits = self._score(self._columns_of(frame))
        return np.array([kernels.sigmoid(logit) for logit in logits], dtype=np.float64)

    def _score(self, columns: Columns) -> NDArray[np.float64]:
        plan = self._plan(columns)
        logits = np.empty(len(columns.numbers))
        kernels.score_many(
            plan.entries,
            columns.categories,
            columns.numbers,
            columns.words,
            self._state,
            self._bias,
            self._settings,
            np.empty(plan.width, np.uint32),
            np.empty(plan.width, np.float32),
            kernels.new_scratch(plan.width),
            logits,
        )
        return logits


def _as_sequence(values: Any) -> Any:
    """A pandas, polars or pyarrow series as a list; anything else as it is."""
    series = nw.from_native(values, series_only=True, pass_through=True)
    return series.to_list() if isinstance(series, nw.Series) else series


def _as_label(y: Any) -> float:
    try:
        if y == 1:
            return 1.0
        if y == 0:
            return 0.0
    except (TypeError, ValueError):  # pandas' NA, or a whole array
        pass
    raise ValueError(f"a label is True or False, 1 or 0, not {y!r}")


def _as_importance(w: Any) -> float:
    try:
        if 0.0 <= w <= MAX_IMPORTANCE:
            return float(w)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"a weight is a number from 0 to {MAX_IMPORTANCE:g}, not {w!r}")
