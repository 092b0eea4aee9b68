"""Brings together what two engines said of the same event, once both know how it ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitors.paired import PairedLosses
from riverd.engine import Engine
from stream.joiner import Step
from stream.merge import Ordered
from stream.records import EXPIRED, FATE_MASK, FIRST_POSITIVE, PENDING, RESOLVED, SCORE
from stream.source import Partition

AT_ONCE = 1 << 16  # answers of both together; fewer are not worth bringing together
LOOK = 8192  # rows looked at together for the first that is open

Ints = NDArray[np.int64]


class Answers(NamedTuple):
    """Predictions of one engine whose outcome is known, in the order of its rows, n of them."""

    partition: Ints  # as numbered by ``Places``
    position: Ints
    time: Ints
    logit: NDArray[np.float64]  # as served
    positive: NDArray[np.bool_]  # the label that came first, whatever corrected it later

    def of(self, which: NDArray[np.bool_] | Ints | slice) -> Answers:
        """Some of them."""
        return Answers(
            self.partition[which], self.position[which], self.time[which], self.logit[which], self.positive[which]
        )


NONE = Answers(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.bool_))


def one_after_another(parts: Sequence[Answers]) -> Answers:
    """All of them in this order."""
    parts = parts or [NONE]
    return Answers(
        np.concatenate([each.partition for each in parts]),
        np.concatenate([each.position for each in parts]),
        np.concatenate([each.time for each in parts]),
        np.concatenate([each.logit for each in parts]),
        np.concatenate([each.positive for each in parts]),
    )


class Places:
    """Numbers for partitions, the same for both engines."""

    def __init__(self) -> None:
        self._numbers: dict[Partition, int] = {}

    def number_of(self, partition: Partition) -> int:
        return self._numbers.setdefault(partition, len(self._numbers))


class Answered:
    """Follows an engine and collects its predictions in the order of events, each once its outcome is known.

    A quick label waits for the slow ones of earlier events, so that what is judged are whole cohorts.

    Attributes
    ----------
    answers : Answers
        Those that nobody has taken yet.
    frontier : dict of int
        By partition: the last position whose outcome is known, judged or not.
    """

    def __init__(self, engine: Engine, places: Places) -> None:
        self._engine = engine
        self._places = places
        self._next = 0  # the first row whose outcome was open
        self._asked: deque[Ints] = deque()  # (2, n) each: lane and position of the rows from there on
        self._blocks: list[Answers] = []
        self.waiting = 0  # answers that nobody has taken yet
        self.frontier: dict[int, int] = {}
        labels = engine.config.labels
        self._missing_is_negative = labels is not None and labels.missing == "negative"
        engine.observers.append(self._observe)

    def take(self) -> Answers:
        """What has come since."""
        taken = one_after_another(self._blocks)
        self._blocks.clear()
        self.waiting = 0
        return taken

    def _observe(self, step: Step, ordered: Ordered) -> None:
        records = step.ops.record[np.flatnonzero(step.ops.code & SCORE)]
        if len(records):
            events = ordered.events
            self._asked.append(np.stack([events.partition[records].astype(np.int64), events.position[records]]))
        table = self._engine.parts.table
        first, last = self._next - table.base, table.next - table.base
        end = first
        while end < last:
            is_open = table.rows.status[end : min(end + LOOK, last)] & FATE_MASK == PENDING
            if is_open.any():
                end += int(is_open.argmax())
                break
            end += len(is_open)
        if end > first:
            self._collect(first, end)
            self._next += end - first

    def _collect(self, first: int, end: int) -> None:
        rows = self._engine.parts.table.rows
        status, (lanes, positions) = rows.status[first:end], self._asked_first(end - first)
        partitions = np.zeros(len(lanes), np.int64)
        by_number = {lane.number: lane.partition for lane in self._engine.parts.merger.lanes.values()}
        for lane in np.unique(lanes).tolist():
            mine, number = lanes == lane, self._places.number_of(by_number[lane])
            partitions[mine] = number
            self.frontier[number] = int(positions[mine].max())
        fate = status & FATE_MASK
        judged = (fate == RESOLVED) | ((fate == EXPIRED) & self._missing_is_negative)
        answers = Answers(
            partitions, positions, rows.time[first:end], rows.logit[first:end], status & FIRST_POSITIVE != 0
        ).of(judged)
        self._blocks.append(answers)
        self.waiting += len(answers.time)

    def _asked_first(self, count: int) -> Ints:
        taken: list[Ints] = []
        while count:
            block = self._asked.popleft()
            if block.shape[1] > count:
                self._asked.appendleft(block[:, count:])
                block = block[:, :count]
            taken.append(block)
            count -= block.shape[1]
        return np.concatenate(taken, axis=1)


class Pairs:
    """Hands the events that both engines have judged to ``losses``, in the first one's order.

    Attributes
    ----------
    alone : list of int
        How many events either engine has judged that the other has not, or by another label.
    """

    def __init__(self, first: Engine, second: Engine) -> None:
        places = Places()
        self._answered = (Answered(first, places), Answered(second, places))
        self._waiting = (NONE, NONE)
        self._enough = AT_ONCE
        self.losses = PairedLosses()
        self.alone = [0, 0]

    def after_step(self) -> None:
        """Bring together what there is, if it is worth it."""
        come = sum(answered.waiting for answered in self._answered)
        if come + self._kept >= self._enough:
            self._bring_together(final=False)
            self._enough = max(AT_ONCE, 2 * self._kept)

    @property
    def _kept(self) -> int:
        return sum(len(answers.time) for answers in self._waiting)

    def finish(self) -> None:
        """Bring together the rest: nothing comes any more."""
        self._bring_together(final=True)

    def _bring_together(self, *, final: bool) -> None:
        first, second = (
            one_after_another([waiting, answered.take()])
            for waiting, answered in zip(self._waiting, self._answered, strict=True)
        )
        of_first, of_second = _same_places(first, second)
        met = [np.zeros(len(first.time), np.bool_), np.zeros(len(second.time), np.bool_)]
        met[0][of_first] = met[1][of_second] = True
        # those that the other engine has passed without a judgement stay alone
        gone = [_passed(first, self._answered[1].frontier), _passed(second, self._answered[0].frontier)]
        ready = met[0] | gone[0] | final
        end = len(ready) if ready.all() else int(ready.argmin())  # in order, whatever the second one is about
        now = of_first < end
        of_first, of_second = of_first[now], of_second[now]
        agreed = first.positive[of_first] == second.positive[of_second]
        a, b = first.of(of_first[agreed]), second.of(of_second[agreed])
        self.losses.add(a.time, a.logit, b.logit, a.positive)
        done = np.zeros(len(second.time), np.bool_)
        done[of_second] = True
        left = ~done & ~(~met[1] & (gone[1] | final))
        self.alone[0] += end - int(agreed.sum())
        self.alone[1] += len(second.time) - int(left.sum()) - int(agreed.sum())
        self._waiting = (first.of(slice(end, None)), second.of(left))


def _same_places(first: Answers, second: Answers) -> tuple[Ints, Ints]:
    """Indices into either of the events that are in both, in the first one's order."""
    keys = [(each.partition << 48) | each.position for each in (first, second)]
    _, of_first, of_second = np.intersect1d(*keys, assume_unique=True, return_indices=True)
    order = np.argsort(of_first)
    return of_first[order], of_second[order]


def _passed(answers: Answers, frontier: dict[int, int]) -> NDArray[np.bool_]:
    """Which of them lie at or before what the other engine has decided."""
    ends = np.full(int(answers.partition.max(initial=-1)) + 1, -1, np.int64)
    for partition, position in frontier.items():
        if partition < len(ends):
            ends[partition] = position
    return answers.position <= ends[answers.partition]
