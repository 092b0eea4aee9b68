"""Streams that no default was chosen by: for the last table only. Whoever tunes does not look at these."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from river import datasets
from river.datasets import synth

from benchmarks.learner_streams import Event, drawn, labelled, rows_of


def shuttle() -> Iterator[Event]:
    """49,097 sensor readings of a space shuttle, 7 % of them anomalies: integers."""
    yield from labelled(datasets.Shuttle())


def solar_flare() -> Iterator[Event]:
    """1,066 active regions, mostly by categories. Made binary: any flare of class C, M or X within a day."""
    for x, flares in datasets.SolarFlare():
        yield dict(x), any(flares.values())


def mixed_concepts() -> Iterator[Event]:
    """Two booleans and two numbers; around event 10,000 all labels turn into their opposite."""
    before, after = (synth.Mixed(classification_function=rule, seed=101 + rule) for rule in range(2))
    stream = synth.ConceptDriftStream(before, after, position=10_000, width=2_000, seed=103)
    yield from labelled(islice(stream, 20_000))


def stagger() -> Iterator[Event]:
    """Three categories, as words; each 7,000 events another rule holds, one of them not linear."""
    for rule in range(3):
        for x, y in islice(synth.STAGGER(classification_function=rule, seed=110 + rule), 7_000):
            yield {name: f"{name}-{value}" for name, value in x.items()}, bool(y)


def sine() -> Iterator[Event]:
    """Two numbers and a curve between the classes, which each 5,000 events is another one; two more are noise."""
    for rule in range(4):
        curve = synth.Sine(classification_function=rule, has_noise=True, seed=120 + rule)
        yield from labelled(islice(curve, 5_000))


def waveform() -> Iterator[Event]:
    """40 numbers, 19 of them noise. Made binary: the third wave against the others."""
    for x, wave in islice(synth.Waveform(seed=130, has_noise=True), 20_000):
        yield from labelled([(x, wave == 2)])


def logical() -> Iterator[Event]:
    """A XOR B, of which a linear model sees nothing: the base rate is all there is to learn."""
    for x, y in synth.Logical(n_tiles=2_500, shuffle=True, seed=140):
        yield from labelled([(x, y["XOR"])])


def random_tree() -> Iterator[Event]:
    """A decision tree of depth 8 over numbers and categories of five values."""
    tree = synth.RandomTree(seed_tree=150, seed_sample=151, max_tree_depth=8)
    for x, y in islice(tree, 20_000):
        yield {name: value if name.startswith("x_num") else f"{value}" for name, value in x.items()}, bool(y)


def classification() -> Iterator[Event]:
    """scikit-learn's make_classification: 20 numbers, 8 of them informative, 15 % positive, 2 % wrong."""
    from sklearn.datasets import make_classification

    x, y = make_classification(20_000, 20, n_informative=8, weights=[0.85], flip_y=0.02, random_state=160)
    yield from rows_of(x, y == 1)


def imbalanced() -> Iterator[Event]:
    """1 to 10 % positive; each 10,000 events base rate and weights jump; ids have a long tail; some nulls."""
    rng = np.random.default_rng(170)
    for _ in range(4):
        x, seller = rng.normal(size=(10_000, 5)), np.minimum(rng.zipf(1.4, 10_000), 500)
        logit = -4.5 + rng.normal(scale=0.5) + x @ rng.normal(scale=0.6, size=5)
        logit += rng.normal(scale=0.8, size=501)[seller]
        missing = rng.random(10_000) < 0.1
        for i, (row, label) in enumerate(rows_of(x, drawn(rng, logit))):
            yield row | {"seller": f"s{seller[i]}"} | ({"x0": None} if missing[i] else {}), label


_MAKERS = (
    shuttle, solar_flare, mixed_concepts, stagger, sine, waveform, logical, random_tree, classification, imbalanced,
)  # fmt: skip
HELD_OUT = {make.__name__: make for make in _MAKERS}
