"""A kernel compiled for a second combination of types would stop the stream for seconds, silently."""

import json
import os
import subprocess
import sys

# Each kernel is compiled afresh: what is inlined or called by another kernel doesn't show when it comes from the cache.
USE_EVERYTHING = """
import json, pickle
import numpy as np, pandas as pd, polars as pl
from models import external
from models.kernels import encoding, ftrl, mixture, published, raw_rows, sigmoid, walk
from models.learner import make_settings
from models.logistic_regression import LogisticRegression
from models.stream_model import StreamModel
from stream.records import DROP, LEARN, SCORE
from tests.models.test_stream_model import events_of, ops_of, rows_for, BASE, CATEGORIES, CROSSES, NUMBERS

kinds = {"mixture": {"l2": 1}, "ftrl": {"alpha": 1, "beta": 1, "l1": 0, "l2": 0}}
events = [{"a": "x", "b": True, "n": 1.5}, {}, {"n": 2}, {"a": None}, {"m": float("nan"), "n": np.float32(3)}]
for expert in kinds:
    model = LogisticRegression(expert=expert, bits=8, crosses=[("a", "b")], **kinds[expert])
    for x in events:
        model.predict_one(x)
        model.row_hash(x)
        model.learn_one(x, True)
        model.learn_one(x, np.int64(0), 2)
        asked = [pickle.loads(pickle.dumps(model.ask(x))) for _ in range(2)]
        asked[0].probability, asked[0].slots
        model.learn(asked[0], 1, np.float32(0.5))
        model.drop(asked[1])
    model = pickle.loads(pickle.dumps(model)).clone(include_attributes=True)
    short = np.array([1, 2, 3], "f4")
    frame = pd.DataFrame({"a": ["x", None, "z"], "b": [True, False, True], "n": [1, 2, 3], "m": short})
    for rows in (frame, frame.T.T, frame[["n"]], frame[["a"]], frame[::-1], frame[:1], frame[:0], pl.DataFrame(frame)):
        y = [True] * len(rows)
        for labels, weights in ((y, None), (pd.Series(y, dtype=bool), np.ones(len(rows), int)), (np.array(y, int), y)):
            model.learn_many(rows, labels, weights)
        model.predict_proba_many(rows)
        model.predict_many(rows)

    for numbers in (NUMBERS, NUMBERS[:1]):
        schema = dict(bits=8, categories=CATEGORIES, numbers=numbers, crosses=CROSSES)
        daemon = StreamModel(make_settings(expert, **kinds[expert]), **schema)
        columns = events_of([("x", "y", None, 1.0, 2.0, 3.0)] * 3)
        columns = columns._replace(numbers=np.ascontiguousarray(columns.numbers[:, : len(numbers)]))
        rows = rows_for(3, daemon)
        steps = [(SCORE, 0, 0, -1), (SCORE, 1, 1, -1), (LEARN, 0, -1, 1), (DROP, 1, -1, -1)]
        daemon.run(ops_of(steps), rows, BASE, columns)
        daemon.run(ops_of([]), rows, BASE, events_of([])._replace(numbers=columns.numbers[:0]))
        copy = StreamModel(make_settings(expert), **schema)
        copy.restore(daemon.small_state(), {0: daemon.block(0)})
        copy.run(ops_of([(SCORE | LEARN, 2, 2, 1)]), rows, BASE, columns)
        copy.logits_by(copy.publish(copy.whole_state()), columns, np.array([1, 0]))
        copy.row_hashes(columns, np.array([1, 0]))

compiled = {
    f"{module.__name__}.{name}": kernel
    for module in (encoding, external, ftrl, mixture, published, raw_rows, sigmoid, walk)
    for name, kernel in vars(module).items()
    if hasattr(kernel, "signatures")
}
print(json.dumps({name: [str(s) for s in kernel.signatures] for name, kernel in compiled.items()}))
"""


def test_every_kernel_has_one_signature_after_all_uses(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", USE_EVERYTHING], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    signatures = json.loads(done.stdout)
    used = [f"models.kernels.walk.{name}" for name in ("walk", "ask", "learn", "ask_and_learn", "slots_and_values")]
    used += ["models.kernels.published.published_logits", "models.kernels.raw_rows.raw_rows"]
    twice = {name: found for name, found in signatures.items() if len(found) > 1}
    assert twice == {}
    assert all(signatures[name] for name in used)
