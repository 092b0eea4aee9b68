"""Which snapshots are kept, and which one each descends from, against a list that is kept by hand."""

from hypothesis import given, settings
from hypothesis import strategies as st

from storage.checkpoint import Checkpoint
from storage.snapshots import KEEP, NewSnapshot
from storage.store import Store

LINES = [None, "retrain 1", "retrain 2"]


class Oracle:
    """Each snapshot as (number, line, parent, start, promoted)."""

    def __init__(self):
        self.kept = []

    def take(self, line, parent, start, promoted):
        number = max((each[0] for each in self.kept), default=0) + 1
        if not isinstance(parent, int):
            of = line if parent is None else parent
            parent = max((each[0] for each in self.kept if each[1] == of), default=None)
        self.kept.append((number, line, parent, start, promoted))

    def prune(self, keep):
        newest = {each[0] for each in sorted(self.kept, reverse=True)[:keep]}
        stays = [each for each in self.kept if each[0] in newest or each[4]]
        used = {number for each in stays for number in each[2:4] if number is not None}
        self.kept = [each for each in self.kept if each in stays or each[0] in used]


def told(store):
    return [
        (each.number, each.lineage["line"], each.lineage["parent"], each.lineage["start"], each.promoted_at is not None)
        for each in reversed(store.snapshots())
    ]


@settings(max_examples=25)
@given(data=st.data())
def test_lineage_and_retention(data, tmp_path_factory):
    oracle = Oracle()
    store = Store.open(f"sqlite:///{tmp_path_factory.mktemp('kept')}/riverd.db", "m")
    try:
        store.acquire()
        store.load()
        for _ in range(data.draw(st.integers(1, 12))):
            if oracle.kept and data.draw(st.integers(0, 3)) == 0:
                keep = data.draw(st.integers(1, 6))
                before = {each[0] for each in oracle.kept}
                oracle.prune(keep)
                assert set(store.prune_snapshots(keep=keep)) == before - {each[0] for each in oracle.kept}
            else:
                taken = [new_one(data, oracle) for _ in range(data.draw(st.integers(1, 3)))]
                store.commit(Checkpoint(b"", snapshots=taken))
                oracle.prune(KEEP)
            assert told(store) == oracle.kept
    finally:
        store.close()


def new_one(data, oracle):
    numbers = [each[0] for each in oracle.kept]
    line = data.draw(st.sampled_from(LINES))
    parent = data.draw(st.sampled_from([*LINES, *numbers]))
    start = data.draw(st.sampled_from([None, *numbers]))
    promoted = data.draw(st.integers(0, 4)) == 0
    oracle.take(line, parent, start, promoted)
    return NewSnapshot(0, "", {"line": line, "start": start}, b"x", promoted=promoted, line=line, parent=parent)


def test_more_than_are_kept(open_store):
    store = open_store()
    for number in range(KEEP + 5):
        store.commit(Checkpoint(b"", snapshots=[NewSnapshot(0, "", {}, b"x", promoted=number == 2)]))
    # 3 was promoted and goes on from 2, and the oldest of the newest goes on from the one before it
    assert [each.number for each in store.snapshots()] == [*range(KEEP + 5, 4, -1), 3, 2]


def test_one_from_elsewhere_stays_when_a_checkpoint_is_passed_over(open_store):
    store = open_store()
    store.commit(Checkpoint(b"1", snapshots=[NewSnapshot(0, "", {}, b"x")]))
    reader = open_store(ready=False)
    assert reader.add_snapshot(NewSnapshot(7, "import", {}, b"y", line="import")) == 2
    store.commit(Checkpoint(b"2", snapshots=[NewSnapshot(0, "", {}, b"z")]))
    parents = {each.number: each.lineage["parent"] for each in store.snapshots()}
    assert parents == {1: None, 2: None, 3: 1}
    assert store.snapshot(2) == b"y"
