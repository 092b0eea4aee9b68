"""Walking records through a joiner, by hand or by hypothesis."""

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from stream.join_state import REJECTED_CONFLICT
from stream.joiner import Joiner, Step
from stream.merge import BEGINNING, EVENT, LABEL, Ordered
from stream.records import CORRECT, DONE, DROP, EXPIRE, LEARN, NEVER, RESOLVE, SCORE, Events, Labels
from stream.rows import RowTable

# One record: EVENT or LABEL, its id, own time, merged time, value or content, and flaw. The content of an event
# is twice its features, plus its label where it brings one.
Record = tuple[int, int, int, int, int, int]
CODES = {SCORE: "score", RESOLVE: "resolve", LEARN: "learn", DROP: "drop", EXPIRE: "expire", CORRECT: "correct"}


def _columns(records: list[tuple[int, Record]]) -> dict[str, np.ndarray]:
    """What events and labels have in common; two ids at a time share their 64 bits."""
    kind, id_, time, order, _, flaw = np.array([record for _, record in records], np.int64).reshape(-1, 6).T
    return {
        "key": (id_ // 2).astype(np.uint64),
        "check": (id_ % 2).astype(np.uint32),
        "time": time.copy(),
        "order": order.copy(),
        "partition": kind.astype(np.int32),
        "position": np.array([place for place, _ in records], np.int64),
        "flaw": flaw.astype(np.uint8),
    }


def _events(records: list[tuple[int, Record]]) -> Events:
    features, label = np.divmod(np.array([record[4] for _, record in records], np.int64), 2)
    return Events(
        **_columns(records),
        label=label.astype(np.int8),
        weight=np.ones(len(records), np.float32),
        score=np.zeros(len(records)),
        categories=features.astype(np.uint64)[:, np.newaxis],
        numbers=np.where(features == 0, np.nan, features)[:, np.newaxis],
        words=np.zeros((len(records), 0), np.uint64),
        slices=np.zeros((len(records), 0), np.uint64),
    )


def _labels(records: list[tuple[int, Record]]) -> Labels:
    return Labels(**_columns(records), value=np.array([record[4] for _, record in records], np.int8))


def _ordered(records: list[tuple[int, Record]], watermark: int) -> Ordered:
    halves = {kind: [record for record in records if record[1][0] == kind] for kind in (EVENT, LABEL)}
    index = {place: i for half in halves.values() for i, (place, _) in enumerate(half)}
    return Ordered(
        _events(halves[EVENT]),
        _labels(halves[LABEL]),
        np.array([record[0] for _, record in records], np.uint8),
        np.array([index[place] for place, _ in records], np.int64),
        watermark,
    )


class Walk:
    """Gives a joiner records and tells what came out, in the words of a reader.

    ``ops`` are ("score", event), ("resolve+learn", event, label), ("drop+expire", event), ("correct", event,
    label) and ("tick", time), ``label_times`` (event, time of its label), and ``rejected`` (record, "dead" or
    "conflict"); events and records are named by their place in the stream.
    ``serve`` is called with each step, as the model would be.
    """

    def __init__(self, joiner: Joiner, *, serve: Callable[[Step], None] | None = None) -> None:
        self.joiner = joiner
        self.serve = serve
        self.ops: list[tuple] = []
        self.label_times: list[tuple[int, int]] = []
        self.rejected: list[tuple[int, str]] = []
        self.event_of_row: dict[int, int] = {}
        self.given = 0
        self.watermark = BEGINNING

    def take(self, records: Iterable[Record], watermark: int = BEGINNING) -> "Walk":
        """Give the next records in one batch; a watermark beyond them is time that passed without records."""
        batch = list(enumerate(records, self.given))
        self.given += len(batch)
        self.watermark = max([self.watermark, watermark, *(record[3] for _, record in batch)])
        ordered = _ordered(batch, self.watermark)
        for step in self.joiner.advance(ordered):
            for code, row, record, label, at in zip(*(column.tolist() for column in step.ops), strict=True):
                if code & SCORE:
                    self.event_of_row[row] = int(ordered.events.position[record])
                else:
                    assert record == -1
                words = "+".join(word for bit, word in CODES.items() if code & bit)
                self.ops.append((words, self.event_of_row[row], *([label] if label >= 0 else [])))
                if at != NEVER:
                    self.label_times.append((self.event_of_row[row], at))
            for kind, record, why in step.rejected.tolist():
                columns = ordered.events if kind == EVENT else ordered.labels
                place = int(columns.position[record])
                self.rejected.append((place, "conflict" if why == REJECTED_CONFLICT else "dead"))
            if self.serve is not None:
                self.serve(step)
            if step.tick is not None:
                self.ops.append(("tick", step.tick))
        self.close_the_books()
        return self

    def close_the_books(self) -> None:
        n = self.joiner.fates()
        assert n["messages"] == n["events"] + n["labels"] + n["tombstones"] + n["dead"] == self.given
        assert n["events"] == sum(
            n[fate] for fate in ("pending", "resolved", "expired", "duplicate_events", "conflict")
        )
        if not self.joiner.policy.labelled:
            assert n["labels"] == sum(
                n[fate] for fate in ("matched", "waiting", "late", "duplicate_labels", "correction", "orphan")
            )
        assert min(n.values()) >= 0


class Serving:
    """Puts features into the table and gives them up, as the model does: row r has r % 3 of them."""

    def __init__(self, table: RowTable) -> None:
        self.table = table

    def __call__(self, step: Step) -> None:
        table, (codes, numbers, *_) = self.table, step.ops
        for code, row in zip(codes.tolist(), numbers.tolist(), strict=True):
            columns, r = table.rows, row - table.base
            if code & SCORE:
                start, size = int(columns.used[0]), row % 3
                columns.start[r], columns.size[r], columns.logit[r] = start, size, row / 8
                columns.cell[start : start + size] = row
                columns.used[0] += size
            if code & (LEARN | DROP):
                columns.used[1] += columns.size[r]
                columns.size[r] = 0

    def check(self, first: int) -> None:
        """See that the rows from the first on have what they should."""
        columns = self.table.rows
        for row in range(first, self.table.next):
            r = row - self.table.base
            size = 0 if columns.status[r] & DONE else row % 3
            place = slice(columns.start[r], columns.start[r] + size)
            assert (columns.size[r], columns.logit[r]) == (size, row / 8)
            assert columns.cell[place].tolist() == [row] * size


@pytest.fixture(scope="session")
def walk_through():
    """Return ``Walk``, which a test file can't import from here."""
    return Walk


@pytest.fixture(scope="session")
def serving():
    """Return ``Serving``."""
    return Serving
