"""Positions that Kafka can no longer go on from: found, explained, and accepted only when asked to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from stream.kafka_watch import Range, Sighting
from stream.source import Mark, Partition, SourceError

AcceptLoss = Literal["earliest", "latest"]
SHOWN = 5


class Loss(NamedTuple):
    """A partition whose next messages are gone."""

    partition: Partition
    wanted: int
    range: Range
    recreated: bool = False  # it is another topic of the same name

    def accepted(self, how: AcceptLoss) -> int:
        """Where to go on."""
        return self.range.first if how == "earliest" else self.range.end

    def __str__(self) -> str:
        place = f"topic {self.partition.topic}, partition {self.partition.name}: wanted offset {self.wanted:,}"
        if self.recreated:
            return f"{place}, but the topic was deleted and created anew; it has {self._span()}"
        if self.wanted < self.range.first:
            lost = self.range.first - self.wanted
            return f"{place}, the oldest is {self.range.first:,} ({lost:,} offsets lost)"
        beyond = self.wanted - self.range.end
        return (
            f"{place}, but it ends at {self.range.end:,}: the {beyond:,} before it were cut off after riverd read them"
        )

    def _span(self) -> str:
        return f"offsets {self.range.first:,} to {self.range.end:,}"


def make_fingerprint(topic_id: str, begin: int) -> str:
    """What a mark needs: the topic's identity, and the oldest offset there was when it was first seen."""
    return f"{topic_id}:{begin}"


def resume(marks: Mapping[Partition, Mark], seen: Sighting) -> tuple[dict[Partition, int], list[Loss]]:
    """Where to go on, and the marks from which that can't be done.

    Raises
    ------
    SourceError
        A partition is gone.
    """
    positions: dict[Partition, int] = {}
    losses: list[Loss] = []
    for partition, mark in marks.items():
        if partition not in seen.ranges:
            raise _gone(partition, mark)
        id_then, _, begin = mark.fingerprint.rpartition(":")
        # before its first message is released a mark says 0, whatever the oldest offset was
        wanted = max(mark.position, int(begin) if begin.isdecimal() else 0)
        loss = Loss(partition, wanted, seen.ranges[partition], id_then != seen.topics[partition.topic].id)
        positions[partition] = wanted
        if loss.recreated or not loss.range.first <= wanted <= loss.range.end:
            losses.append(loss)
    return positions, losses


def refusal(losses: Sequence[Loss]) -> SourceError:
    """The error that names the gaps and the two ways to accept them."""
    shown = "".join(f"\n  {loss}" for loss in losses[:SHOWN])
    more = f"\n  and {len(losses) - SHOWN:,} more" if len(losses) > SHOWN else ""
    return SourceError(
        f"Kafka no longer holds what riverd has to read next.{shown}{more}\n"
        "  Accept the loss and go on with the oldest message there is:  riverd run --accept-loss earliest\n"
        "  Accept it and go on with the next one that comes:            riverd run --accept-loss latest"
    )


def _gone(partition: Partition, mark: Mark) -> SourceError:
    return SourceError(
        f"topic {partition.topic} has no partition {partition.name} any more, but riverd has read it up to offset "
        f"{mark.position:,}.\n"
        "  Create the topic again with as many partitions as it had, or start a new state under another [model] name."
    )
