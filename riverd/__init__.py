"""A logistic model that keeps learning from a stream with late labels, and knows how good it is now.

>>> from riverd import LogisticRegression
>>> model = LogisticRegression()
>>> prediction = model.ask({"carrier": "UA", "distance": 2475})
>>> prediction.probability
0.5
>>> model.learn(prediction, True)
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.logistic_regression import LogisticRegression, Prediction

__version__ = "0.1.0"
__all__ = ["LogisticRegression", "Prediction", "__version__"]

_HOME = Path(__file__).resolve().parent.parent


def _refuse_shadows() -> None:
    for name in ("stream", "models", "monitors", "storage"):
        spec = importlib.util.find_spec(name)
        found = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
        if found != _HOME / name / "__init__.py":
            raise ImportError(
                f"riverd's package {name!r} is hidden by {found or 'nothing of that name'}.\n"
                f"  riverd is an application: install it into an environment of its own, and run it outside folders "
                f"that hold a {name!r} of their own."
            )


_refuse_shadows()


def __getattr__(name: str) -> Any:
    # imported on demand: river and numba take a second that `riverd --help` need not wait for
    if name in ("LogisticRegression", "Prediction"):
        from models import logistic_regression

        return getattr(logistic_regression, name)
    raise AttributeError(f"module 'riverd' has no attribute {name!r}")
