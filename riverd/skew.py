"""Serving skew: whether clients that serve by themselves see the features, and say the scores, that riverd does.

A client serves with a snapshot of the model. With each event it logs the score that it served, the version of the
state (the number of the checkpoint that came with the snapshot), and the row hash of the features it encoded. Each
event that is new and has these is checked in its place in the stream, by the first of these that applies:

1. ``unreadable``: some of the three are missing, or are not what they should be;
2. ``row_differs``: the row hash is not that of the event's features (models/row_hash.py): encoding skew;
3. ``unknown_version``: that state is not kept, so of the score nothing is said;
4. ``score_differs``: that state says another score of these features: the client has another model or arithmetic;
5. ``agreed``.

The alert fires at the event with which 5 of the last 1,000 that were compared (2, 4, 5) differ, not at the next tick.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.published import Published
from models.stream_model import StreamModel
from monitors.skew import (
    AGREED,
    COMPARED,
    ENOUGH,
    ROW_DIFFERS,
    SCORE_DIFFERS,
    UNKNOWN_VERSION,
    UNREADABLE,
    WINDOW,
    SkewWindow,
    differs,
)
from riverd.alert_checks import SKEW_RULE
from riverd.config_skew import Skew
from riverd.durations import UNITS_US
from stream.claims import ClaimDecoder, Claims
from stream.merge import Merger
from stream.records import NEVER, SCORE, AlertChange, Events, Ops

log = logging.getLogger("riverd")

FORGET_US = UNITS_US["d"]


class _Checked(NamedTuple):
    """Served scores that were checked, n of them, as columns."""

    claims: Claims
    records: NDArray[np.int64]  # index into events
    result: NDArray[np.uint8]
    row_hash: NDArray[np.uint64]  # by riverd
    logit: NDArray[np.float64]  # by riverd, of the state that was named


class SkewCheck:
    """Checks what events say of served scores.

    Parameters
    ----------
    skew
        Which fields, and how.
    model
        Encodes as the daemon does.

    Attributes
    ----------
    window : SkewWindow
        Counts, and how many of the last ones differ.
    first : str
        Place and figures of the first difference in the window, or of the last one that was in it.
    firing_since : int or None
        Event time.
    keep : int
        Published states, at most.
    """

    def __init__(self, skew: Skew, model: StreamModel) -> None:
        self.window = SkewWindow(age_us=FORGET_US)
        self.first = ""
        self.firing_since: int | None = None
        self._model = model
        self.keep = skew.keep
        self._tolerance = skew.tolerance
        self._decoder = ClaimDecoder(score=skew.score, version=skew.version, row_hash=skew.row_hash)
        self._published: dict[int, Published] = {}

    @property
    def versions(self) -> list[int]:
        """The states that can be checked by, the oldest first."""
        return sorted(self._published)

    def publish(self, version: int, whole_state: Mapping[str, NDArray[Any]]) -> None:
        """From the next record on clients may serve by this state of the model."""
        self._published[version] = self._model.publish(whole_state)
        for old in self.versions[: -self.keep]:
            del self._published[old]

    def observe(self, ops: Ops, events: Events, merger: Merger) -> list[AlertChange]:
        """Check the events that these ops score; return the alert if it begins to fire."""
        records = ops.record[(ops.code & SCORE) != 0]
        claims = self._decoder.decode(merger.messages(events.partition[records], events.position[records]))
        if not len(claims.message):
            return []
        checked = self._check(claims, records[claims.message], events)
        at = events.order[checked.records]
        recent = self.window.observe(checked.result, at)
        different = (checked.result < COMPARED) & (checked.result != AGREED)
        begins = np.flatnonzero(different & (recent == 1))
        enough = np.flatnonzero(recent >= ENOUGH)[:1]
        changes: list[AlertChange] = []
        for i in sorted([*begins.tolist(), *enough.tolist()]):
            if recent[i] < ENOUGH:
                self.first = self._tell(checked, i, events, merger)
            elif self.firing_since is None:
                changes.append(self._fire(int(at[i]), int(recent[i])))
        return changes

    def at_tick(self, tick_us: int) -> list[AlertChange]:
        """The alert is over when all of the window agrees."""
        self.window.forget(tick_us)
        if self.firing_since is None or self.window.recent:
            return []
        started_at, self.firing_since = self.firing_since, None
        return [_change("resolved", started_at, tick_us, 0)]

    def _fire(self, at_us: int, recent: int) -> AlertChange:
        self.firing_since = at_us
        log.warning("serving skew, first in %s", self.first)
        return _change("firing", at_us, at_us, recent)

    def _check(self, claims: Claims, records: NDArray[np.int64], events: Events) -> _Checked:
        result = np.full(len(records), UNREADABLE, np.uint8)
        row_hash, logit = np.zeros(len(records), np.uint64), np.full(len(records), np.nan)
        whole = np.flatnonzero(claims.whole)
        row_hash[whole] = self._model.row_hashes(events, records[whole])
        same = row_hash == claims.row_hash
        result[whole] = np.where(same[whole], UNKNOWN_VERSION, ROW_DIFFERS)
        for version, published in self._published.items():
            of = np.flatnonzero((result == UNKNOWN_VERSION) & (claims.version == version))
            if len(of):
                logit[of] = self._model.logits_by(published, events, records[of])
                apart = differs(claims.score[of], logit[of], tolerance=self._tolerance)
                result[of] = np.where(apart, SCORE_DIFFERS, AGREED)
        return _Checked(claims, records, result, row_hash, logit)

    def _tell(self, checked: _Checked, i: int, events: Events, merger: Merger) -> str:
        record, claims = checked.records[i], checked.claims
        position = int(events.position[record])
        partition, _, _ = merger.message(int(events.partition[record]), position)
        place = f"{partition.topic}/{partition.name} at {position:,}"
        if checked.result[i] == ROW_DIFFERS:
            hashes = f"row hash {claims.row_hash[i]:016x}, but the event's features give {checked.row_hash[i]:016x}"
            return f"{place}: {hashes}; compare what the client encodes with what it sends"
        probability = 1.0 / (1.0 + np.exp(-checked.logit[i]))
        scores = f"served {claims.score[i]:.6g} by version {claims.version[i]}, which says {probability:.6g}"
        return f"{place}: {scores}; compare the client's model with that version"

    def state(self) -> dict[str, NDArray[Any]]:
        """A copy of all but the published states, which are in the store as snapshots."""
        since = NEVER if self.firing_since is None else self.firing_since
        first = np.frombuffer(self.first.encode(), np.uint8)
        return {**self.window.state(), "firing_since": np.array([since], np.int64), "first": first}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what ``state`` gave; nothing, where the config had no [skew], is a new beginning."""
        if state:
            self.window.restore(state)
            since = int(state["firing_since"][0])
            self.firing_since = None if since == NEVER else since
            self.first = state["first"].tobytes().decode()


def _change(state: str, started_at: int, at_us: int, recent: int) -> AlertChange:
    return AlertChange(
        rule=SKEW_RULE,
        state=state,
        started_at=started_at,
        at=at_us,
        metric="skewed_share",
        window=f"last {WINDOW:,}",
        value=recent / WINDOW,
        bound=ENOUGH / WINDOW,
        severity="critical",
    )
