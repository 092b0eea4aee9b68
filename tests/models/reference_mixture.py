"""The mixture once more, slowly, in plain Python from its description alone: lists, dicts and floats."""

import bisect
import math
from dataclasses import dataclass, field

from tests.models.reference import WORD, kind, xxh3

K = 7
PRIOR = [p / 7.3 for p in (1, 1, 0.3, 1, 2, 1, 1)]
TOP_PRIOR = [0.5, 0.25, 0.25]
ADAGRAD, SGD = "adagrad", "sgd"
EXPERTS = [(ADAGRAD, 0.2, True), (ADAGRAD, 0.8, True), (ADAGRAD, 3.2, True), (SGD, 0.08, True)]
EXPERTS += [(ADAGRAD, 0.05, False), (SGD, 0.02, False)]  # without hats; the seventh is the base rate


def sigma(x):
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def clip(x, limit):
    return max(-limit, min(limit, x))


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


@dataclass
class Column:
    """What is known of one number: running moments, and a sorted sample that xorshift64 draws."""

    state: int
    count: int = 0
    mean: float = 0.0
    deviations: float = 0.0
    squares: float = 0.0
    sample: list = field(default_factory=list)

    def value(self, x, asked):
        if self.deviations > 0 and self.count >= 0.5 * asked:
            v = (x - self.mean) / math.sqrt(self.deviations / self.count)
        else:
            v = x / math.sqrt((self.squares + x * x) / (self.count + 1)) if x else 0.0
        return clip(v, 3)

    def hats(self, x, asked):
        """[(hat, value), (hat + 1, value)], or nothing."""
        if not (self.deviations > 0 and self.count >= 0.1 * asked):
            return []
        m = len(self.sample)
        less, up_to = bisect.bisect_left(self.sample, x), bisect.bisect_right(self.sample, x)
        k = (less + up_to) / 2
        if less == up_to and 0 < less < m:
            below, above = self.sample[less - 1], self.sample[less]
            k = less - 0.5 + (x - below) / (above - below)
        r = (2 * (k + 0.5) / (m + 1) - 1) * m / (m + 4)
        u = max(0.0, min((r + 1) / 2 * 8, 8 - 1e-9))
        b = math.floor(u)
        return [(b, 1 - (u - b)), (b + 1, u - b)]

    def observe(self, x, asked):
        if self.count >= 0.1 * asked:
            self._draw(x)
        self.count += 1
        before = x - self.mean
        self.mean += before / self.count
        self.deviations += before * (x - self.mean)
        self.squares += x * x

    def _draw(self, x):
        if len(self.sample) == 64:
            self.state ^= (self.state << 13) & WORD
            self.state ^= self.state >> 7
            self.state ^= (self.state << 17) & WORD
            p = math.floor((self.state >> 11) / 2**53 * (self.count + 1))
            if p >= 64:
                return
            del self.sample[p]
        bisect.insort(self.sample, x)


@dataclass
class Asked:
    """A prediction, and what learning from it takes."""

    base: list  # (slot, value), the bias first
    hats: list
    s: list  # logits of the experts
    t: list  # and of the mixers
    c: float
    f: float
    unbounded: float
    number: int


class MLPoly:
    """Shares of experts by their regrets, linearised (Gaillard, Stoltz and van Erven 2014)."""

    def __init__(self, prior):
        self.prior, self.regret, self.squared = prior, [0.0] * len(prior), [0.001] * len(prior)

    def shares(self):
        if max(self.regret) <= 0:
            return list(self.prior)
        a = [p * max(0.0, r) / b for p, r, b in zip(self.prior, self.regret, self.squared, strict=True)]
        return [x / sum(a) for x in a]

    def learn(self, error, mixed, logits):
        for k, s in enumerate(logits):
            r = error * (mixed - s)
            self.regret[k] += r
            self.squared[k] += r * r


class Mixture:
    """Asked, learned and dropped like ``LogisticRegression()``, on dicts of text, booleans, numbers and nulls."""

    def __init__(self, *, bits, l2=0.0):
        self.bias, self.l2 = 1 << bits, l2
        self.columns = {}
        self.weights = [{} for _ in EXPERTS]  # by slot
        self.squared = [{} for _ in EXPERTS]
        self.a, self.b, self.top = MLPoly(PRIOR), MLPoly(PRIOR), MLPoly(TOP_PRIOR)
        self.c_weights = [1 / 7] * K
        self.inverse = [[(i == j) / 20 for j in range(K)] for i in range(K)]
        self.positives = self.negatives = 0.0
        self.asked = self.learned = self.dropped = 0

    def ask(self, x):
        for name, value in x.items():
            if kind(value) in ("number", "absurd") and name not in self.columns:
                self.columns[name] = Column(state=xxh3(name))
        base, hats = self._encode(x)
        prediction = self._answer(base, hats)
        for name, value in x.items():
            if kind(value) == "number":
                self.columns[name].observe(float(value), self.asked)
        self.asked += 1
        return prediction

    def _encode(self, x):
        base, hats = [], []
        for name in sorted(x):
            value = x[name]
            match kind(value):
                case "category":
                    base.append((xxh3(f"{name}={int(value) if isinstance(value, bool) else value}"), 1.0))
                case "number":
                    base.append((xxh3(name), self.columns[name].value(float(value), self.asked)))
                    curve = self.columns[name].hats(float(value), self.asked)
                    hats += [((xxh3(f"{name}#r") + 97531 * (b + 1)) & WORD, v) for b, v in curve]
                case _:
                    base.append((xxh3(f"{name}=null"), 1.0))
        norm = math.sqrt(sum(v * v for _, v in base + hats))
        shrink = min(1.0, 5 / norm) if norm else 1.0
        return [(self.bias, 1.0), *self._slots(base, shrink)], self._slots(hats, shrink)

    def _slots(self, entries, shrink):
        return [(hashed % self.bias, v * shrink) for hashed, v in entries]

    def _experts(self, base, hats):
        logits = []
        for weights, (_, _, sees_hats) in zip(self.weights, EXPERTS, strict=True):
            seen = base + hats if sees_hats else base
            logits.append(sum(weights.get(slot, 0.0) * v for slot, v in seen))
        return [*logits, math.log((self.positives + 0.5) / (self.negatives + 0.5))]

    def _answer(self, base, hats):
        s = self._experts(base, hats)
        t = [dot(self.a.shares(), s), dot(self.b.shares(), s), dot(self.c_weights, s)]
        rho = [0.7 * share + 0.3 * prior for share, prior in zip(self.top.shares(), TOP_PRIOR, strict=True)]
        pending = self.asked - self.learned - self.dropped
        c = math.log(1 + 4 * (self.learned + 1) / (1 + pending / 50))
        unbounded = dot(rho, t)
        return Asked(base, hats, s, t, c, clip(unbounded, c), unbounded, self.asked + 1)

    def drop(self, _):
        self.dropped += 1

    def learn(self, prediction, y, w=1.0):
        now = self._experts(prediction.base, prediction.hats)
        self.top.learn(w * (sigma(prediction.f) - y), prediction.f, [clip(t, 13.8) for t in prediction.t])
        mixed = clip(prediction.t[0], 13.8)
        self.a.learn(w * (sigma(mixed) - y), mixed, [clip(s, 13.8) for s in prediction.s])
        clipped = [clip(s, 13.8) for s in now]
        mixed = dot(self.b.shares(), clipped)
        self.b.learn(w * (sigma(mixed) - y), mixed, clipped)
        self._newton(prediction, y, w)
        for k, expert in enumerate(EXPERTS):
            self._step(k, expert, prediction, now[k], y, w)
        self.positives += w * y
        self.negatives += w * (1 - y)
        self.learned += 1

    def _newton(self, prediction, y, w):
        q = [clip(s, prediction.c) for s in prediction.s]
        p = sigma(dot(self.c_weights, q))
        h = w / (1 + (self.asked - prediction.number) / 50)
        curvature = h * max(p * (1 - p), 0.01)
        v = [dot(row, q) for row in self.inverse]
        d = 1 + curvature * dot(q, v)
        for i in range(K):
            for j in range(K):
                self.inverse[i][j] -= curvature * v[i] * v[j] / d
            self.c_weights[i] -= h * (p - y) * v[i] / d

    def _step(self, k, expert, prediction, logit, y, w):
        family, rate, sees_hats = expert
        entries = prediction.base + prediction.hats if sees_hats else prediction.base
        weights, squared = self.weights[k], self.squared[k]
        if family == SGD:
            step = min(rate * w, 4 / sum(v * v for _, v in entries)) * (sigma(logit) - y)
            for slot, v in entries:
                weights[slot] = weights.get(slot, 0.0) - step * v
            return
        before = dict(squared)  # entries that share a slot see the same
        for slot, v in entries:
            g = w * (sigma(logit) - y) * v
            l2 = 0.0 if slot == self.bias else self.l2
            divisor = 0.3 + math.sqrt(before.get(slot, 0.0) + g * g) + rate * l2
            weights[slot] = weights.get(slot, 0.0) - rate * g / divisor
            squared[slot] = squared.get(slot, 0.0) + g * g
