"""What becomes of a record: one test per fate, and the edges between them."""

import pytest

from stream.join_state import COUNTS, Policy
from stream.joiner import Joiner
from stream.merge import EVENT, LABEL
from stream.records import DEAD, SOUND, TOMBSTONE
from stream.rows import RowTable

WINDOW, EARLY, REMEMBER, TICK = 100, 10, 50, 1000
BOOKS = {"messages", "events", "labels"}


def event(id_, at, content=0, *, merged_at=None, flaw=SOUND):
    return EVENT, id_, at, at if merged_at is None else merged_at, content, flaw


def label(id_, at, value=1, *, merged_at=None, flaw=SOUND):
    return LABEL, id_, at, at if merged_at is None else merged_at, value, flaw


def joiner_of(**changes):
    policy = Policy(WINDOW, EARLY, REMEMBER, TICK, at_maturity=False, missing_is_negative=False, labelled=False)
    return Joiner(policy._replace(**changes), RowTable(), cells=2, quiet_us=10 * TICK)


@pytest.fixture
def walk(walk_through):
    """Return a function that walks records through a new joiner, with changes to its policy."""
    return lambda *records, until=0, **changes: walk_through(joiner_of(**changes)).take(records, until)


def fates(walk):
    """The counts that are not zero, without the three that are sums."""
    return {fate: count for fate, count in walk.joiner.fates().items() if count and fate not in BOOKS}


def test_pending_an_event_is_scored_and_waits_for_its_label(walk):
    done = walk(event(1, 0), until=WINDOW)
    assert done.ops == [("score", 0)]
    assert fates(done) == {"pending": 1}


def test_resolved_and_matched_a_label_within_the_window_is_learned(walk):
    done = walk(event(1, 0), event(2, 5), label(1, 50, 0))
    assert done.ops == [("score", 0), ("score", 1), ("resolve+learn", 0, 0)]
    assert fates(done) == {"pending": 1, "resolved": 1, "matched": 1}


def test_a_label_at_the_very_end_of_the_window_matches(walk):
    done = walk(event(1, 0), label(1, WINDOW))
    assert done.ops == [("score", 0), ("resolve+learn", 0, 1)]


def test_expired_and_late_a_label_after_the_window_comes_too_late(walk):
    done = walk(event(1, 0), label(1, WINDOW + 1))
    assert done.ops == [("score", 0), ("drop+expire", 0)]
    assert fates(done) == {"expired": 1, "late": 1}


def test_a_label_from_within_the_window_is_late_when_it_arrives_after_it(walk):
    done = walk(event(1, 0), label(1, 50, merged_at=WINDOW + 1))
    assert fates(done) == {"expired": 1, "late": 1}


def test_a_missing_label_is_a_negative_where_that_is_the_policy(walk):
    done = walk(event(1, 0), until=WINDOW + 1, missing_is_negative=True)
    assert done.ops == [("score", 0), ("resolve+learn+expire", 0, 0)]
    assert fates(done) == {"expired": 1}


def test_at_maturity_a_label_is_learned_when_the_window_ends(walk):
    done = walk(event(1, 0), event(2, 1), label(2, 5, 0), label(1, 9), event(3, 102), at_maturity=True)
    assert done.ops == [
        ("score", 0),
        ("score", 1),
        ("resolve", 1, 0),
        ("resolve", 0, 1),
        ("learn", 0, 1),  # in the order of the events, not of the labels
        ("learn", 1, 0),
        ("score", 4),
    ]


def test_waiting_a_label_may_come_before_its_event(walk):
    assert fates(walk(label(1, 0), until=EARLY)) == {"waiting": 1}
    done = walk(label(1, 0), event(1, EARLY))
    assert done.ops == [("score", 1), ("resolve+learn", 1, 1)]
    assert fates(done) == {"resolved": 1, "matched": 1}


def test_a_label_at_the_time_of_its_event_comes_first_and_waits_no_time(walk):
    done = walk(label(1, 7), event(1, 7), early_us=0)
    assert done.ops == [("score", 1), ("resolve+learn", 1, 1)]


def test_orphan_a_label_whose_event_does_not_come(walk):
    done = walk(label(1, 0), event(1, EARLY + 1))
    assert done.ops == [("score", 1)]
    assert fates(done) == {"orphan": 1, "pending": 1}


def test_orphan_a_label_that_is_older_than_its_event_answers_an_earlier_one(walk):
    done = walk(event(1, 20), label(1, 20 - EARLY - 1, merged_at=30), label(1, 20 - EARLY, 0, merged_at=30))
    assert done.ops == [("score", 0), ("resolve+learn", 0, 0)]
    assert fates(done) == {"orphan": 1, "resolved": 1, "matched": 1}


def test_a_waiting_label_does_not_match_an_event_too_far_from_it(walk):
    too_old = event(1, 20 - WINDOW - 1, merged_at=21)
    assert fates(walk(label(1, 20), too_old)) == {"waiting": 1, "expired": 1}
    assert fates(walk(label(1, 20), event(1, 20 - WINDOW, merged_at=21))) == {"matched": 1, "resolved": 1}


def test_duplicate_labels_a_label_that_says_the_same_again_changes_nothing(walk):
    done = walk(label(1, 0), label(1, 0), event(1, 5), label(1, 6))
    assert done.ops == [("score", 2), ("resolve+learn", 2, 1)]
    assert fates(done) == {"duplicate_labels": 2, "matched": 1, "resolved": 1}


def test_correction_a_label_that_says_otherwise_stands_from_then_on(walk):
    done = walk(event(1, 0), label(1, 1, 1), label(1, 2, 0), label(1, 3, 0), label(1, 4, 1))
    assert done.ops == [("score", 0), ("resolve+learn", 0, 1), ("correct", 0, 0), ("correct", 0, 1)]
    assert done.label_times == [(0, 1), (0, 2), (0, 4)]
    assert fates(done) == {"resolved": 1, "matched": 1, "correction": 2, "duplicate_labels": 1}


def test_correction_of_a_label_that_waits(walk):
    done = walk(label(1, 0, 1), label(1, 1, 0), event(1, 2))
    assert done.ops == [("score", 2), ("resolve+learn", 2, 0)]
    assert fates(done) == {"resolved": 1, "matched": 1, "correction": 1}


def test_at_maturity_what_is_learned_is_the_corrected_label(walk):
    done = walk(event(1, 0), label(1, 1, 1), label(1, 2, 0), until=WINDOW + 1, at_maturity=True)
    assert done.ops == [("score", 0), ("resolve", 0, 1), ("correct", 0, 0), ("learn", 0, 0)]


def test_duplicate_events_an_event_that_comes_again_is_not_scored_again(walk):
    done = walk(event(1, 0, 14), event(1, 0, 14, merged_at=3), label(1, 5), event(1, 0, 14, merged_at=9))
    assert done.ops == [("score", 0), ("resolve+learn", 0, 1)]
    assert fates(done) == {"duplicate_events": 2, "resolved": 1, "matched": 1}


@pytest.mark.parametrize("other", [event(1, 3, 14), event(1, 0, 16, merged_at=3), event(1, 0, 0, merged_at=3)])
def test_conflict_another_event_with_the_id_is_rejected(walk, other):
    done = walk(event(1, 0, 14), other)
    assert done.ops == [("score", 0)]
    assert done.rejected == [(1, "conflict")]
    assert fates(done) == {"pending": 1, "conflict": 1}


def test_an_id_is_forgotten_some_time_after_it_expired(walk):
    end = WINDOW + REMEMBER
    assert fates(walk(event(1, 0), label(1, end))) == {"expired": 1, "late": 1}
    assert fates(walk(event(1, 0), label(1, end + 1))) == {"expired": 1, "waiting": 1}
    assert fates(walk(event(1, 0), event(1, end))) == {"expired": 1, "conflict": 1}
    assert fates(walk(event(1, 0), event(1, end + 1))) == {"expired": 1, "pending": 1}


def test_ids_that_share_64_bits_are_told_apart_by_the_rest(walk):
    done = walk(event(2, 0), event(3, 0, 10), label(3, 1), label(2, 2, 0))
    assert done.ops == [("score", 0), ("score", 1), ("resolve+learn", 1, 1), ("resolve+learn", 0, 0)]


def test_an_event_whose_window_has_passed_is_scored_and_expires_at_once(walk):
    done = walk(event(1, 200), event(2, 200 - WINDOW - 1, merged_at=200))
    assert done.ops == [("score", 0), ("score", 1), ("drop+expire", 1)]
    assert fates(done) == {"pending": 1, "expired": 1}
    assert walk(event(1, 200), event(2, 200 - WINDOW, merged_at=200)).ops == [("score", 0), ("score", 1)]


def test_events_out_of_order_expire_in_the_order_of_their_times(walk):
    late = [
        event(2, 12, merged_at=20),
        event(3, 11, merged_at=20),
        event(4, 20),
        event(5, 20),
        event(6, 12, merged_at=20),
    ]
    done = walk(event(1, 20), *late, until=20 + WINDOW + 1)
    assert done.ops[6:] == [
        ("drop+expire", 2),
        ("drop+expire", 1),
        ("drop+expire", 5),
        ("drop+expire", 0),
        ("drop+expire", 3),
        ("drop+expire", 4),
    ]


def test_of_equal_times_the_event_that_came_in_order_expires_first(walk):
    done = walk(event(1, 5), event(2, 9), event(3, 5, merged_at=9), event(4, 5, merged_at=9), until=9 + WINDOW + 1)
    assert done.ops[4:] == [("drop+expire", 0), ("drop+expire", 2), ("drop+expire", 3), ("drop+expire", 1)]


def test_thousands_of_events_may_be_out_of_order(walk):
    backwards = [event(i, 5000 - i, merged_at=5000) for i in range(3000)]
    done = walk(*backwards, until=9000, window_us=5000)
    drops = [place for what, place in done.ops if what == "drop+expire"]
    assert drops == list(range(2999, 1000, -1))  # those from before 4000, by their times


def test_dead_and_tombstones_are_counted_in_their_place(walk):
    done = walk(
        event(1, 0, flaw=DEAD), label(1, 0, flaw=DEAD), label(1, 0, flaw=TOMBSTONE), event(1, 0, flaw=TOMBSTONE)
    )
    assert done.ops == []
    assert done.rejected == [(0, "dead"), (1, "dead")]
    assert fates(done) == {"dead": 2, "tombstones": 2}


def test_labelled_events_are_scored_resolved_and_learned_in_one(walk):
    done = walk(event(1, 0, 1), event(1, 5, 0), labelled=True, remember_us=0)
    assert done.ops == [("score+resolve+learn", 0, 1), ("score+resolve+learn", 1, 0)]
    assert fates(done) == {"resolved": 2}


def test_the_id_of_a_labelled_event_may_be_remembered(walk):
    twice = [event(1, 0, 1), event(1, 0, 1, merged_at=9), event(1, 0, 0, merged_at=9)]
    done = walk(*twice, event(1, REMEMBER, 1), event(1, REMEMBER + 1, 1), labelled=True, window_us=0)
    assert [op[:2] for op in done.ops] == [("score+resolve+learn", 0), ("score+resolve+learn", 4)]
    assert done.rejected == [(2, "conflict"), (3, "conflict")]
    assert fates(done) == {"resolved": 2, "duplicate_events": 1, "conflict": 2}


def test_while_learning_is_paused_labels_are_joined_and_not_learned(walk_through):
    walk = walk_through(joiner_of())
    walk.joiner.learning = False
    walk.take([event(1, 0), event(2, 0), label(1, 1)], WINDOW + 1)
    walk.joiner.learning = True
    walk.take([event(3, 200), label(3, 201)])
    assert walk.ops[2:4] == [("resolve+drop", 0, 1), ("drop+expire", 1)]
    assert walk.ops[-1] == ("resolve+learn", 3, 1)
    assert fates(walk) == {"resolved": 2, "matched": 2, "expired": 1}


def test_a_tick_comes_when_its_time_is_reached_and_after_what_expires_before_it(walk):
    done = walk(event(1, TICK - WINDOW - 1), event(2, TICK - WINDOW), label(9, TICK), event(3, TICK + WINDOW))
    assert done.ops == [
        ("score", 0),
        ("score", 1),
        ("drop+expire", 0),
        ("tick", TICK),
        ("drop+expire", 1),
        ("score", 3),
    ]


def test_ticks_in_which_nothing_can_change_are_left_out(walk):
    done = walk(event(1, 0), event(2, 100 * TICK + 5))
    ticks = [at // TICK for what, at in done.ops if what == "tick"]
    assert ticks == [*range(1, 12), 100]  # quiet from ten ticks after the last record


def test_here_is_a_test_for_every_fate():
    names = [name for name in globals() if name.startswith("test_")]
    assert [fate for fate in COUNTS[4:] if not any(fate in name for name in names)] == []
