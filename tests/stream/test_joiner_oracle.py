"""The compiled joiner against a plain one of dicts and lists: the same ops in the same order, however cut."""

import random
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream import joiner, rows, stall
from stream.join_state import COUNTS, Policy
from stream.joiner import Joiner
from stream.merge import BEGINNING, EVENT, LABEL
from stream.records import DEAD, SOUND, TOMBSTONE
from stream.rows import RowTable
from tests.stream.plain_joiner import ENOUGH_POSITIVES, PASS, THAW, TOGGLE, told_by_oracle

POLICY = Policy(20, 6, 10, 8, at_maturity=False, missing_is_negative=False, labelled=False)
POLICIES = [
    POLICY._replace(at_maturity=at_maturity, missing_is_negative=negative, remember_us=remember)
    for at_maturity, negative, remember in product((False, True), (False, True), (0, 10))
] + [POLICY._replace(labelled=True, window_us=0, remember_us=remember) for remember in (0, 10)]
OF_STALLS = (
    "stalled", "waited in vain", "well after stalled", "well after overridden", "thawed", "stalled again after a thaw",
    "a thaw outlived a lull", "a thaw outlived a stall",
)  # fmt: skip


def stream_of(seed, size, *, labelled):
    """Records in merged order: few ids, own times that lag, repeats, flaws; and time that passes, and commands."""
    rng = random.Random(seed)
    dense, ids, order, labels = rng.random(), rng.randint(3, 12), 0, rng.choice([4, 1, 0.5])
    # what is dead before any record with a time has no time to be merged by
    stream = [(EVENT, 0, BEGINNING, BEGINNING, 0, DEAD)] * rng.choice([0, 0, 2])
    for _ in range(size):
        order += rng.choice([0, 1, 2, 3, 5, 9, 30]) if rng.random() < dense else 0
        kind = rng.choices([EVENT, LABEL, PASS, TOGGLE, THAW], [6, 0 if labelled else labels, 0.6, 0.3, 1.0])[0]
        earlier = [record for record in stream[-12:] if record[0] == EVENT and record[3] > BEGINNING]
        if kind > EVENT:
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
    """(records, watermark, what happens then) of each batch: cut where it must be and at ``cuts``."""
    batch = []
    for place, record in enumerate(stream):
        if record[0] > EVENT:
            yield batch, record[3], record[0]
            batch = []
        else:
            if place in cuts:
                yield batch, BEGINNING, PASS
                batch = []
            batch.append(record)
    yield batch, BEGINNING, PASS


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
        walk.joiner = Joiner(old.policy, restored, cells=2, quiet_us=old._quiet_us)
        walk.joiner.restore(state)
        assert walk.joiner.decided(walk.watermark) == old.decided(walk.watermark)
        walk.serve = self.serving(restored)


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
            patch.setattr(stall, "ENOUGH_POSITIVES", ENOUGH_POSITIVES)
            table = RowTable()
            walk = walk_through(Joiner(policy, table, cells=2, quiet_us=quiet_us), serve=serving(table))
            checkpoints = Checkpoints(serving)
            for i, (batch, watermark, then) in enumerate(batches(stream, cuts)):
                walk.joiner._rejected = np.zeros((rejected_at_once, 3), np.int64)
                walk.take(batch, watermark)
                walk.joiner.learning ^= then == TOGGLE
                if then == THAW:
                    walk.joiner.thaw()
                walk.serve.check(walk.joiner.first_row)
                if i in resumed:
                    checkpoints.resume(walk)
                    walk.serve.check(walk.joiner.first_row)
                    seen["resumed"] += 1
        assert walk.ops == oracle.ops
        assert (walk.label_times, walk.rejected) == (oracle.label_times, oracle.rejected)
        assert walk.joiner.fates() == {"messages": walk.given, **oracle.fates()}
        assert walk.joiner.watermark == stream[-1][3]
        assert walk.joiner.stalled == (oracle.expiry == "stalled")
        seen.update(walk.joiner.fates())
        seen.update(oracle.seen)
        records = [record for record in stream if record[0] <= EVENT]
        scored = Counter(records[op[1]][1] for op in oracle.ops if op[0] == "score")
        seen["id reused"] += sum(scored.values()) - len(scored)
        seen["skipped ticks"] += any(op[0] == "tick" for op in oracle.ops) and stream[-1][3] > 200

    check()
    assert [what for what in (*COUNTS, "resumed", "id reused", "skipped ticks") if seen[what] < 50] == [], seen
    assert [what for what in OF_STALLS if seen[what] < 5] == [], seen


def test_a_label_that_has_matched_is_not_restored_among_the_waiting(walk_through, serving):
    walk = walk_through(Joiner(POLICY, RowTable(), cells=2, quiet_us=25))
    walk.take([(LABEL, 1, 0, 0, 1, SOUND), (LABEL, 2, 0, 0, 1, SOUND), (EVENT, 2, 0, 0, 1, SOUND)])
    Checkpoints(serving).resume(walk)
    walk.take([(LABEL, 2, 100, 100, 0, SOUND), (EVENT, 2, 100, 100, 1, SOUND)])
    assert walk.ops[-1] == ("resolve+learn", 4, 0)
