"""The screen: never wider than it may be, whatever the status; and what must be on it is on it."""

import io
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType

from riverd.screen.frame import sparkline
from riverd.screen.notation import UNDEFINED
from riverd.screen.terminal import LiveScreen, log_line, render, summary
from riverd.status import AlertEvent, AlertStatus, CheckpointStatus, Status, WindowStatus

HOUR = 3600 * 1_000_000
NOW = 1360328400 * 1_000_000  # 2013-02-08 13:00 UTC

EMPTY = Status(model="m", phase="compiling", watermark=None, seconds=0.0, events_per_second=0.0, counts={})
FIRED = AlertEvent("logloss-high", "firing", NOW - 30 * HOUR, NOW - 30 * HOUR, "logloss", "1d", 0.6123, 0.6)
RESOLVED = AlertEvent("auc-low", "resolved", NOW - 3 * HOUR, NOW - 9 * HOUR, "roc_auc", "7d", 0.6712, 0.66)
TYPICAL = Status(
    model="late-flights",
    phase="reading",
    watermark=NOW,
    seconds=14.2,
    events_per_second=12043.7,
    counts={"events": 152_104, "pending": 1_204, "resolved": 147_212, "expired": 3_688, "conflict": 0}
    | {"labels": 148_000, "matched": 147_212, "late": 788, "dead": 3},
    windows=[
        WindowStatus("1d", True, NOW - 24 * HOUR, 989, 967, 0.4312, 0.8712, 0.7432, 0.231),
        WindowStatus("1d", False, NOW, 940, 712, 0.5312, None, math.nan, 0.331),
    ],
    alerts=[
        AlertStatus("auc-low", "quiet", None, "roc_auc", "7d", 0.6712, 0.65, above=False),
        AlertStatus("logloss-high", "firing", NOW - 30 * HOUR, "logloss", "1d", 0.7123, 0.6, above=True),
    ],
    events=[FIRED, RESOLVED],
    checkpoint=CheckpointStatus(12, 150_004, 1_940_000, 41.2, 0.84),
    history=[(NOW + i * HOUR, 0.4 + 0.01 * (i % 7), 0.75) for i in range(200)],
    progress=0.45,
)

counts = st.integers(0, 2**62)
times = st.integers(-(2**62), 2**62)
floats = st.floats()
metric = st.none() | floats
names = st.text(max_size=40)  # with line ends, escapes and double-width letters
windows = st.builds(WindowStatus, names, st.booleans(), times, counts, counts, metric, metric, metric, metric)
alerts = st.builds(
    AlertStatus,
    rule=names,
    state=st.sampled_from(["quiet", "pending", "firing"]),
    since=st.none() | times,
    metric=names,
    window=names,
    value=metric,
    bound=floats,
    above=st.booleans(),
)
changes = st.sampled_from(["firing", "resolved"])
events = st.builds(AlertEvent, names, changes, times, times, names, names, floats, floats)
fates = [
    "events",
    "labels",
    "pending",
    "resolved",
    "expired",
    "matched",
    "late",
    "duplicate_events",
    "conflict",
    "dead",
]
statuses = st.builds(
    Status,
    model=names,
    phase=st.sampled_from(["compiling", "reading", "waiting", "stopping", "done"]),
    watermark=st.none() | times,
    seconds=floats,
    events_per_second=floats,
    counts=st.dictionaries(st.sampled_from(fates), counts),
    windows=st.lists(windows, max_size=6),
    alerts=st.lists(alerts, max_size=12),
    events=st.lists(events, max_size=15),
    checkpoint=st.none() | st.builds(CheckpointStatus, counts, counts, counts, floats, floats),
    history=st.lists(st.tuples(times, floats, floats), max_size=300),
    overall=st.none() | windows,
    progress=st.none() | st.floats(0, 1),
)


def drawn(what: RenderableType, width: int) -> list[str]:
    """The lines on a terminal that is wider by far, so that nothing is wrapped or cut by it."""
    console = Console(file=io.StringIO(), width=width + 500, force_terminal=True, color_system=None)
    console.print(what)
    return console.file.getvalue().splitlines()


def wrapped(what: RenderableType, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(what)
    return console.file.getvalue().splitlines()


@settings(deadline=None)
@given(statuses, st.sampled_from([60, 80, 120]))
def test_no_status_breaks_the_frame(status, width):
    frame = render(status, width=width)
    lines = wrapped(frame, width)
    assert len(lines) == len(drawn(frame, width))  # cut, not wrapped
    for text in lines:
        assert cell_len(text) <= width
        assert text.isprintable()


@settings(deadline=None)
@given(statuses, st.sampled_from([60, 80, 120]))
def test_no_status_breaks_the_summary(status, width):
    for text in wrapped(summary(status, width=width, next_steps=[("riverd top", "to look again")]), width):
        assert cell_len(text) <= width
        assert text.isprintable()


@settings(deadline=None)
@given(statuses)
def test_no_status_breaks_the_log_line(status):
    assert log_line(status).isprintable()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_frame_fits_a_terminal_of_24_rows_and_wraps_nothing(width):
    frame = render(TYPICAL, width=width, height=23)
    lines = wrapped(frame, width)
    assert len(lines) <= 23
    assert [text.rstrip() for text in lines] == [text.rstrip() for text in drawn(frame, width)]


@pytest.mark.parametrize("height", range(14, 40))
def test_the_log_and_quiet_rules_give_way_when_rows_are_short(height):
    status = replace(TYPICAL, alerts=TYPICAL.alerts * 5, events=TYPICAL.events * 5)
    assert len(wrapped(render(status, width=80, height=height), 80)) <= height


def test_when_rows_are_short_the_firing_rule_stays():
    status = replace(TYPICAL, alerts=[TYPICAL.alerts[0]] * 9 + [TYPICAL.alerts[1]])
    assert any("logloss-high" in text for text in wrapped(render(status, width=80, height=18), 80))


def test_the_key_figures_are_on_the_frame():
    text = "\n".join(wrapped(render(TYPICAL, width=120), 120))
    for part in (
        "late-flights  reading",
        "2013-02-08 13:00 UTC",
        "45 %  14s, 17s left",
        "12,044 events/s",
        "1,204 pending",
        "147,212 matched",
        "3,688 never labelled",
        "788 labels too late",
        "3 dead letters",
        "989    97.8 %   0.4312  0.871  0.743    23.1 %",
        f"0.5312      {UNDEFINED}      {UNDEFINED}    33.1 %",
        "▲ logloss-high  logloss 1d  0.7123  above 0.6000  firing for 1d 6h, since 02-07 07:00",
        "▲ 2013-02-07 07:00  logloss-high fired: logloss 1d 0.6123 > 0.6000",
        "▼ 2013-02-08 10:00  auc-low resolved after 6h: roc_auc 7d 0.6712 > 0.6600",
        "checkpoint 12: 150,004 events, 1.9 MB, 41 ms, of them 0.8 ms pause",
    ):
        assert part in text
    assert "conflicts" not in text  # fates that befell nothing are left out


def test_an_engine_that_has_not_begun_says_that_it_compiles():
    lines = wrapped(render(EMPTY, width=80), 80)
    assert lines[0].startswith("m  compiling, which takes some 20 s")


def test_the_summary_tells_the_run():
    text = " ".join(
        " ".join(wrapped(summary(TYPICAL, width=80, next_steps=[("riverd top", "look again")]), 80)).split()
    )
    for part in (
        "152,104 events, up to 2013-02-08 13:00 UTC, in 14s, 10,712 events a second.",
        "Over the last 1d, 967 predictions",
        "Logloss 0.4312; always answering the rate of positives, 23.1 %, would have cost 0.4949.",
        "Normalised entropy 0.871: 12.9 % better than that rate.",
        "AUC 0.743: of a positive and a negative, the positive scored higher 74 times in 100.",
        "152,104 events: 147,212 got their label in time, 1,204 still wait for it, 3,688 never got one.",
        "148,000 labels: 147,212 matched an event, 788 came too late.",
        "3 messages could not be read: riverd deadletters",
        "▲ 2013-02-07 07:00 logloss-high fired",
        "Still firing: logloss-high.",
        "riverd top look again",
    ):
        assert part in text
    assert "do not close" not in text


def test_the_whole_run_is_judged_where_it_is_known():
    overall = WindowStatus("all", True, NOW, 150_000, 140_000, 0.55, 1.1, 0.6, 0.24)
    text = " ".join(wrapped(summary(replace(TYPICAL, overall=overall), width=120), 120))
    assert "Over the whole run, 140,000 predictions" in text
    assert "10.0 % worse than that rate" in text


def test_books_that_do_not_close_are_reported():
    lost = replace(TYPICAL, counts=TYPICAL.counts | {"pending": 1_200})
    text = " ".join(wrapped(summary(lost, width=120), 120))
    assert "The books do not close: 4 events are unaccounted for." in text


def test_a_peak_is_seen_however_narrow_the_line():
    assert sparkline([1.0] * 501 + [9.0] + [1.0] * 498, width=10) == "▁▁▁▁▁█▁▁▁▁"
    assert sparkline([3.0, 1.0, 3.0, 3.0], width=2, worst=min) == "▁█"
    assert sparkline([1.0, math.nan, 2.0], width=3) == "▁ █"
    assert sparkline([], width=10) == sparkline([1.0], width=0) == ""


def screen(*, terminal: bool) -> tuple[LiveScreen, io.StringIO, list[float]]:
    now, out = [0.0], io.StringIO()
    console = Console(
        file=out, width=80, height=24, force_terminal=terminal, color_system=None, _environ={"TERM": "xterm"}
    )
    return LiveScreen(console, clock=lambda: now[0]), out, now


def test_on_a_terminal_at_most_eight_frames_a_second_are_drawn():
    live, out, now = screen(terminal=True)
    with live:
        for step in range(100):  # two seconds
            now[0] = step / 50
            live.update(TYPICAL)
    assert 12 <= out.getvalue().count("late-flights") <= 16


def test_elsewhere_there_is_a_line_every_five_seconds_and_one_for_each_alert():
    live, out, now = screen(terminal=False)
    with live:
        for second in range(12):
            now[0] = second
            live.update(replace(TYPICAL, events=[FIRED] if second < 7 else [FIRED, RESOLVED]))
    assert out.getvalue().splitlines() == [
        "2013-02-07 07:00  logloss-high fired: logloss 1d 0.6123 > 0.6000",
        log_line(TYPICAL),
        log_line(TYPICAL),
        "2013-02-08 10:00  auc-low resolved after 6h: roc_auc 7d 0.6712 > 0.6600",
        log_line(TYPICAL),
    ]
    assert log_line(TYPICAL) == (
        "reading: 152,104 events until 2013-02-08 13:00 UTC, 12,044 a second, 45.0 % read;"
        " 1d: logloss 0.4312, AUC 0.743, labelled 97.8 %"
    )


def test_what_stands_still_is_in_the_first_line():
    first, *_ = drawn(render(replace(TYPICAL, paused_by="rule loss"), width=100), 100)
    assert "learning paused by rule loss" in first
    first, *_ = drawn(render(replace(TYPICAL, stalled_since=0), width=100), 100)
    assert "labels stalled" in first
    assert not any("paused" in row for row in drawn(render(TYPICAL, width=100), 100))
