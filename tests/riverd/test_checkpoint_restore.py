"""An engine that is stored, lost and restored, wherever that happens, ends as one that ran through."""

import sqlite3
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riverd import state_format
from riverd.checkpointing import Checkpointer
from riverd.errors import StateMismatchError
from storage.checkpoint import FAIL_POINTS
from storage.errors import DiskFull
from storage.store import Store
from stream.memory import MemorySource
from stream.source import Mark, Partition
from tests.riverd.streams import config, engine_on, finish, labelled, labelled_config, outcome, pairs, run, split

TOPICS = split(pairs(900, seed=5, disorder=True), partitions=3)
MODES = {
    f"{learn}-{missing}": (TOPICS, config(labels={"learn": learn, "missing": missing}, source={"poll_records": 15}))
    for learn in ("arrival", "maturity")
    for missing in ("drop", "negative")
} | {"labelled": (labelled(900, seed=6), labelled_config(source={"poll_records": 15}))}


class Life:
    """One process after another on the same stream and the same store."""

    def __init__(self, topics, config, url="sqlite://"):
        self.topics, self.config = topics, config
        self.fails_at = None
        self.store = Store.open(url, "shops", now=lambda: 7, reached=self._reached)
        self.store.acquire()
        self.committed = None  # the outcome at the last checkpoint
        self.begin()

    def _reached(self, place):
        if place == self.fails_at:
            raise DiskFull(f"full at {place}")

    def begin(self):
        """Start a process; whatever the last one did not commit is lost."""
        self.engine = engine_on(MemorySource(self.topics), self.config)
        self.checkpointer = Checkpointer(self.engine)
        loaded = self.store.load()
        if loaded is not None:
            self.checkpointer.restore(loaded)
        return loaded

    def step(self, times):
        for _ in range(times):
            self.engine.step()

    def commit(self, *, fails_at=None):
        self.fails_at = fails_at
        capture = self.checkpointer.capture(with_snapshot=True)
        try:
            self.store.commit(capture.encode("periodic"))
        except DiskFull:
            self.checkpointer.failed(capture)
            assert fails_at
        else:
            self.checkpointer.saved(capture)
            self.committed = outcome(self.engine)

    def end(self):
        """Run to the end; return all that must be equal."""
        finish(self.engine)
        self.commit()
        return outcome(self.engine) | {
            "alerts": self.store.alerts(),
            "dead_letters": self.store.dead_letters(limit=10**6),
        }


@cache
def uninterrupted(mode):
    return Life(*MODES[mode]).end()


actions = st.one_of(
    st.tuples(st.just("step"), st.integers(1, 12)),
    st.just(("commit", None)),
    st.tuples(st.just("commit"), st.sampled_from(FAIL_POINTS[:-1])),
    st.just(("restart", None)),
)


@pytest.mark.parametrize("mode", ["arrival-drop", "maturity-negative", "labelled"])
@settings(deadline=None, max_examples=6)
@given(plan=st.lists(actions, max_size=25))
def test_wherever_it_is_cut(mode, plan):
    life = Life(*MODES[mode])
    for action, argument in plan:
        if action == "step":
            life.step(argument)
        elif action == "commit":
            life.commit(fails_at=argument)
        else:
            life.begin()
            if life.committed:
                assert outcome(life.engine) == life.committed
    assert life.end() == uninterrupted(mode)
    life.store.close()


def test_stored_after_every_step():
    configured = config(labels={"learn": "arrival", "missing": "drop"}, source={"poll_records": 40})
    life = Life(TOPICS, configured)
    while not life.engine.finished or not life.committed:
        life.step(1)
        life.commit()
        life.begin()
    assert outcome(life.engine) == outcome(run(TOPICS, configured))


def test_a_partition_that_appears_after_a_restart_does_not_turn_time_back():
    topics, config = MODES["arrival-negative"]
    life = Life(topics, config)
    finish(life.engine)
    life.commit()
    went_on = life.engine
    # its events are as old as the first ones, under ids of their own
    more = [message.replace(b'"e', b'"f') for message in topics[Partition("events", "0")][:100]]
    life.topics = topics | {Partition("events", "new"): more}
    life.begin()
    went_on.source = MemorySource(life.topics)
    went_on.source.seek({p: Mark(lane.released_position) for p, lane in went_on.parts.merger.lanes.items()})
    finish(went_on)
    assert life.end().items() >= outcome(went_on).items()
    lanes = life.engine.parts.merger.lanes
    assert lanes[Partition("events", "new")].released_order == max(lane.released_order for lane in lanes.values())


def test_rows_by_the_hundred_thousand():
    topics = split(pairs(150_000, seed=8), partitions=2)
    configured = config(
        labels={"window": "9d"}, monitors={"windows": ["1d"]}, alerts=[], source={"poll_records": 16_000}
    )
    life = Life(topics, configured)
    known = []
    while not life.engine.finished or not known:
        life.step(6)
        life.commit()
        life.begin()
        known.append(life.engine.parts.table.next - life.engine.parts.joiner.first_row)
    assert max(known) > 65_536  # more than a segment
    assert life.engine.parts.joiner.first_row > 65_536  # and some of it was let go
    assert outcome(life.engine) == outcome(run(topics, configured))


@pytest.fixture
def damage(tmp_path):
    """A life on a file, and a function that flips a bit of the newest version of a column."""
    life = Life(*MODES["arrival-drop"], url=f"sqlite:///{tmp_path}/riverd.db")

    def flip(table, column, order):
        with sqlite3.connect(tmp_path / "riverd.db") as connection:
            row, data = connection.execute(
                f"SELECT rowid, {column} FROM {table} WHERE {column} IS NOT NULL ORDER BY {order} DESC LIMIT 1"
            ).fetchone()
            changed = data[:-1] + bytes([data[-1] ^ 1])
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (changed, row))

    yield life, flip
    life.store.close()


@pytest.mark.parametrize(
    ("table", "column", "order"), [("checkpoints", "state", "number"), ("blocks", "data", "checkpoint")]
)
def test_a_damaged_checkpoint_is_passed_over(damage, table, column, order):
    life, flip = damage
    for _ in range(3):
        life.step(20)
        life.commit()
    flip(table, column, order)
    loaded = life.begin()
    assert loaded.number == 2
    assert len(loaded.skipped) == 1
    assert "sha256" in loaded.skipped[0]
    assert life.end() == uninterrupted("arrival-drop")


def test_other_settings_are_refused():
    topics, _ = MODES["arrival-drop"]
    life = Life(topics, config(model={"kind": "ftrl", "alpha": 0.2}))
    life.step(3)
    life.commit()
    life.config = config(model={"kind": "ftrl", "alpha": 0.5}, labels={"window": "2h"})
    with pytest.raises(StateMismatchError) as refusal:
        life.begin()
    assert str(refusal.value) == (
        "model 'shops' was learned under other settings:\n"
        "  [labels] window: 1h then, 2h now\n"
        "  [model] alpha: 0.2 then, 0.5 now\n"
        "  Put them back to go on, or give the model another [model] name to learn the stream anew."
    )


def test_a_state_in_another_form_is_refused(monkeypatch):
    life = Life(MODES["arrival-drop"][0], config())
    life.step(3)
    life.commit()
    monkeypatch.setattr(state_format, "FORMAT", state_format.FORMAT + 1)
    with pytest.raises(StateMismatchError, match="stored by another version of riverd"):
        life.begin()


def test_other_alerts_and_polls_are_not_refused():
    topics, _ = MODES["arrival-drop"]
    life = Life(topics, config())
    life.step(3)
    life.commit()
    life.config = config(source={"poll_records": 999}, alerts=[])
    life.begin()
    assert life.end()["model_sha256"] == uninterrupted("arrival-drop")["model_sha256"]


def test_labelled_events_and_labels_of_their_own_do_not_share_a_state():
    topics, _ = MODES["arrival-drop"]
    life = Life(topics, config())
    life.commit()
    life.config = labelled_config()
    with pytest.raises(StateMismatchError, match=r"\[labels\] window: 1h then, None now"):
        life.begin()
