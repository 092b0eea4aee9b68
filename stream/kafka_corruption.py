"""Finds the way past a batch of messages that a broker holds but nobody can read."""

from __future__ import annotations

import time
from collections.abc import Callable

from stream.kafka_client import CorruptError, KafkaClient, UnreachableError
from stream.source import Partition

PROBE_S = 10.0  # for an answer at one offset


def first_readable(probe: KafkaClient, partition: Partition, offset: int, *, end: int) -> int | None:
    """The offset behind the unreadable batch that holds ``offset``, or None if that can be read.

    Kafka does not say how long a batch is whose bytes are damaged, but an offset inside it leads to it, and one
    behind it does not: look ever farther ahead, then halve what lies between.

    Raises
    ------
    UnreachableError
        No answer came in time.
    """

    def batch(at: int) -> int | None:
        return _unreadable_batch(probe, partition, at)

    return _search(batch, offset, end)


def _search(batch: Callable[[int], int | None], offset: int, end: int) -> int | None:
    which = batch(offset)
    if which is None:
        return None
    inside, step = offset, 1
    while inside + step < end and batch(inside + step) == which:
        inside += step
        step *= 2
    outside = min(inside + step, end)
    while outside - inside > 1:
        middle = (inside + outside) // 2
        if batch(middle) == which:
            inside = middle
        else:
            outside = middle
    return outside


def _unreadable_batch(probe: KafkaClient, partition: Partition, offset: int) -> int | None:
    """Which unreadable batch is met at an offset (-1: the client does not say); None if it can be read."""
    probe.assign({partition: offset})
    give_up_s = time.monotonic() + PROBE_S
    while time.monotonic() < give_up_s:
        try:
            if probe.fetch(0.1, 1) or probe.position(partition) > offset:
                return None
        except CorruptError as error:
            return -1 if error.batch is None else error.batch
    raise UnreachableError(f"no answer at {partition.topic}/{partition.name}, offset {offset:,}")
