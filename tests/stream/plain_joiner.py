"""The joiner as plain Python of dicts and lists: the oracle for the compiled one."""

from collections import Counter
from types import SimpleNamespace

import numpy as np

from stream.join_state import COUNTS
from stream.merge import BEGINNING, EVENT
from stream.records import DEAD, SOUND

# Kinds beside EVENT and LABEL: time passes without a record; learning is paused or resumed; a command thaws expiry.
PASS, TOGGLE, THAW = 2, 3, 4
ENOUGH_POSITIVES = 1.5  # so few that streams of few ids can stall


class Oracle:
    """Reaches each record's merged time, then decides its fate."""

    def __init__(self, policy, *, quiet_us, max_waiting):
        self.policy, self.quiet_us, self.max_waiting = policy, quiet_us, max_waiting
        self.counts = Counter()
        self.ops, self.label_times, self.rejected, self.learn = [], [], [], "learn"
        self.rows, self.waiting = [], []  # rows still known; places for labels, matched ones too until the first leaves
        self.tick, self.last, self.newest = None, BEGINNING, BEGINNING
        self.scored, self.expiry, self.since, self.seen = 0, "flowing", None, Counter()

    def reach(self, time):
        step = self.policy.tick_us
        if self.tick is None:
            self.tick = (time // step + 1) * step
        while time >= self.tick:
            self.close(self.tick)
            self.ops.append(("tick", self.tick))
            if self.policy.missing_is_negative:
                self.judge(*self.maturing())
            quiet = self.tick - self.last > self.quiet_us
            self.tick = max(self.tick + step, time // step * step if quiet else 0)
        self.close(time)

    def maturing(self):
        """Positives expected, and come, among the newest rows about to expire that suffice to tell."""
        limit = self.tick + self.policy.tick_us - self.policy.window_us
        expected = came = 0
        for row in reversed(self.rows[: np.searchsorted([row.time for row in self.rows], limit)]):
            if row.number and expected < ENOUGH_POSITIVES:  # the first is served a logit of 0, which expects nothing
                expected += 1 / (1 + np.exp(-row.number / 8))
                came += row.label == 1
        return expected, came

    def judge(self, expected, came):
        enough, age = expected >= ENOUGH_POSITIVES, self.tick - (self.since or 0)
        well, ill = enough and came / expected >= 0.5, enough and came / expected < 0.2
        if self.expiry == "thawed" and not well and age <= self.policy.window_us:
            self.seen["a thaw outlived a lull"] += not enough
            self.seen["a thaw outlived a stall"] += int(ill)
            return
        if self.expiry in ("flowing", "thawed"):
            before, self.expiry = self.expiry, "stalled" if ill else "flowing"
            self.since = self.tick if ill else None
            self.seen["stalled"] += int(ill)
            self.seen["stalled again after a thaw"] += int(ill and before == "thawed")
        elif not enough or well:
            self.seen[f"well after {self.expiry}"] += 1
            self.expiry = "flowing"
        elif self.expiry == "stalled" and age > self.policy.window_us:
            self.seen["waited in vain"] += 1
            self.expiry = "overridden"

    def thaw(self, time):
        if self.expiry == "stalled":
            self.seen["thawed"] += 1
            self.expiry, self.since = "thawed", time

    def close(self, limit):
        due = [] if self.expiry == "stalled" else self.rows
        open_rows = [row for row in due if not row.closed and row.time + self.policy.window_us < limit]
        for row in sorted(open_rows, key=lambda row: (row.time, row.out_of_order, row.place)):
            row.closed = True
            if row.fate == "resolved" and self.policy.at_maturity:
                self.ops.append((self.learn, row.place, row.label))
            elif row.fate == "pending":
                row.fate = "expired"
                negative = self.policy.missing_is_negative
                resolved = (f"resolve+{self.learn}+expire", row.place, 0)
                self.ops.append(resolved if negative else ("drop+expire", row.place))
        kept = self.policy.window_us + self.policy.remember_us
        while self.rows and self.rows[0].closed and self.rows[0].time + kept < limit:
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
        row.number, self.scored = self.scored, self.scored + 1
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


def told_by_oracle(stream, policy, **sizes):
    oracle, place = Oracle(policy, **sizes), 0
    for record in stream:
        if record[3] != BEGINNING:
            oracle.reach(record[3])
        if record[0] == TOGGLE:
            oracle.learn = "drop" if oracle.learn == "learn" else "learn"
        elif record[0] == THAW:
            oracle.thaw(record[3])
        elif record[0] != PASS:
            oracle.take(place, *record)
            oracle.last = record[3]
            place += 1
    if stream[-1][3] != BEGINNING:
        oracle.reach(stream[-1][3])
    return oracle
