"""The learners that are compared, each behind ``ask``, ``learn`` and ``drop``: riverd, river, Vowpal Wabbit, base rate.

Peers get what their users would give them: river standardised numbers and one-hot categories (or raw values, hashed),
Vowpal Wabbit raw numbers, which its default scales by itself, and ``name=value``. With "+ hats" they get what riverd's
encoder makes of an event: the very slots and values that riverd learns from, encoded once, when it is asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import base

from benchmarks.delays import Learner
from models.kernels.layout import EXPERTS
from riverd import LogisticRegression

Features = Callable[[Mapping[str, Any]], Mapping[Any, Any]]
VW_OPTIONS = "--loss_function logistic -b 18 --quiet"
BASE_RATE = "base rate"


@dataclass(frozen=True, slots=True)
class Asked:
    x: Any  # whatever learning needs
    probability: float


class Riverd(LogisticRegression):
    """riverd's model as it is, which also tells what each of its experts would have said, unbounded."""

    def expert_probabilities(self, prediction: Any) -> NDArray[np.float64]:
        return 1.0 / (1.0 + np.exp(-prediction.said[0, :EXPERTS].astype(float)))


class BaseRate:
    """(positives + 1/2) / (labels + 1), of the labels that have come."""

    def __init__(self) -> None:
        self.positives = self.labels = 0

    def ask(self, _: Mapping[str, Any]) -> Asked:
        return Asked(None, (self.positives + 0.5) / (self.labels + 1.0))

    def learn(self, _: Asked, y: bool) -> None:
        self.positives += y
        self.labels += 1

    def drop(self, prediction: Asked) -> None:
        pass


class River:
    """A river classifier as ``progressive_val_score`` runs it: asked by ``predict_proba_one``, taught by ``learn_one``.

    ``features``, if given, is called once per event, when it is asked; else the model sees the raw event both times.
    """

    def __init__(self, model: base.Classifier, *, features: Features | None = None) -> None:
        self.model = model
        self.features = features

    def ask(self, x: Mapping[str, Any]) -> Asked:
        if self.features is not None:
            x = self.features(x)
        return Asked(x, self.model.predict_proba_one(x)[True])

    def learn(self, prediction: Asked, y: bool) -> None:
        self.model.learn_one(prediction.x, y)

    def drop(self, prediction: Asked) -> None:
        pass


class VowpalWabbit:
    """Vowpal Wabbit through its Python interface, an example a line of text.

    The probability is made of its raw prediction in float64: what ``--link logistic`` gives is float32, and there
    everything beyond a logit of 17 is certain.
    """

    def __init__(self, options: str = "", *, features: Features | None = None) -> None:
        from vowpalwabbit import Workspace

        self.workspace = Workspace(f"{VW_OPTIONS} {options}")
        self.features = features

    def ask(self, x: Mapping[str, Any]) -> Asked:
        line = vw_line(self.features(x) if self.features is not None else x)
        return Asked(line, 1.0 / (1.0 + math.exp(-self.workspace.predict(line))))

    def learn(self, prediction: Asked, y: bool) -> None:
        self.workspace.learn(f"{1 if y else -1} {prediction.x}")

    def drop(self, prediction: Asked) -> None:
        pass


def vw_line(x: Mapping[Any, Any]) -> str:
    """``| name:number name=category``; a name that is an integer is a slot."""
    words = []
    for name, value in x.items():
        if isinstance(value, bool | str) or value is None:
            words.append(f"{name}={value}".replace(" ", "_").replace(":", "_").replace("|", "_"))
        else:
            words.append(f"{name}:{value!r}".replace(" ", "_"))
    return "| " + " ".join(words)


class Standardised(base.Transformer):
    """StandardScaler for numbers, ``name=value`` for text, booleans and nulls.

    That is ``(SelectType(Number) | StandardScaler()) + (SelectType(str) | OneHotEncoder())``, without a zero for each
    value that the event does not have: of 400 destinations river would multiply 399 zeros.
    """

    def __init__(self) -> None:
        from river.preprocessing import StandardScaler

        self.scaler = StandardScaler()

    def learn_one(self, x: Mapping[str, Any]) -> None:
        self.scaler.learn_one({name: value for name, value in x.items() if is_number(value)})

    def transform_one(self, x: Mapping[str, Any]) -> dict[str, float]:
        known = self.scaler.transform_one({name: value for name, value in x.items() if is_number(value)})
        return known | {f"{name}={value}": 1.0 for name, value in x.items() if not is_number(value)}


def is_number(value: Any) -> bool:
    return isinstance(value, Number) and not isinstance(value, bool)


class Encoded:
    """What riverd makes of an event: slots and values, hats and all, after the statistics of the events before it.

    The bias is left out, since the peers have their own.
    """

    def __init__(self) -> None:
        self.model = LogisticRegression()

    def __call__(self, x: Mapping[str, Any]) -> dict[int, float]:
        prediction = self.model.ask(x)
        features: dict[int, float] = {}
        for slot, value in zip(prediction.slots.tolist(), prediction.values.tolist(), strict=True):
            if slot != prediction.bias:
                features[slot] = features.get(slot, 0.0) + value
        return features


def river(optimizer: str | None = None, *args: float, hats: bool = False) -> Learner:
    """river's logistic regression with one of its optimizers; by default SGD of .01."""
    from river import linear_model, optim

    chosen = getattr(optim, optimizer)(*args) if optimizer else None
    model = linear_model.LogisticRegression(optimizer=chosen)
    return River(model, features=Encoded()) if hats else River(Standardised() | model)


def river_hashed() -> Learner:
    from river import linear_model, preprocessing

    # it would add None to a number
    hasher = preprocessing.FeatureHasher(n_features=1 << 18, seed=1) | linear_model.LogisticRegression()
    return River(hasher, features=lambda x: {name: "null" if v is None else v for name, v in x.items()})


RIVERD: dict[str, Callable[[], Learner]] = {
    "riverd": Riverd,
    "riverd learn_one": lambda: River(LogisticRegression()),  # as river's own evaluation runs it
    "riverd ftrl": lambda: LogisticRegression(expert="ftrl"),
}
PEERS: dict[str, Callable[[], Learner]] = {
    "river": river,
    "river SGD .005": lambda: river("SGD", 0.005),
    "river SGD .1": lambda: river("SGD", 0.1),
    "river Adam": lambda: river("Adam"),
    "river Adam .01": lambda: river("Adam", 0.01),
    "river AdaGrad": lambda: river("AdaGrad"),
    "river FTRL": lambda: river("FTRLProximal"),
    "river FeatureHasher": river_hashed,
    "VW": VowpalWabbit,
    "VW ftrl": lambda: VowpalWabbit("--ftrl"),
    "VW coin": lambda: VowpalWabbit("--coin"),
    "VW freegrad": lambda: VowpalWabbit("--freegrad"),
    "river + hats": lambda: river(hats=True),
    "river AdaGrad + hats": lambda: river("AdaGrad", hats=True),
    "VW + hats": lambda: VowpalWabbit(features=Encoded()),
    "VW coin + hats": lambda: VowpalWabbit("--coin", features=Encoded()),
}
MODELS: dict[str, Callable[[], Learner]] = {BASE_RATE: BaseRate, **RIVERD, **PEERS}


def is_installed(name: str) -> bool:
    return not name.startswith("VW") or find_spec("vowpalwabbit") is not None
