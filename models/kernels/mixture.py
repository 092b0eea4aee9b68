"""Compiled: the learner that needs no settings. Seven experts, three mixers over them, and one over these.

Every part is a linear model in the same slots, so the answer is one too. Experts learn with the weights of the time at
which the label comes; the mixers judge them by what they said when they were asked, which withstands late labels.
docs/learner.md tells the method and where each part comes from.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from models.kernels.layout import BLOCK_SHIFT, BOUND, ERROR, EXPERTS, L2, LANES, MIXERS, NOW, SHARE, SQUARED, STEP, THEN
from models.kernels.sigmoid import sigmoid
from models.state import ASKED, DROPPED, LEARNED

# Experts, in order: AdaGrad of three rates and SGD on all slots; AdaGrad and SGD without hats; the base rate.
RATE_0, RATE_1, RATE_2, RATE_SGD, RATE_PLAIN, RATE_PLAIN_SGD = 0.2, 0.8, 3.2, 0.08, 0.05, 0.02
BETA = 0.3  # of AdaGrad: what its rate is divided by, besides the root of squared gradients
MOST_STEP = 4.0  # of SGD: rate times weight times squared norm, at most; beyond it a step overshoots
BASE_RATE = EXPERTS - 1

# Columns of the weights: of the four AdaGrads the weights, then their squared gradients; then the weights of both SGDs.
ADAGRADS = 4
RATES = np.array([RATE_0, RATE_1, RATE_2, RATE_PLAIN], np.float32)
ADAGRAD_EXPERTS = np.array([0, 1, 2, 4])
SGD, PLAIN_SGD = 2 * ADAGRADS, 2 * ADAGRADS + 1
PARAMETERS = 10

PRIOR = np.array([1.0, 1.0, 0.3, 1.0, 2.0, 1.0, 1.0]) / 7.3  # of the experts
TOP_PRIOR = np.array([0.5, 0.25, 0.25])  # of the mixers
TOP_TRUST = 0.7  # the prior keeps the rest
LOGIT_LIMIT = 13.8  # beyond it one mistake would outweigh all else
REGRET_START = 0.001  # of the squared regrets
NEWTON_START = 0.05  # of the inverse curvature
LEAST_CURVATURE = 0.01
DELAY_SCALE = 50.0  # events

# Places of `mixing`.
REGRET_A, SQUARED_A, REGRET_B, SQUARED_B, NEWTON = (EXPERTS * i for i in range(5))
INVERSE = NEWTON + EXPERTS
REGRET_TOP = INVERSE + EXPERTS * EXPERTS
SQUARED_TOP = REGRET_TOP + MIXERS
POSITIVES = SQUARED_TOP + MIXERS
NEGATIVES = POSITIVES + 1


def new_mixing() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """What the mixture keeps besides the weights, before anything was learned."""
    mixing = np.zeros(NEGATIVES + 1)
    for squared, size in ((SQUARED_A, EXPERTS), (SQUARED_B, EXPERTS), (SQUARED_TOP, MIXERS)):
        mixing[squared : squared + size] = REGRET_START
    mixing[NEWTON:INVERSE] = 1.0 / EXPERTS
    mixing[INVERSE:REGRET_TOP] = NEWTON_START * np.eye(EXPERTS).ravel()
    return mixing


@njit(cache=True, error_model="numpy", inline="always")
def clip(x, limit):
    return min(max(x, -limit), limit)


@njit(cache=True, error_model="numpy", inline="always")
def expert_logits(weights, mixing, slot, value, plain, size, scratch):
    """Logits of the experts by today's weights, into the scratch's row ``NOW``; from ``plain`` on slots are hats."""
    s0 = s1 = s2 = s3 = s4 = s5 = 0.0
    for i in range(plain):
        s, v = slot[i], value[i]
        s0 += weights[s, 0] * v
        s1 += weights[s, 1] * v
        s2 += weights[s, 2] * v
        s3 += weights[s, SGD] * v
        s4 += weights[s, 3] * v
        s5 += weights[s, PLAIN_SGD] * v
    for i in range(plain, size):
        s, v = slot[i], value[i]
        s0 += weights[s, 0] * v
        s1 += weights[s, 1] * v
        s2 += weights[s, 2] * v
        s3 += weights[s, SGD] * v
    scratch[NOW, 0], scratch[NOW, 1], scratch[NOW, 2] = s0, s1, s2
    scratch[NOW, 3], scratch[NOW, 4], scratch[NOW, 5] = s3, s4, s5
    scratch[NOW, BASE_RATE] = math.log((mixing[POSITIVES] + 0.5) / (mixing[NEGATIVES] + 0.5))


@njit(cache=True, error_model="numpy", inline="always")
def share(mixing, regret, squared, prior, scratch):
    """The shares of ML-Poly (Gaillard, Stoltz and van Erven 2014) into the scratch's row ``SHARE``; they sum to 1."""
    total = 0.0
    for k in range(len(prior)):
        a = prior[k] * max(mixing[regret + k], 0.0) / mixing[squared + k]
        scratch[SHARE, k] = a
        total += a
    scale = 1.0 / total if total > 0.0 else 0.0
    for k in range(len(prior)):
        scratch[SHARE, k] = scratch[SHARE, k] * scale if total > 0.0 else prior[k]


@njit(cache=True, error_model="numpy", inline="always")
def regret(mixing, regrets, squared, k, gained):
    """Add what it would have gained to follow expert ``k`` instead, by the linearised loss."""
    mixing[regrets + k] += gained
    mixing[squared + k] += gained * gained


@njit(cache=True, error_model="numpy", inline="always")
def mixture_ask(weights, mixing, counters, slot, value, plain, size, scratch, said, r):
    """The answer's logit; what led to it goes into ``said[r]``, by which the mixers are judged later."""
    expert_logits(weights, mixing, slot, value, plain, size, scratch)
    a = b = c = 0.0
    share(mixing, REGRET_A, SQUARED_A, PRIOR, scratch)
    for k in range(EXPERTS):
        a += scratch[SHARE, k] * scratch[NOW, k]
    share(mixing, REGRET_B, SQUARED_B, PRIOR, scratch)
    for k in range(EXPERTS):
        b += scratch[SHARE, k] * scratch[NOW, k]
        c += mixing[NEWTON + k] * scratch[NOW, k]
        said[r, k] = scratch[NOW, k]
    said[r, EXPERTS], said[r, EXPERTS + 1], said[r, EXPERTS + 2] = a, b, c
    bound = answer_bound(counters)
    said[r, BOUND] = bound
    return clip(unbounded(mixing, a, b, c, scratch), bound)


@njit(cache=True, error_model="numpy", inline="always")
def answer_bound(counters):
    """How far from 0 an answer's logit may lie: with few labels, or many that are awaited, it is held back."""
    labels = float(counters[LEARNED])
    pending = max(float(counters[ASKED]) - labels - float(counters[DROPPED]), 0.0)
    return math.log(1.0 + 4.0 * (labels + 1.0) / (1.0 + pending / DELAY_SCALE))


@njit(cache=True, error_model="numpy", inline="always")
def unbounded(mixing, a, b, c, scratch):
    """The mixers' logits mixed."""
    share(mixing, REGRET_TOP, SQUARED_TOP, TOP_PRIOR, scratch)
    trust_a = TOP_TRUST * scratch[SHARE, 0] + (1.0 - TOP_TRUST) * TOP_PRIOR[0]
    trust_b = TOP_TRUST * scratch[SHARE, 1] + (1.0 - TOP_TRUST) * TOP_PRIOR[1]
    trust_c = TOP_TRUST * scratch[SHARE, 2] + (1.0 - TOP_TRUST) * TOP_PRIOR[2]
    return trust_a * a + trust_b * b + trust_c * c


@njit(cache=True, error_model="numpy", inline="always")
def mixture_learn(
    weights, dirty, mixing, settings, slot, value, plain, size, said, r, served, later, label, importance, scratch
):
    """Learn what ``said[r]`` was asked about, of which ``served`` was the answer, ``later`` events ago.

    The scratch's row ``NOW`` has the experts' logits of now. What ``said`` does not know (NaN: another model was
    asked) moves no mixture, except by what the experts say now.
    """
    asked = not np.isnan(said[r, BOUND])  # else another model was: its answer says nothing of these experts
    if asked:
        error = importance * (sigmoid(served) - label)
        for m in range(MIXERS):
            regret(mixing, REGRET_TOP, SQUARED_TOP, m, error * (served - clip(said[r, EXPERTS + m], LOGIT_LIMIT)))

        mixed = clip(np.float64(said[r, EXPERTS]), LOGIT_LIMIT)
        error = importance * (sigmoid(mixed) - label)
        for k in range(EXPERTS):
            regret(mixing, REGRET_A, SQUARED_A, k, error * (mixed - clip(np.float64(said[r, k]), LOGIT_LIMIT)))

    share(mixing, REGRET_B, SQUARED_B, PRIOR, scratch)
    mixed = 0.0
    for k in range(EXPERTS):
        mixed += scratch[SHARE, k] * clip(scratch[NOW, k], LOGIT_LIMIT)
    error = importance * (sigmoid(mixed) - label)
    for k in range(EXPERTS):
        regret(mixing, REGRET_B, SQUARED_B, k, error * (mixed - clip(scratch[NOW, k], LOGIT_LIMIT)))

    if asked:
        newton_step(mixing, said, r, later, label, importance, scratch)
    expert_steps(weights, dirty, settings, slot, value, plain, size, label, importance, scratch)
    mixing[POSITIVES] += importance * label
    mixing[NEGATIVES] += importance * (1.0 - label)


@njit(cache=True, error_model="numpy", inline="always")
def newton_step(mixing, said, r, later, label, importance, scratch):
    """One online Newton step of the free weights, by what the experts said then; the later a label, the shorter."""
    bound = np.float64(said[r, BOUND])
    logit = 0.0
    for k in range(EXPERTS):
        q = clip(np.float64(said[r, k]), bound)
        scratch[THEN, k] = q
        logit += mixing[NEWTON + k] * q
    p = sigmoid(logit)
    step = importance / (1.0 + later / DELAY_SCALE)
    curvature = step * max(p * (1.0 - p), LEAST_CURVATURE)
    along = 0.0
    for k in range(EXPERTS):
        turned = 0.0
        for j in range(EXPERTS):
            turned += mixing[INVERSE + EXPERTS * k + j] * scratch[THEN, j]
        scratch[SHARE, k] = turned
        along += turned * scratch[THEN, k]
    divisor = 1.0 + curvature * max(along, 0.0)  # never below 1, whatever was rounded
    shrink, along = curvature / divisor, step * (p - label) / divisor
    for k in range(EXPERTS):
        turned = shrink * scratch[SHARE, k]
        for j in range(EXPERTS):
            mixing[INVERSE + EXPERTS * k + j] -= turned * scratch[SHARE, j]
        mixing[NEWTON + k] -= along * scratch[SHARE, k]


@njit(cache=True, error_model="numpy", inline="always")
def expert_steps(weights, dirty, settings, slot, value, plain, size, label, importance, scratch):
    """One step of each expert, each by its own error.

    FTRL-Proximal without L1 is AdaGrad, and L2 adds to what the rate is divided by: weights need no looking up.
    Entries that share a slot see the same squared gradients, and are added one after another.
    """
    padded = (size + LANES - 1) // LANES * LANES
    for i in range(size):
        s = slot[i]
        for k in range(ADAGRADS):
            scratch[SQUARED + k, i] = weights[s, ADAGRADS + k]
    for i in range(size, padded):
        value[i] = 0.0
        for k in range(ADAGRADS):
            scratch[SQUARED + k, i] = 0.0
    # a step needs no more than float32, which divides twice as fast; what it is added to stays float64
    for k in range(ADAGRADS):
        rate, error = RATES[k], importance * (sigmoid(scratch[NOW, ADAGRAD_EXPERTS[k]]) - label)
        scratch[ERROR, k] = error
        flat = np.float32(BETA) + rate * np.float32(settings[L2])
        for i in range(padded):
            g = error * value[i]
            squared = np.float32(scratch[SQUARED + k, i] + g * g)
            scratch[STEP + k, i] = rate * np.float32(g) / (flat + math.sqrt(squared))
        g = error * value[0]  # the bias: the base rate is never regularised
        scratch[STEP + k, 0] = RATES[k] * g / (BETA + math.sqrt(scratch[SQUARED + k, 0] + g * g))
    squares = 0.0
    for i in range(plain):
        squares += value[i] * value[i]
    plain_sgd = (sigmoid(scratch[NOW, 5]) - label) * min(RATE_PLAIN_SGD * importance, MOST_STEP / squares)
    for i in range(plain, size):
        squares += value[i] * value[i]
    sgd = (sigmoid(scratch[NOW, 3]) - label) * min(RATE_SGD * importance, MOST_STEP / squares)
    e0, e1, e2, e3 = scratch[ERROR, 0], scratch[ERROR, 1], scratch[ERROR, 2], scratch[ERROR, 3]
    for i in range(size):  # written out: a loop over the experts takes three times as long
        s, v = slot[i], value[i]
        weights[s, 0] -= scratch[STEP, i]
        weights[s, 1] -= scratch[STEP + 1, i]
        weights[s, 2] -= scratch[STEP + 2, i]
        weights[s, ADAGRADS] += e0 * v * (e0 * v)
        weights[s, ADAGRADS + 1] += e1 * v * (e1 * v)
        weights[s, ADAGRADS + 2] += e2 * v * (e2 * v)
        weights[s, SGD] -= sgd * v
        if i < plain:
            weights[s, 3] -= scratch[STEP + 3, i]
            weights[s, ADAGRADS + 3] += e3 * v * (e3 * v)
            weights[s, PLAIN_SGD] -= plain_sgd * v
        dirty[s >> BLOCK_SHIFT] = np.uint8(1)
