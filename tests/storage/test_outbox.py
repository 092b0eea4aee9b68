"""The outbox: written with a checkpoint and once, read in order, bounded."""

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from storage import outbox
from storage.checkpoint import Checkpoint
from storage.outbox import (
    Backlog,
    Notice,
    mark_delivered,
    mark_failed,
    mark_given_up,
    read_backlog,
    read_due,
    read_repeated,
    read_unresolved,
)
from storage.tables import outbox as table


def notice(rule="loss", state="firing", started_at=10, channel="webhook", body=b"{}"):
    return Notice(rule, started_at, state, channel, body)


class Box:
    """An outbox with a wall clock that is set."""

    def __init__(self, make_store):
        self.now = 100
        self.store = make_store(now=lambda: self.now)

    def commit(self, *notices):
        self.store.commit(Checkpoint(b"", notices=notices))

    def due(self, *, at=1000, channel="webhook", limit=99):
        with self.store.database.reading() as connection:
            return read_due(connection, self.store.model, channel, at=at, limit=limit)

    def unresolved(self, channel="webhook"):
        with self.store.database.reading() as connection:
            return [pending.notice for pending in read_unresolved(connection, self.store.model, channel)]

    def repeated(self, *, over_since, channel="webhook"):
        with self.store.database.reading() as connection:
            told = read_repeated(connection, self.store.model, channel, over_since=over_since)
        return [(pending.notice.rule, pending.notice.state) for pending in told]

    def backlog(self, channel="webhook"):
        with self.store.database.reading() as connection:
            return read_backlog(connection, self.store.model, channel)

    def deliver(self, pending):
        with self.store.database.writing() as connection:
            mark_delivered(connection, pending.number, at=self.now)

    def fail(self, pending, *, next_attempt_at, error="refused", **how):
        with self.store.database.writing() as connection:
            mark_failed(connection, pending.number, next_attempt_at=next_attempt_at, error=error, **how)

    def give_up(self, pending):
        with self.store.database.writing() as connection:
            mark_given_up(connection, pending.number, at=self.now, error="no, because")

    def rows(self):
        with self.store.database.reading() as connection:
            return connection.execute(select(table).order_by(table.c.number)).all()


@pytest.fixture
def box(open_store):
    made = Box(partial(open_store, "m"))
    yield made
    made.store.close()


def test_what_is_written_is_due_at_once_until_it_is_delivered(box):
    box.commit(notice(body=b'{"value":1}'))
    assert box.due(at=99) == []
    (pending,) = box.due(at=100)
    assert (pending.notice, pending.created_at, pending.attempts) == (notice(body=b'{"value":1}'), 100, 0)
    assert pending.id == notice().id("m")
    assert box.backlog() == Backlog(1, 100)
    box.deliver(pending)
    assert box.due() == []
    assert box.backlog() == Backlog(0, None)
    assert box.rows()[0].attempts == 1


def test_written_again_a_notice_is_neither_doubled_nor_due_again(box):
    box.commit(notice())
    box.deliver(box.due()[0])
    before = box.rows()
    box.now = 500
    box.commit(notice(), notice("other"))
    assert box.rows()[:1] == before
    assert [pending.notice.rule for pending in box.due()] == ["other"]


def test_the_id_tells_all_that_differs():
    notices = [
        notice(), notice("other"), notice(state="resolved"), notice(started_at=11), notice(channel="log")
    ]  # fmt: skip
    assert len({each.id("m") for each in notices} | {notice().id("n")}) == 6
    assert notice(body=b"[]").id("m") == notice().id("m")


def test_a_failure_waits_and_holds_back_its_own_rule_alone(box):
    box.commit(notice(), notice("other"))
    box.commit(notice(state="resolved"))
    first, other = box.due()
    assert [first.notice.rule, other.notice.rule] == ["loss", "other"]  # the end of "loss" comes after its beginning
    box.fail(first, next_attempt_at=700, error="x" * 5000)
    assert [pending.notice.rule for pending in box.due(at=699)] == ["other"]
    (again, _) = box.due(at=700)
    assert (again.notice.state, again.attempts, again.id) == ("firing", 1, first.id)
    assert box.rows()[0].last_error == "x" * 1000
    box.deliver(again)
    assert ("loss", "resolved") in [(p.notice.rule, p.notice.state) for p in box.due(at=700)]
    assert box.rows()[0].last_error is None


def test_channels_and_models_keep_apart(box, open_store):
    open_store("other", now=lambda: 100).commit(Checkpoint(b"", notices=[notice("theirs")]))
    box.commit(notice(), notice(channel="log"))
    assert [pending.notice for pending in box.due()] == [notice()]
    assert [pending.notice for pending in box.due(channel="log")] == [notice(channel="log")]
    assert box.backlog().waiting == 1


def test_an_end_knows_when_the_alert_began(box):
    box.commit(notice())
    box.now = 900
    box.commit(notice(state="resolved"), notice("old", state="resolved"))
    began = {(row.rule, row.state): row.began_at for row in box.rows()}
    # the beginning of "old" was pruned, or told to another channel
    assert began == {("loss", "firing"): 100, ("loss", "resolved"): 100, ("old", "resolved"): 900}


def test_what_still_fires_is_what_was_told_and_not_taken_back(box):
    box.commit(notice(), notice("told"), notice("over"))
    for pending in box.due()[1:]:
        box.deliver(pending)
    box.commit(notice("over", state="resolved"))
    assert box.unresolved() == [notice("told")]  # "loss" was not told, "over" is about to be taken back
    assert box.unresolved("log") == []


def test_what_is_over_is_repeated_for_a_while(box):
    box.commit(notice(), notice("fires"), notice("untold"))
    for pending in box.due()[:2]:
        box.deliver(pending)
    box.commit(notice(state="resolved"))
    box.now = 500  # heard only then
    box.deliver(next(pending for pending in box.due() if pending.notice.state == "resolved"))
    assert box.repeated(over_since=500) == [("fires", "firing"), ("loss", "resolved")]
    assert box.repeated(over_since=501) == [("fires", "firing")]
    box.commit(notice(started_at=11))
    assert box.repeated(over_since=0) == [("fires", "firing")]  # "loss" fires again, but nobody was told yet


def test_what_is_given_up_holds_nothing_back_and_counts_as_told_nowhere(box):
    box.commit(notice(), notice(state="resolved"))
    box.give_up(box.due()[0])
    assert (box.rows()[0].attempts, box.rows()[0].last_error) == (1, "no, because")
    assert [pending.notice.state for pending in box.due()] == ["resolved"]
    assert box.unresolved() == []
    assert box.repeated(over_since=0) == []
    assert box.backlog().waiting == 1


def test_an_attempt_that_nobody_heard_says_nothing_against_the_message(box):
    box.commit(notice())
    box.fail(box.due()[0], next_attempt_at=100, refused=False)
    assert (box.rows()[0].attempts, box.rows()[0].last_error) == (0, "refused")


def test_it_is_bounded(box, monkeypatch):
    monkeypatch.setattr(outbox, "KEEP", 3)
    box.commit(*(notice(started_at=at) for at in range(10)))
    assert [row.started_at for row in box.rows()] == [7, 8, 9]


def test_what_still_fires_is_kept_however_much_comes_after_it(box, monkeypatch):
    monkeypatch.setattr(outbox, "KEEP", 3)
    box.commit(notice("fires"), notice("fires", channel="log"))
    box.commit(*(notice(started_at=at) for at in range(10)))
    assert [(row.rule, row.started_at) for row in box.rows()] == [
        ("fires", 10), ("fires", 10), ("loss", 7), ("loss", 8), ("loss", 9)
    ]  # fmt: skip


steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from("abc")),
        st.tuples(st.just("deliver"), st.integers(0, 5)),
        st.tuples(st.just("fail"), st.integers(0, 5)),
        st.tuples(st.just("wait"), st.integers(1, 50)),
    ),
    max_size=30,
)


@settings(max_examples=25, deadline=None)
@given(steps)
def test_each_rule_is_told_in_order_whatever_fails(fresh_store, steps):
    """Against lists: of each rule only the head is due, and not before its time."""
    box = Box(fresh_store)
    queues, written = {}, 0
    for step, argument in steps:
        heads = sorted(queue[0] for queue in queues.values() if queue and queue[0][1] <= box.now)
        due = box.due(at=box.now)
        assert [(pending.notice.started_at, pending.notice.rule) for pending in due] == [
            (number, rule) for number, _, rule in heads
        ]
        if step == "write":
            written += 1
            box.commit(notice(argument, started_at=written))
            queues.setdefault(argument, []).append((written, box.now, argument))
        elif step == "wait":
            box.now += argument
        elif due:
            pending = due[argument % len(due)]
            queue = queues[pending.notice.rule]
            if step == "deliver":
                box.deliver(pending)
                queue.pop(0)
            else:
                box.fail(pending, next_attempt_at=box.now + 20)
                queue[0] = (queue[0][0], box.now + 20, queue[0][2])
    box.store.close()
