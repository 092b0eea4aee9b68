"""The row table against a dict: rows and features survive growing, shedding, compaction and a restart."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream import rows
from stream.records import DONE, PENDING, RESOLVED
from stream.rows import KEPT_COLUMNS, RowTable

WIDTH = 3


class Twin:
    """A table and what should be in it: by row its numbers and, until it is done, its features."""

    def __init__(self):
        self.table, self.known, self.first, self.pending = RowTable(said=2), {}, 0, []

    def add(self, sizes):
        self.table.reserve(first=self.first, events=len(sizes), cells=WIDTH)
        for size in sizes:
            row, columns = self.table.next, self.table.rows
            r, start = row - self.table.base, int(columns.used[0])
            features = [10 * row + i for i in range(size)]
            columns.key[r], columns.check[r], columns.content[r] = 2**63 + row, row + 1, row + 2
            columns.time[r], columns.logit[r], columns.status[r] = -row, row / 4, PENDING
            columns.start[r], columns.size[r] = start, size
            columns.said[r] = row, -row
            columns.cell[start : start + size] = features
            columns.used[0] += size
            self.known[row] = features
            self.pending.append(row)
            self.table.next += 1

    def finish(self, place):
        """Give up the features of one row that still has them."""
        if self.pending:
            row = self.pending.pop(place % len(self.pending))
            columns, r = self.table.rows, row - self.table.base
            columns.used[1] += columns.size[r]
            columns.size[r], columns.status[r] = 0, RESOLVED | DONE
            self.known[row] = []

    def forget(self, count):
        """Forget so many rows, as far as they are done."""
        for _ in range(count):
            if self.first in self.known and self.first not in self.pending:
                del self.known[self.first]
                self.first += 1

    def check(self):
        columns = self.table.rows
        assert self.table.base <= self.first
        assert self.table.next == self.first + len(self.known)
        for row, features in self.known.items():
            r = row - self.table.base
            assert (columns.key[r], columns.check[r], columns.content[r]) == (2**63 + row, row + 1, row + 2)
            assert (columns.time[r], columns.logit[r]) == (-row, row / 4)
            assert (columns.status[r] & DONE == 0) == (row in self.pending)
            place = slice(columns.start[r], columns.start[r] + columns.size[r])
            assert columns.cell[place].tolist() == features
            assert columns.said[r].tolist() == [row, -row]
        live = sum(map(len, self.known.values()))
        assert columns.used[0] - columns.used[1] >= live


def test_it_keeps_what_a_dict_would():
    seen = Counter()

    @settings(max_examples=200, deadline=None)
    @given(st.integers(0, 2**32), st.integers(1, 80))
    def check(seed, size):
        rng = random.Random(seed)
        learned_at_once = rng.random()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rows, "SEGMENT", 4)
            patch.setattr(rows, "SMALL_ARENA", 8)
            twin, stored = Twin(), []
            for _ in range(size):
                before = twin.table.rows.used[1], twin.table.base
                twin.add([rng.randint(0, WIDTH) for _ in range(rng.choice([0, 1, 2, 9]))])
                seen["compacted"] += before[0] > twin.table.rows.used[1]
                seen["shed"] += before[1] < twin.table.base
                twin.check()
                for _ in range(rng.choice([0, 1, 5, 20])):
                    twin.finish(0 if rng.random() < learned_at_once else rng.randrange(100))
                twin.forget(rng.choice([0, 3, 12]))
                twin.check()
                if rng.random() < 0.1:
                    stored = restart(twin, rng.choice([[], stored]))
                    twin.check()
                    seen["restarted"] += len(stored) > 1

    check()
    assert min(seen["compacted"], seen["shed"], seen["restarted"]) > 20, seen


def restart(twin, stored):
    """Store what was not yet, as (first, run), and go on with a table that has been made of it all."""
    table, first = twin.table, twin.first
    begin = max([first, *(start + len(run["size"]) for start, run in stored)])
    stored = [*stored, (begin, table.run(begin, table.next))]
    stored = [(start, run) for start, run in stored if start + len(run["size"]) > first]
    twin.table = RowTable(said=2)
    twin.table.restore(first, stored, table.status(first, table.next).copy())
    assert twin.table.rows.used[1] == 0
    return stored


def test_memory_follows_what_is_known(monkeypatch):
    monkeypatch.setattr(rows, "SEGMENT", 64)
    monkeypatch.setattr(rows, "SMALL_ARENA", 64)
    twin = Twin()
    for _ in range(100):
        twin.add([WIDTH] * 50)
        while len(twin.pending) > 50:
            twin.finish(0)
        twin.forget(50)
    twin.check()
    assert twin.table.next == 5000
    assert len(twin.table.rows.key) <= 64 * 4  # 100 rows are known at most
    assert len(twin.table.rows.cell) <= 64 * 10  # 300 features at most


def test_a_run_is_a_copy():
    twin = Twin()
    twin.add([2, 0, 3])
    run = twin.table.run(1, 3)
    twin.table.rows.key[:] = 0
    twin.table.rows.cell[:] = 0
    assert set(run) == {*KEPT_COLUMNS, "cell"}
    assert run["key"].tolist() == [2**63 + 1, 2**63 + 2]
    assert run["cell"].tolist() == [20, 21, 22]
    assert run["said"].tolist() == [[1, -1], [2, -2]]


def test_the_first_run_may_begin_before_the_first_row():
    twin = Twin()
    twin.add([2, 1, 3, 1])
    run = twin.table.run(0, 3)
    rest = twin.table.run(3, 4)
    table = RowTable(said=2)
    table.restore(2, [(0, run), (3, rest)], np.array([PENDING, RESOLVED | DONE], np.uint8))
    assert (table.base, table.next) == (2, 4)
    assert table.rows.time[:2].tolist() == [-2, -3]
    assert table.rows.size[:2].tolist() == [3, 0]  # what is done needs its features no more
    assert table.rows.cell[:3].tolist() == [20, 21, 22]
    assert table.rows.used.tolist() == [3, 0]
