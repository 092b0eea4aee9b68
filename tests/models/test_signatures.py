"""A kernel compiled for a second combination of types would stop the stream for seconds, silently."""

import json
import os
import subprocess
import sys

# Each kernel is compiled afresh: what is inlined or called by another kernel doesn't show when it comes from the cache.
USE_EVERYTHING = """
import json, pickle
import numpy as np, pandas as pd, polars as pl
from models import kernels
from models.kernels import Settings
from models.logistic_regression import LogisticRegression
from models.stream_model import StreamModel
from stream.records import DROP, LEARN, SCORE
from tests.models.test_stream_model import events_of, ops_of, rows_for, BASE, CATEGORIES, CROSSES, NUMBERS

model = LogisticRegression(bits=8, alpha=1, beta=1, l1=0, l2=0, crosses=[("a", "b")])
events = [{"a": "x", "b": True, "n": 1.5}, {}, {"n": 2}, {"a": None}, {"m": float("nan"), "n": np.float32(3)}]
for x in events:
    model.predict_one(x)
    model.learn_one(x, True)
    model.learn_one(x, np.int64(0), 2)
    asked = [pickle.loads(pickle.dumps(model.ask(x))) for _ in range(2)]
    asked[0].probability
    model.learn(asked[0], 1, np.float32(0.5))
    model.drop(asked[1])
model = pickle.loads(pickle.dumps(model)).clone(include_attributes=True)
frame = pd.DataFrame({"a": ["x", None, "z"], "b": [True, False, True], "n": [1, 2, 3], "m": np.array([1, 2, 3], "f4")})
for rows in (frame, frame.T.T, frame[["n"]], frame[["a"]], frame[::-1], frame[:1], frame[:0], pl.DataFrame(frame)):
    y = [True] * len(rows)
    for labels, weights in ((y, None), (pd.Series(y, dtype=bool), np.ones(len(rows), int)), (np.array(y, int), y)):
        model.learn_many(rows, labels, weights)
    model.predict_proba_many(rows)
    model.predict_many(rows)

for numbers in (NUMBERS, NUMBERS[:1]):
    daemon = StreamModel(Settings(1, 1, 0, 0), bits=8, categories=CATEGORIES, numbers=numbers, crosses=CROSSES)
    columns = events_of([("x", "y", None, 1.0, 2.0, 3.0)] * 3)
    columns = columns._replace(numbers=np.ascontiguousarray(columns.numbers[:, : len(numbers)]))
    rows = rows_for(3, daemon.width)
    steps = [(SCORE, 0, 0, -1), (SCORE, 1, 1, -1), (LEARN, 0, -1, 1), (DROP, 1, -1, -1)]
    daemon.run(ops_of(steps), rows, BASE, columns)
    daemon.run(ops_of([]), rows, BASE, events_of([])._replace(numbers=columns.numbers[:0]))
    copy = StreamModel(Settings(0.1, 1.0, 0.0, 0.0), bits=8, categories=CATEGORIES, numbers=numbers, crosses=CROSSES)
    copy.restore(daemon.small_state(), {0: daemon.block(0)})
    copy.run(ops_of([(SCORE | LEARN, 2, 2, 1)]), rows, BASE, columns)

compiled = {name: kernel for name, kernel in vars(kernels).items() if hasattr(kernel, "signatures")}
print(json.dumps({name: [str(s) for s in kernel.signatures] for name, kernel in compiled.items()}))
"""


def test_every_kernel_has_one_signature_after_all_uses(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", USE_EVERYTHING], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    signatures = json.loads(done.stdout)
    assert {"walk", "ask", "learn", "ask_and_learn_many", "score_many", "sigmoid"} <= set(signatures)
    twice = {name: found for name, found in signatures.items() if len(found) > 1}
    assert twice == {}
    assert all(signatures[name] for name in ("walk", "ask_and_learn_many", "score_many"))
