"""Logistic regression on hashed features, learned one event at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from river import base
from river.utils import dataframe

from models.direct import Direct
from models.explanation import contributions
from models.features import Columns, columns_of_dict, columns_of_frame
from models.kernels import walk
from models.kernels.sigmoid import sigmoid
from models.labels import as_importance, as_importances, as_label, as_labels
from models.learner import is_mixed, make_settings, new_state_of, said_of
from models.plan import Plan, make_plan
from models.prediction import Prediction
from models.recipes import Recipe, is_plain, shape_of
from models.row_hash import row_hashes
from models.serial import pack, unpack
from models.state import ASKED, DROPPED, OF_NUMBERS, sha256, with_numbers
from models.working_memory import WorkingMemory

ASK, ASK_AND_LEARN, SIGMOID = Direct(walk.ask), Direct(walk.ask_and_learn), Direct(sigmoid)

MAX_NUMBERS = 1 << 16  # number columns with statistics of their own


class LogisticRegression(base.MiniBatchClassifier):
    """Logistic regression that takes raw events and late labels, and needs no settings.

    Text and booleans are hashed as categories, numbers are standardised by the statistics of earlier
    events and get a curve of their own, and a missing value is a feature of its own. With labels that come
    late, ``ask`` when the event happens and ``learn`` what was asked when its label comes; where none will come,
    ``drop`` it. ``learn_one`` asks and learns at once.

    Parameters
    ----------
    expert
        "mixture" learns at several rates at once and mixes what they say: docs/learner.md. "ftrl" is one
        FTRL-Proximal, without curves.
    alpha
        "ftrl": learning rate of each coordinate before its gradients have shrunk it; 0.3 if None.
    beta
        "ftrl": steps that keep the first learning rate; 1 if None.
    l1
        "ftrl": weights whose evidence stays below it are exactly zero.
    l2
        Pull of every weight towards zero. Neither penalty touches the bias.
    bits
        There are 2^bits slots; two features that share one by chance are learned as one.
    crosses
        Pairs of categories whose combinations are features too.

    Examples
    --------
    >>> from river import datasets, evaluate, metrics
    >>> loss = evaluate.progressive_val_score(datasets.Phishing(), LogisticRegression(), metrics.LogLoss())
    >>> round(loss.get(), 4)
    0.2338

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
    0.2839
    """

    def __init__(
        self,
        *,
        expert: str = "mixture",
        alpha: float | None = None,
        beta: float | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        bits: int = 18,
        crosses: Sequence[tuple[str, str]] | None = None,
    ) -> None:
        self.expert = expert
        self.alpha = alpha
        self.beta = beta
        self.l1 = l1
        self.l2 = l2
        self.bits = bits
        self.crosses = crosses
        if not 1 <= bits <= 30:
            raise ValueError(f"bits must be between 1 and 30, not {bits}")
        self._settings = make_settings(expert, alpha=alpha, beta=beta, l1=l1, l2=l2)
        self._state = new_state_of(self._settings, bits=bits, numbers=())
        self._columns: dict[str, int] = {}
        self._memory = WorkingMemory()

    @classmethod
    def _unit_test_params(cls):  # noqa: ANN206 - river's own signature
        yield {"bits": 12}
        yield {"bits": 12, "expert": "ftrl"}

    def ask(self, x: Mapping[Any, Any]) -> Prediction:
        """Score the event as it is now and let it move the statistics of its numbers."""
        recipe = self._recipe(x)
        if recipe is not None:
            plan, cells, said, logits = recipe.plan, recipe.cells.copy(), recipe.said.copy(), recipe.logits
            count = self._ask(plan, recipe.columns, cells, said, logits, moving=True)
        else:
            columns = columns_of_dict(x, self._columns)
            self._admit(columns.number_names)
            plan = self._plan(columns)
            cells, said, logits = np.empty(plan.cells, np.uint32), self._new_said(1), np.empty(1)
            count = self._ask(plan, columns, cells, said, logits, moving=True)
        number = int(self._state.counters[ASKED])
        return Prediction(float(logits[0]), number, said, cells[:count], plan.entries, self._bias)

    def learn(self, prediction: Prediction, y: base.typing.ClfTarget, w: float = 1.0) -> None:
        """Learn the outcome of an event that was asked, with the features of that moment.

        Raises
        ------
        ValueError
            A label that is not 0 or 1, a weight outside 0 to 1e9, or a prediction of a model of another kind.
            Nothing is learned.
        """
        label, importance = as_label(y), as_importance(w)
        self._check_own(prediction)
        self._memory.make_room(1 + 3 * len(prediction.cells))
        walk.learn(
            prediction.entries,
            self._state,
            self._bias,
            self._settings,
            prediction.cells,
            prediction.said,
            prediction.logit,
            float(self._state.counters[ASKED] - prediction.number),
            label,
            importance,
            self._memory.slots,
            self._memory.scratch,
        )

    def drop(self, prediction: Prediction) -> None:
        """No label will come for this prediction: nothing is learned, and nobody waits for it any more."""
        self._check_own(prediction)
        self._state.counters[DROPPED] += 1

    def _check_own(self, prediction: Prediction) -> None:
        if prediction.bias != self._bias or prediction.said.shape[1] != said_of(self._settings):
            # a foreign slot would write beyond the weights
            raise ValueError(
                f"the prediction was made by a model with other bits or another expert than {self.bits} and "
                f"{self.expert!r}; learn it there"
            )

    def learn_one(self, x: Mapping[Any, Any], y: base.typing.ClfTarget, w: float = 1.0) -> None:
        """Ask and learn at once: the label is there with the event."""
        label, importance = as_label(y), as_importance(w)  # a bad one must not move the statistics either
        recipe = self._recipe(x)
        if recipe is None:
            self.learn(self.ask(x), bool(label), importance)
            return
        recipe.labels[0], recipe.importance[0] = label, importance
        self._ask_and_learn(recipe.plan, recipe.columns, recipe.labels, recipe.importance, recipe.cells, recipe.said)

    def predict_proba_one(self, x: Mapping[Any, Any], **kwargs: Any) -> dict[base.typing.ClfTarget, float]:  # noqa: ARG002
        recipe = self._recipe(x)
        if recipe is None:
            logit = self._score(columns_of_dict(x, self._columns))[0]
        else:
            self._ask(recipe.plan, recipe.columns, recipe.cells, recipe.said, recipe.logits, moving=False)
            logit = recipe.logits[0]
        p = SIGMOID.call(logit)
        return {False: 1.0 - p, True: p}

    def _recipe(self, x: Mapping[Any, Any]) -> Recipe | None:
        """Takes the event, if there is one for its like."""
        shape = shape_of(x)
        try:
            recipe = self._memory.recipes[shape]
        except KeyError:
            plain = is_plain(shape, self._columns)
            memory = self._memory
            said = said_of(self._settings)
            recipe = Recipe(shape, self._columns, self._plan, memory.hashes_of, said=said) if plain else None
            self._memory.recipes[shape] = recipe
        return recipe if recipe is not None and recipe.take(x) else None

    def learn_many(self, X: Any, y: Any, w: Any = None) -> None:  # noqa: N803 - river's name
        """Learn the rows of a pandas, polars or pyarrow frame in order, each as ``learn_one`` would."""
        columns = self._columns_of(nw.from_native(X, eager_only=True))
        labels = as_labels(y)
        importance = np.ones(len(labels)) if w is None else as_importances(w)
        if not len(labels) == len(columns.numbers) == len(importance):
            raise ValueError(f"{len(columns.numbers)} rows, {len(labels)} labels, {len(importance)} weights")
        self._admit(columns.number_names)
        plan = self._plan(columns)
        self._ask_and_learn(plan, columns, labels, importance, np.empty(plan.cells, np.uint32), self._new_said(1))

    def predict_proba_many(self, X: Any) -> Any:  # noqa: N803 - river's name
        """Probabilities of False and True, one row per row of the frame, with its index."""
        frame = nw.from_native(X, eager_only=True)
        p = self._probabilities(frame)
        return dataframe.to_native_frame({False: 1.0 - p, True: p}, like=frame)

    def predict_many(self, X: Any) -> Any:  # noqa: N803 - river's name
        """True where True is the likelier outcome, one value per row of the frame, with its index."""
        frame = nw.from_native(X, eager_only=True)
        return dataframe.to_native_series(self._probabilities(frame) > 0.5, name=None, like=frame)

    def explain(self, x: Mapping[Any, Any]) -> dict[str, float]:
        """By feature, what it adds to the logit of this event now, the largest first.

        Together they are the logit before its bound: with few labels, or with many that are still awaited, an answer
        is held back. "bias" holds the base rate. Nothing moves.

        >>> model = LogisticRegression()
        >>> for hour in range(200):
        ...     model.learn_one({"colour": "red" if hour % 3 else "blue", "hour": hour % 24}, hour % 3 == 0)
        >>> {name: round(value, 1) for name, value in model.explain({"colour": "blue", "hour": 12}).items()}
        {'colour': 4.7, 'hour': -0.1, 'bias': -0.1}
        """
        columns = columns_of_dict(x, self._columns)
        plan = self._plan(columns)
        cells, said, logits = np.empty(plan.cells, np.uint32), self._new_said(1), np.empty(1)
        self._ask(plan, columns, cells, said, logits, moving=False)
        return contributions(self._state, self._settings, plan, cells, self._bias)

    def row_hash(self, x: Mapping[Any, Any]) -> int:
        """The hash of an event's features, to be logged with its score: ``models/row_hash.py`` defines it.

        It hangs on the event, ``bits`` and ``crosses`` alone, and on which names have been numbers. Nothing moves.

        >>> model = LogisticRegression(crosses=[("carrier", "origin")])
        >>> hex(model.row_hash({"carrier": "UA", "origin": "EWR", "distance": 733, "delay": None}))
        '0xe4fc69e7e406304'
        """
        recipe = self._recipe(x)
        columns = columns_of_dict(x, self._columns) if recipe is None else recipe.columns
        of_columns = columns.categories, columns.numbers, columns.words
        return int(row_hashes(self._plan(columns), *of_columns, np.zeros(1, np.int64), self._bias)[0])

    def to_bytes(self) -> bytes:
        """All that the model was made with and all that it has learned; saving changes nothing."""
        names = sorted(self._columns, key=self._columns.__getitem__)
        return pack(self._get_params(), names, self._state)

    @classmethod
    def from_bytes(cls, blob: bytes) -> Self:
        """The model that ``to_bytes`` stored; it goes on as if it had never stopped.

        Raises
        ------
        ValueError
            These are other bytes, or damaged, or of a version that this one does not read.
        """
        parameters, columns, state = unpack(blob)
        if parameters["crosses"] is not None:
            parameters["crosses"] = [tuple(pair) for pair in parameters["crosses"]]
        model = cls(**parameters)
        model._state = state
        model._columns = {name: place for place, name in enumerate(columns)}
        return model

    @property
    def sha256(self) -> str:
        """Digest of all that was learned, whatever the order in which numbers became known."""
        by_name = [self._columns[name] for name in sorted(self._columns)]
        of_numbers = {name: getattr(self._state, name) for name in OF_NUMBERS}
        return sha256(
            self._state._replace(**{name: array[by_name] for name, array in of_numbers.items() if len(array)})
        )

    @property
    def _bias(self) -> int:
        return 1 << self.bits

    def _new_said(self, rows: int) -> NDArray[np.float32]:
        return np.zeros((rows, said_of(self._settings)), np.float32)

    def _admit(self, names: Sequence[str]) -> None:
        """Give new numbers statistics of their own, in the order of their names."""
        new = sorted(name for name in names if name not in self._columns)[: MAX_NUMBERS - len(self._columns)]
        if new:
            self._state = with_numbers(self._state, new, known=len(self._columns), ranks=is_mixed(self._settings))
            self._columns.update({name: len(self._columns) + i for i, name in enumerate(new)})
            self._memory.forget()

    def _plan(self, columns: Columns) -> Plan:
        names = columns.category_names, columns.number_names, columns.word_names
        plan = self._memory.plans.get(names)
        if plan is None:
            plan = make_plan(
                categories=columns.category_names,
                numbers=columns.number_names,
                words=columns.word_names,
                crosses=self.crosses or (),
                # a name without statistics of its own is encoded by its sign
                statistics={name: self._columns.get(name, MAX_NUMBERS) for name in columns.number_names},
            )
            self._memory.plans[names] = plan
            self._memory.make_room(plan.width)
        return plan

    def _columns_of(self, frame: nw.DataFrame[Any]) -> Columns:
        return columns_of_frame(frame, self._columns)

    def _probabilities(self, frame: nw.DataFrame[Any]) -> NDArray[np.float64]:
        return np.array([sigmoid(logit) for logit in self._score(self._columns_of(frame))], dtype=np.float64)

    def _score(self, columns: Columns) -> NDArray[np.float64]:
        plan = self._plan(columns)
        logits = np.empty(len(columns.numbers))
        self._ask(plan, columns, np.empty(plan.cells, np.uint32), self._new_said(len(logits)), logits, moving=False)
        return logits

    def _ask(
        self,
        plan: Plan,
        columns: Columns,
        cells: NDArray[np.uint32],
        said: NDArray[np.float32],
        logits: NDArray[np.float64],
        *,
        moving: bool,
    ) -> int:
        count = ASK.call(
            plan.entries,
            columns.categories,
            columns.numbers,
            columns.words,
            self._state,
            self._bias,
            self._settings,
            cells,
            said,
            logits,
            self._memory.slots,
            self._memory.scratch,
            moving,
        )
        return int(count)

    def _ask_and_learn(
        self,
        plan: Plan,
        columns: Columns,
        labels: NDArray[np.float64],
        importance: NDArray[np.float64],
        cells: NDArray[np.uint32],
        said: NDArray[np.float32],
    ) -> None:
        ASK_AND_LEARN.call(
            plan.entries,
            columns.categories,
            columns.numbers,
            columns.words,
            labels,
            importance,
            self._state,
            self._bias,
            self._settings,
            cells,
            said,
            self._memory.slots,
            self._memory.scratch,
        )
