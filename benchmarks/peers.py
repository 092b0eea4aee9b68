"""The peers' side of the benchmark, each in a process of its own: ``peers.py vw|river[-quality] FILE ROWS``."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np

VW_OPTIONS = "--loss_function logistic --link logistic -b 18 --quiet"


def vw(path: str) -> None:
    """Vowpal Wabbit's own driver and JSON reader: constructing the workspace works the file off."""
    from vowpalwabbit import Workspace

    Workspace(f"--json -d {path} {VW_OPTIONS}").finish()


def vw_quality(path: str) -> tuple[float, float]:
    from vowpalwabbit import Workspace

    with tempfile.NamedTemporaryFile() as predictions:
        Workspace(f"--json -d {path} {VW_OPTIONS} -p {predictions.name}").finish()
        return judged(np.loadtxt(predictions.name, usecols=0), labels(path))


def river(path: str, rows: int) -> Iterator[tuple[float, bool]]:
    """Predict, then learn, row by row."""
    from river import linear_model, preprocessing

    hasher, model = preprocessing.FeatureHasher(n_features=1 << 18, seed=1), linear_model.LogisticRegression()
    decode = msgspec.json.Decoder().decode
    with Path(path).open("rb") as lines:
        for row in map(decode, islice(lines, rows)):
            x = hasher.transform_one({name: value for name, value in row.items() if name[0] != "_"})
            yield model.predict_proba_one(x)[True], row["_late"]
            model.learn_one(x, row["_late"])


def labels(path: str) -> np.ndarray:
    with Path(path).open("rb") as lines:
        return np.array([b'"_late":true' in line for line in lines])


def judged(p: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    from sklearn.metrics import log_loss, roc_auc_score

    return float(log_loss(y, np.clip(p, 1e-15, 1 - 1e-15))), float(roc_auc_score(y, p))


def main() -> None:
    name, path, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if name == "vw":
        vw(path)
    elif name == "vw-quality":
        print(json.dumps(vw_quality(path)))
    elif name == "river":
        for _ in river(path, rows):
            pass
    else:
        p, y = zip(*river(path, rows), strict=True)
        print(json.dumps(judged(np.array(p), np.array(y))))


if __name__ == "__main__":
    main()
