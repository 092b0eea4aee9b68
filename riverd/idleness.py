"""Which partitions hold the others back: not those that have ended, are idle, or lie far behind with nothing to read.

Where the source is not asked on the spot whether there is more (of Kafka one learns it some time later), what was
fetched since it was asked waits for the next answer: nothing overtakes what was in the source before it was fetched.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection

from riverd.durations import format_duration
from stream.merge import BEGINNING, END, Merger, Ordered
from stream.records import MICROSECONDS
from stream.source import Partition, Source

log = logging.getLogger("riverd")

Front = dict[Partition, tuple[int, int]]  # by partition: the position fetched next, and the last order


class Idleness:
    """Watches the partitions of a source without fixed ends.

    Parameters
    ----------
    merger, source
        Whose lanes it marks as live or not, and where their messages come from.
    idle_after_us
        Wall time of silence after which a partition no longer holds the others back.
    max_skew_us
        Event time by which one that has nothing to read may lie behind the others and still hold them back.
    monotonic_s
        Seconds of a clock that never goes back, the same that the source looks at.
    """

    def __init__(
        self,
        merger: Merger,
        source: Source,
        *,
        idle_after_us: int,
        max_skew_us: int,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._merger = merger
        self._source = source
        self._idle_s = idle_after_us / MICROSECONDS
        self._max_skew_us = max_skew_us
        self._monotonic_s = monotonic_s
        self._began_s = monotonic_s()
        self._active_s: dict[Partition, float] = {}  # when each partition last had a message
        self._behind: set[Partition] = set()
        self._fronts: deque[tuple[float, Front]] = deque()  # from when on; those the last look has not seen follow it
        self._all_idle_since: tuple[float, int] | None = None

    @property
    def silent_s(self) -> float:
        """Wall-clock seconds since the last message, or since the first partition was found."""
        return self._monotonic_s() - max(self._active_s.values(), default=self._began_s)

    def add(self, partition: Partition) -> None:
        self._active_s[partition] = self._monotonic_s()

    def release(self, came: Collection[Partition]) -> Ordered:
        """What is in order, now that the merger holds the messages which came from these partitions."""
        self._watch(came)
        ordered = self._merger.release()
        lanes = self._merger.lanes.values()
        if any(map(len, lanes)) and not all(lane.live for lane in lanes):
            self._source.look_soon()
        return self._pass_time(ordered)

    def _watch(self, came: Collection[Partition]) -> None:
        """Say which lanes are live."""
        lanes, now_s = self._merger.lanes, self._monotonic_s()
        if came and now_s - max(self._active_s.values()) >= self._idle_s:
            # all were silent, say because the brokers were away: what comes first must not overtake the others
            came = list(lanes)
        self._active_s |= dict.fromkeys(came, now_s)
        newest = max((lane.last_order for lane in lanes.values()), default=BEGINNING)
        for partition, lane in lanes.items():
            idle = now_s - self._active_s[partition] >= self._idle_s
            behind = BEGINNING < lane.last_order < newest - self._max_skew_us
            lane.live = not (self._source.at_end(partition) and (idle or behind))
            self._say_when_behind(partition, behind=behind and not lane.live and not idle)
        self._merger.settled = self._settled(now_s)

    def _settled(self, now_s: float) -> int:
        """The order up to which all had been fetched when the source last looked for its ends."""
        front = {name: (lane.fetched_position, lane.last_order) for name, lane in self._merger.lanes.items()}
        fronts, looked_s = self._fronts, self._source.looked_s()
        if not fronts or fronts[-1][1] != front:
            fronts.append((now_s, front))
        while len(fronts) > 1 and fronts[1][0] < looked_s:
            fronts.popleft()
        first_s, seen = fronts[0]
        if first_s >= looked_s:
            return BEGINNING
        since = (seen.get(name, (0, BEGINNING)) for name, there in front.items() if seen.get(name) != there)
        return min((order for _, order in since), default=END)

    def _say_when_behind(self, partition: Partition, *, behind: bool) -> None:
        if behind and partition not in self._behind:
            skew = format_duration(self._max_skew_us)
            log.warning("%s/%s lies more than %s behind the others, which no longer wait for it", *partition, skew)
        (self._behind.add if behind else self._behind.discard)(partition)

    def _pass_time(self, ordered: Ordered) -> Ordered:
        """While all partitions are idle, event time goes on with the clock."""
        lanes = self._merger.lanes.values()
        if ordered.watermark == BEGINNING or any(lane.live or len(lane) for lane in lanes):
            self._all_idle_since = None
            return ordered
        now_s = self._monotonic_s()
        if self._all_idle_since is None:
            self._all_idle_since = now_s, ordered.watermark
        since_s, from_us = self._all_idle_since
        self._merger.watermark = max(ordered.watermark, from_us + int((now_s - since_s) * MICROSECONDS))
        return ordered._replace(watermark=self._merger.watermark)
