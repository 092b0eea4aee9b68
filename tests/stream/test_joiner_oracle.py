"""The compiled joiner against a plain one of dicts and lists: the same ops in the same order, however cut."""

import random
from collections import Counter
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream import joiner, rows
from stream.join_state import COUNTS, Policy
from stream.joiner import Joiner
from stream.merge import BEGINNING, EVENT, LABEL
from stream.records import DEAD, SOUND, TOMBSTONE
from stream.rows import RowTable

POLICY = Policy(20, 6, 10, 8, at_maturity=False, missing_is_negative=False, labelled=False)
POLICIES = [
    POLICY._replace(at_maturity=at_maturity, missing_is_negative=negative, remember_us=remember)
    for at_maturity, negative, remember in product((False, True), (False, True), (0, 10))
] + [POLICY._replace(labelled=True, window_us=0, remember_us=remember) for remember in (0, 10)]
PASS, TOGGLE = 2, 3  # kinds beside EVENT and LABEL: time passes without a record; learning is paused or resumed


class Oracle:
    """Reaches each record's merged time, then decides its fate."""

    def __init__(self, policy, *, quiet_us, max_waiting):
        self.policy, self.quiet_us, self.max_waiting = policy, quiet_us, max_waiting
        self.counts = Counter()
        self.ops, self.label_times, self.rejected, self.learn = [], [], [], "learn"
        self.rows, self.waiting = [], []  # rows still known; places for labels, matched ones too until the first leaves
        self.tick, self.last, self.newest = None, BEGINNING, BEGINNING

    def reach(self, time):
        step = self.policy.tick_us
        if self.tick is None:
            self.tick = (time // step + 1) * step
        while time >= self.tick:
            self.close(self.tick)
            self.ops.append(("tick", self.tick))
            quiet = self.tick - self.last > self.quiet_us
            self.tick = max(self.tick + step, time // step * step if quiet else 0)
        self.close(time)

    def close(self, limit):
        open_rows = [row for row in self.rows if not row.closed and row.time + self.policy.window_us < limit]
        for row in sorted(open_rows, key=lambda row: (row.time, row.out_of_order, row.place)):
            row.closed = True
            if row.fate == "resolved" and self.policy.at_maturity:
                self.ops.append((self.learn, row.place, row.label))
            elif row.fate == "pending":
                row.fate = "expired"
                negative = self.policy.missing_is_negative
                resolved = (f"resolve+{self.learn}+expire", row.place, 0)
                self.ops.append(resolved if negative else ("drop+expire", row.place))
        while self.rows and self.rows[0].time + self.policy.window_us + self.policy.remember_us < limit:
            self.counts[self.rows.pop(0).fate] += 1
        while self.waiting and (self.waiting[0].matched or self.waiting[0].deadline < limit):
            self.counts["orphan"] += not self.waiting.pop(0).matched

    def take(self, place, kind, id_, time, order, value, flaw):
        if flaw != SOUND:
            self.counts["dead" if flaw == DEAD else "tombstones"] += 1
            if flaw == DEAD:
                self.rejected.append((place, "dead"))
            return
        known = next((row for row in self.rows if row.id == id_), None)
        waits = next((label for label in self.waiting if label.id == id_ and not label.matched), None)
        self.counts["events" if kind == EVENT else "labels"] += 1
        if kind == EVENT:
            self.take_event(known, waits, place, id_, time, value)
        else:
            self.counts[self.fate_of_label(known, waits, id_, time, order, value)] += 1

    def take_event(self, known, waits, place, id_, time, content):
        if known and (self.policy.remember_us or not self.policy.labelled):
            same = (known.time, known.content) == (time, content)
            self.counts["duplicate_events" if same else "conflict"] += 1
            if not same:
                self.rejected.append((place, "conflict"))
            return
        row = SimpleNamespace(id=id_, time=time, content=content, place=place, fate="pending", label=None, closed=False)
        if self.policy.labelled:
            row.fate, row.closed = "resolved", True
            self.rows.append(row)
            self.label_times.append((place, time))
            self.ops.append((f"score+resolve+{self.learn}", place, content % 2))
            return
        row.out_of_order = time < self.newest
        self.newest = max(self.newest, time)
        self.rows.append(row)
        self.ops.append(("score", place))
        if waits and time - self.policy.early_us <= waits.time <= time + self.policy.window_us:
            waits.matched = True
            self.match(row, waits.value, waits.time)

    def fate_of_label(self, known, waits, id_, time, order, value):
        if known and known.fate == "resolved":
            if known.label == value:
                return "duplicate_labels"
            known.label = value
            self.label_times.append((known.place, time))
            self.ops.append(("correct", known.place, value))
            return "correction"
        if known:
            if known.fate == "expired" or time > known.time + self.policy.window_us:
                return "late"
            if time < known.time - self.policy.early_us:
                return "orphan"
            self.match(known, value, time)
            return "matched by label"
        if waits:
            same, waits.value = waits.value == value, value
            return "duplicate_labels" if same else "correction"
        if len(self.waiting) == self.max_waiting:
            return "orphan"
        deadline = order + self.policy.early_us
        self.waiting.append(SimpleNamespace(id=id_, time=time, value=value, deadline=deadline, matched=False))
        return "came to wait"

    def match(self, row, label, time):
        row.fate, row.label = "resolved", label
        self.counts["matched"] += 1
        self.label_times.append((row.place, time))
        self.ops.append(("resolve" if self.policy.at_maturity else f"resolve+{self.learn}", row.place, label))

    def fates(self):
        known = Counter(row.fate for row in self.rows)
        waiting = sum(not label.matched for label in self.waiting)
        return {name: self.counts[name] + known[name] + (waiting if name == "waiting" else 0) for name in COUNTS}


def stream_of(seed, size, *, labelled):
    """Records in merged order: few ids, own times that lag, repeats, flaws; and time that passes, and pauses."""
    rng = random.Random(seed)
    dense, ids, order = rng.random(), rng.randint(3, 12), 0
    # what is dead before any record with a time has no time to be merged by
    stream = [(EVENT, 0, BEGINNING, BEGINNING, 0, DEAD)] * rng.choice([0, 0, 2])
    for _ in range(size):
        order += rng.choice([0, 1, 2, 3, 5, 9, 30]) if rng.random() < dense else 0
        kind = rng.choices([EVENT, LABEL, PASS, TOGGLE], [6, 0 if labelled else 4, 0.5, 0.3])[0]
        earlier = [record for record in stream[-12:] if record[0] == EVENT and record[3] > BEGINNING]
        if kind in (PASS, TOGGLE):
            order += rng.randint(0, 120) if kind == PASS else 0
            stream.append((kind, 0, order, order, 0, SOUND))
        elif kind == EVENT and earlier and rng.random() < 0.2:
            _, id_, time, _, content, _ = rng.choice(earlier)
            stream.append((EVENT, id_, time, order, rng.choice([content, content, 3 if labelled else 4]), SOUND))
        else:
            lag = rng.choice([0, 0, 0, 0, 1, 2, 4, 8, 19, 40])
            flaw = rng.choice([SOUND] * 12 + [DEAD, TOMBSTONE])
            value = rng.randint(0, 1) * (1 if labelled or kind == LABEL else 2)
            stream.append((kind, rng.randrange(ids), order - lag, order, value, flaw))
    return stream


def batches(stream, cuts):
    """(records, watermark, whether learning is toggled then) of each batch: cut where it must be and at ``cuts``."""
    batch = []
    for place, record in enumerate(stream):
        if record[0] in (PASS, TOGGLE):
            yield batch, record[3], record[0] == TOGGLE
            batch = []
        else:
            if place in cuts:
                yield batch, BEGINNING, False
                batch = []
            batch.append(record)
    yield batch, BEGINNING, False


class Checkpoints:
    """Rows as they were at their first checkpoint, statuses and the rest as of the newest."""

    def __init__(self, serving):
        self.serving, self.runs, self.stored_to = serving, [], 0

    def resume(self, walk):
        """Store everything, forget everything, and give the walk a new joiner with what was stored."""
        old, table = walk.joiner, walk.joiner.table
        begin = max(self.stored_to, old.first_row)
        if begin < table.next:
            self.runs.append((begin, table.run(begin, table.next)))
        self.stored_to = table.next
        self.runs = [(first, run) for first, run in self.runs if first + len(run["size"]) > old.first_row]
        state, status = old.state(), table.status(old.first_row, table.next).copy()
        restored = RowTable()
        restored.restore(old.first_row, self.runs, status)
        walk.joiner = Joiner(old.policy, restored, width=2, quiet_us=old._quiet_us)
        walk.joiner.restore(state)
        walk.serve = self.serving(restored)


def told_by_oracle(stream, policy, **sizes):
    oracle, place = Oracle(policy, **sizes), 0
    for record in stream:
        if record[3] != BEGINNING:
            oracle.reach(record[3])
        if record[0] == TOGGLE:
            oracle.learn = "drop" if oracle.learn == "learn" else "learn"
        elif record[0] != PASS:
            oracle.take(place, *record)
            oracle.last = record[3]
            place += 1
    if stream[-1][3] != BEGINNING:
        oracle.reach(stream[-1][3])
    return oracle


def test_equals_the_oracle_however_the_stream_is_cut_and_wherever_it_is_resumed(walk_through, serving):
    seen = Counter()

    @settings(max_examples=1000, deadline=None)
    @given(
        st.integers(0, 2**32),  # hypothesis would draw too few streams that are not simple
        st.integers(1, 80),
        st.sampled_from(POLICIES),
        st.sets(st.integers(0, 82), max_size=8),
        st.sets(st.integers(0, 12), max_size=3),
        st.sampled_from([25, 60]),
        st.sampled_from([(2, 1, 2), (3, 2, 4), (64, 64, 64)]),
    )
    def check(seed, size, policy, cuts, resumed, quiet_us, caps):
        ops_at_once, rejected_at_once, max_waiting = caps
        stream = stream_of(seed, size, labelled=policy.labelled)
        oracle = told_by_oracle(stream, policy, quiet_us=quiet_us, max_waiting=max_waiting)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(joiner, "OPS_AT_ONCE", ops_at_once)
            patch.setattr(joiner, "MAX_WAITING", max_waiting)
            patch.setattr(joiner, "MIN_INDEX", 4)
            patch.setattr(rows, "SEGMENT", 4)
            patch.setattr(rows, "SMALL_ARENA", 4)
            table = RowTable()
            walk = walk_through(Joiner(policy, table, width=2, quiet_us=quiet_us), serve=serving(table))
            checkpoints = Checkpoints(serving)
            for i, (batch, watermark, toggled) in enumerate(batches(stream, cuts)):
                walk.joiner._rejected = np.zeros((rejected_at_once, 3), np.int64)
                walk.take(batch, watermark)
                walk.joiner.learning ^= toggled
                walk.serve.check(walk.joiner.first_row)
                if i in resumed:
                    checkpoints.resume(walk)
                    walk.serve.check(walk.joiner.first_row)
                    seen["resumed"] += 1
        assert walk.ops == oracle.ops
        assert (walk.label_times, walk.rejected) == (oracle.label_times, oracle.rejected)
        assert walk.joiner.fates() == {"messages": walk.given, **oracle.fates()}
        assert walk.joiner.watermark == stream[-1][3]
        seen.update(walk.joiner.fates())
        records = [record for record in stream if record[0] not in (PASS, TOGGLE)]
        scored = Counter(records[op[1]][1] for op in oracle.ops if op[0] == "score")
        seen["id reused"] += sum(scored.values()) - len(scored)
        seen["skipped ticks"] += any(op[0] == "tick" for op in oracle.ops) and stream[-1][3] > 200

    check()
    assert [what for what in (*COUNTS, "resumed", "id reused", "skipped ticks") if seen[what] < 50] == [], seen


def test_a_label_that_has_matched_is_not_restored_among_the_waiting(walk_through, serving):
    walk = walk_through(Joiner(POLICY, RowTable(), width=2, quiet_us=25))
    walk.take([(LABEL, 1, 0, 0, 1, SOUND), (LABEL, 2, 0, 0, 1, SOUND), (EVENT, 2, 0, 0, 1, SOUND)])
    Checkpoints(serving).resume(walk)
    walk.take([(LABEL, 2, 100, 100, 0, SOUND), (EVENT, 2, 100, 100, 1, SOUND)])
    assert walk.ops[-1] == ("resolve+learn", 4, 0)
