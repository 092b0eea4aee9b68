"""Any sequence of commits, failures and damage, against two dicts."""

from contextlib import closing

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select, update

from storage.blocks import Block
from storage.checkpoint import FAIL_POINTS, Checkpoint
from storage.database import Database, open_database
from storage.store import Store
from storage.tables import blocks, checkpoints

changes = st.dictionaries(
    st.tuples(st.sampled_from(["rows", "weights"]), st.integers(0, 3)), st.none() | st.binary(max_size=4), max_size=5
)


def flipped(data):
    return bytes([data[0] ^ 1]) + data[1:] if data else b"?"


class Checkpoints(RuleBasedStateMachine):
    """``kept`` are the states that can be asked for: the newest, and the one to fall back to."""

    database: Database
    examples = 0

    @initialize()
    def open(self):
        Checkpoints.examples += 1
        self.model, self.kept, self.damaged, self.serial, self.fail_at = f"m{self.examples}", [], False, 0, None
        self.reopen()

    @rule()
    def reopen(self):
        if hasattr(self, "store"):
            self.store._lease.release()  # as its process ends, and without closing the database
        self.store = Store(self.database, self.model, now=lambda: 0, reached=self.reached)
        self.store.acquire()
        self.store.load()

    def reached(self, name):
        if name == self.fail_at:
            raise InterruptedError(name)

    def give(self, changed):
        self.serial += 1
        given = [Block(kind, number, data) for (kind, number), data in changed.items()]
        return self.store.commit(Checkpoint(b"state %d" % self.serial, given))

    @rule(changed=changes)
    def commit(self, changed):
        number, _, before = self.current() or (0, b"", {})
        committed = self.give(changed)
        after = {key: data for key, data in {**before, **changed}.items() if data is not None}
        if self.damaged:
            self.kept.pop()
            self.damaged = False
        self.kept = [*self.kept, (number + 1, b"state %d" % self.serial, after)][-2:]
        assert committed.number == number + 1

    @rule(changed=changes, point=st.sampled_from(FAIL_POINTS[:-1]))
    def fail(self, changed, point):
        self.fail_at = point
        try:
            self.give(changed)
            raise AssertionError(f"{point} was not reached")
        except InterruptedError:
            self.fail_at = None

    @precondition(lambda self: len(self.kept) == 2 and not self.damaged)
    @rule(data=st.data())
    def damage_the_newest(self, data):
        number = self.kept[-1][0]
        mine = (blocks.c.model == self.model) & (blocks.c.checkpoint == number)
        with self.database.writing() as connection:
            written = connection.execute(select(blocks).where(mine).order_by(blocks.c.kind, blocks.c.number)).all()
            row = data.draw(st.sampled_from([None, *written]))
            if row is None:
                state = (checkpoints.c.model == self.model) & (checkpoints.c.number == number)
                connection.execute(update(checkpoints).where(state).values(state=flipped(self.kept[-1][1])))
            else:
                it = mine & (blocks.c.kind == row.kind) & (blocks.c.number == row.number)
                if row.data is None and (row.kind, row.number) not in self.kept[-2][2]:
                    return  # a tombstone of nothing: losing it harms nobody
                if row.data is None or data.draw(st.booleans()):
                    connection.execute(blocks.delete().where(it))
                else:
                    connection.execute(update(blocks).where(it).values(data=flipped(row.data)))
        self.damaged = True
        self.store.load()

    def current(self):
        alive = self.kept[:-1] if self.damaged else self.kept
        return alive[-1] if alive else None

    @invariant()
    def load_gives_the_newest_intact_state(self):
        if not hasattr(self, "store"):
            return
        loaded = self.store.load()
        if loaded is None:
            assert self.current() is None
        else:
            assert (loaded.number, loaded.state, loaded.blocks) == self.current()
            assert len(loaded.skipped) == self.damaged

    @invariant()
    def nothing_useless_is_kept(self):
        if not hasattr(self, "store"):
            return
        with self.database.reading() as connection:
            mine = select(func.count()).where(blocks.c.model == self.model, blocks.c.data.is_not(None))
            assert connection.scalar(mine) <= sum(len(state) for _, _, state in self.kept)

    def teardown(self):
        if hasattr(self, "store"):
            self.store._lease.release()


@pytest.mark.parametrize(("url", "examples"), [("sqlite", 60), ("postgresql", 6)], indirect=["url"])
def test_checkpoints(url, examples):
    with closing(open_database("sqlite://" if url.startswith("sqlite") else url)) as Checkpoints.database:
        how = settings(max_examples=examples, stateful_step_count=20, deadline=None)
        run_state_machine_as_test(Checkpoints, settings=how)
