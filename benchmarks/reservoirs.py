"""How much chance there is in ranks: the same streams with twenty other samples, labels at once."""

from __future__ import annotations

import statistics

import numpy as np
from rich.console import Console
from rich.table import Table
from river import datasets, metrics

from riverd import LogisticRegression

SEEDS = 20
GOALS = {datasets.Phishing: 0.232, datasets.Bananas: 0.595}


def logloss(rows: list[tuple[dict[str, float], bool]], *, seed: int) -> float:
    """Progressive log loss; seed 0 is what the names of the numbers give."""
    model, score = LogisticRegression(), metrics.LogLoss()
    model._admit(sorted(rows[0][0]))
    model._state.random[:] ^= (
        np.random.default_rng(seed).integers(1, 1 << 63, dtype=np.uint64) if seed else np.uint64(0)
    )
    for x, y in rows:
        score.update(y, model.predict_proba_one(x))
        model.learn_one(x, y)
    return float(score.get())


def main() -> None:
    table = Table("", "mean", "least", "most", "by the names", "goal")
    for dataset, goal in GOALS.items():
        rows = list(dataset())
        losses = [logloss(rows, seed=seed) for seed in range(SEEDS + 1)]
        figures = statistics.mean(losses[1:]), min(losses[1:]), max(losses[1:]), losses[0]
        table.add_row(dataset.__name__, *(f"{figure:.4f}" for figure in figures), f"{goal:.3f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
