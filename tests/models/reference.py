"""The learner once more, in plain Python from its description alone: an encoder and FTRL-Proximal on dicts."""

import math
from collections import Counter, defaultdict
from numbers import Real

import numpy as np
import xxhash

WORD = (1 << 64) - 1


def xxh3(text):
    return xxhash.xxh3_64_intdigest(text.encode())


def mixed(first, second):
    """SplitMix64's finaliser over first * golden ratio + (second xor a constant), modulo 2^64."""
    h = (first * 0x9E3779B97F4A7C15 + (second ^ 0xD1B54A32D192ED03)) & WORD
    h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & WORD
    return h ^ (h >> 31)


def kind(value):
    """What a raw value is: "category", "number", "null", or "absurd", a number that counts as null."""
    if isinstance(value, str | bool):
        return "category"
    if value is None or value != value:
        return "null"
    return "number" if isinstance(value, Real) and abs(value) <= 1e15 else "absurd"


class Encoder:
    """Slots and values of events, by running statistics of the events before."""

    def __init__(self, *, bits, crosses=()):
        self.bias, self.crosses = 1 << bits, crosses
        self.asked = self.absurd = 0
        self.numbers = set()
        self.count, self.mean, self.deviations, self.squares = Counter(), Counter(), Counter(), Counter()

    def ask(self, x):
        """Encode the event, then let it move the statistics."""
        self.numbers |= {name for name in x if kind(x[name]) in ("number", "absurd")}
        encoded = self.encode(x)
        self.asked += 1
        for name, value in x.items():
            self.absurd += kind(value) == "absurd"
            if kind(value) == "number":
                self._observe(name, float(value))
        return encoded

    def encode(self, x):
        """(slot, value) pairs in order: the bias, then by name."""
        entries = {}
        for name, value in x.items():
            match kind(value):
                case "category":
                    entries[name] = (self._hash(name, value), 1.0)
                case "number":
                    entries[name] = (xxh3(name), self._standardised(name, float(value)))
                case "null" | "absurd":
                    entries[name] = (xxh3(f"{name}=null"), 1.0)
        for a, b in self.crosses:
            if self._is_category(a, x) and self._is_category(b, x):
                entries[f"{a}*{b}"] = (mixed(self._hash(a, x[a]), self._hash(b, x[b])), 1.0)
        ordered = [entries[name] for name in sorted(entries)]
        norm = math.sqrt(sum(value * value for _, value in ordered))
        shrink = min(1.0, 5.0 / norm) if ordered and norm > 0 else 1.0
        return [(self.bias, 1.0), *((hashed % self.bias, value * shrink) for hashed, value in ordered)]

    def _is_category(self, name, x):
        """A null is a number's where the name has been a number before."""
        return name in x and (kind(x[name]) == "category" or (kind(x[name]) == "null" and name not in self.numbers))

    def _hash(self, name, value):
        text = "null" if kind(value) == "null" else int(value) if isinstance(value, bool) else value
        return xxh3(f"{name}={text}")

    def _standardised(self, name, x):
        n = self.count[name]
        if self.deviations[name] > 0 and n >= 0.5 * self.asked:
            v = (x - self.mean[name]) / math.sqrt(self.deviations[name] / n)
        elif x == 0:
            v = 0.0
        else:
            v = x / math.sqrt((self.squares[name] + x * x) / (n + 1))
        return max(-3.0, min(3.0, v))

    def _observe(self, name, x):
        self.count[name] += 1
        before = x - self.mean[name]
        self.mean[name] += before / self.count[name]
        self.deviations[name] += before * (x - self.mean[name])
        self.squares[name] += x * x


class FTRL:
    """FTRL-Proximal, algorithm 1 of McMahan et al. 2013; z and n are kept in ``precision``."""

    def __init__(self, *, alpha, beta, l1, l2, bias, precision=np.float64):
        self.alpha, self.beta, self.l1, self.l2, self.bias = alpha, beta, l1, l2, bias
        self.z, self.n = defaultdict(float), defaultdict(float)
        self.rounded = lambda value: float(precision(value))

    def weight(self, slot):
        z, n = self.z[slot], self.n[slot]
        l1, l2 = (0.0, 0.0) if slot == self.bias else (self.l1, self.l2)
        if abs(z) <= l1:
            return 0.0
        return -(z - math.copysign(l1, z)) / max((self.beta + math.sqrt(n)) / self.alpha + l2, 1e-12)

    def logit(self, entries):
        total = 0.0
        for slot, value in entries:
            total += self.weight(slot) * value
        return total

    def learn(self, entries, label, importance=1.0):
        logit = self.logit(entries)
        p = 1 / (1 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1 + math.exp(logit))
        changes = []  # entries that share a slot all see the state before this label
        for slot, value in entries:
            g, n = (p - label) * importance * value, self.n[slot]
            sigma = (math.sqrt(n + g * g) - math.sqrt(n)) / self.alpha
            changes.append((slot, g - sigma * self.weight(slot), g * g))
        for slot, z_change, n_change in changes:
            self.z[slot] = self.rounded(self.z[slot] + z_change)
            self.n[slot] = self.rounded(self.n[slot] + n_change)
