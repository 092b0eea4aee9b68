"""The engine's state and everything that came of it, written in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from sqlalchemy import Connection, delete, insert

from storage.alerts import prune_alerts, write_alerts
from storage.blocks import (
    Block,
    delete_versions,
    list_sha256,
    live,
    new_versions,
    sha256_of,
    stored_versions,
    superseded,
    write_blocks,
)
from storage.database import Database
from storage.deadletters import prune_dead_letters, write_dead_letters
from storage.errors import TooLarge
from storage.history import Figures, prune_history, write_history
from storage.lease import Lease
from storage.outbox import Notice, prune_outbox, write_outbox
from storage.outgoing import Parcel, prune_outgoing, write_outgoing
from storage.requests import Done, finish_requests
from storage.retrains import Decision, write_decisions
from storage.snapshots import NewSnapshot, prune_snapshots, write_snapshot
from storage.tables import blocks, checkpoints, outgoing, retrains, snapshots
from stream.records import AlertChange, DeadLetter

FORMAT = 1
LARGEST = 1_000_000_000  # bytes in one value: SQLite's limit, and a little less than PostgreSQL's
KEEP = 2  # this checkpoint and the one to fall back to

# Announced through ``reached`` just before the step, the last one just after the commit.
FAIL_POINTS = (
    "checkpoint.begin",
    "checkpoint.lease",
    "checkpoint.state",
    "checkpoint.blocks",
    "checkpoint.alerts",
    "checkpoint.outbox",
    "checkpoint.dead_letters",
    "checkpoint.outgoing",
    "checkpoint.history",
    "checkpoint.snapshot",
    "checkpoint.decisions",
    "checkpoint.prune",
    "checkpoint.commit",
    "checkpoint.committed",
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the engine hands over at a checkpoint."""

    state: bytes  # positions, watermark, counters: small, written whole each time
    blocks: Sequence[Block] = field(default_factory=tuple)  # new, changed or removed since the last checkpoint
    alerts: Sequence[AlertChange] = field(default_factory=tuple)
    dead_letters: Sequence[DeadLetter] = field(default_factory=tuple)
    snapshots: Sequence[NewSnapshot] = field(default_factory=tuple)
    notices: Sequence[Notice] = field(default_factory=tuple)  # to be delivered
    history: Sequence[Figures] = field(default_factory=tuple)
    outgoing: Sequence[Parcel] = field(default_factory=tuple)  # to be sent to topics
    decisions: Sequence[Decision] = field(default_factory=tuple)  # about retraining
    done: Sequence[Done] = field(default_factory=tuple)  # requests

    @property
    def size_bytes(self) -> int:
        """Of state, blocks and snapshots."""
        written = len(self.state) + sum(len(block.data or b"") for block in self.blocks)
        return written + sum(len(snapshot.data) for snapshot in self.snapshots)


@dataclass(frozen=True, slots=True)
class Committed:
    """What was written."""

    number: int
    bytes: int
    snapshot: int | None  # the number of the last


def commit(
    database: Database,
    model: str,
    checkpoint: Checkpoint,
    *,
    lease: Lease,
    follows: int,
    at: int,
    reached: Callable[[str], None],
    keep_dead_letters_us: int | None = None,
) -> Committed:
    """Write a checkpoint: all of it, or after any error or kill none of it.

    1. begin, and check the lease: whoever lost it, or has an epoch that is no longer the newest, may not write;
    2. the state, after removing what a fallback passed over;
    3. new versions of blocks;
    4. alerts;
    5. the outbox: whom to tell of them;
    6. dead letters;
    7. messages for topics;
    8. how metrics went;
    9. snapshots, if any;
    10. decisions about retraining, and requests that are done;
    11. prune what neither this checkpoint nor the previous one needs, and what is too old;
    12. commit.

    Parameters
    ----------
    lease
        The right to do so.
    follows
        Number of the checkpoint that was loaded or committed before, 0 if none; this one is the next.
    at
        Wall clock in microseconds.
    reached
        Told each name of ``FAIL_POINTS`` in turn.
    keep_dead_letters_us
        Older dead letters are deleted; None keeps them however old.

    Raises
    ------
    TooLarge
        Something in it is more than a database takes.
    Fenced
        Another process has taken the model over, or may have.
    ConnectionLost
        It may have happened just before the commit, or just after; see ``storage/settle.py``.
    StorageError
        The database refused; its subclasses say why. The next commit may be tried as if nothing had happened.
    """
    number = follows + 1
    if len({(block.kind, block.number) for block in checkpoint.blocks}) < len(checkpoint.blocks):
        raise ValueError(f"{model}, checkpoint {number}: a block is given twice")
    refuse_too_large(model, state=checkpoint.state, blocks=checkpoint.blocks, snapshots=checkpoint.snapshots)
    snapshot = None
    new = new_versions(checkpoint.blocks, checkpoint=number)  # hashes all of it, so not in the transaction
    reached("checkpoint.begin")
    with database.writing() as connection:
        reached("checkpoint.lease")  # 1
        lease.fence(connection)
        reached("checkpoint.state")  # 2
        _forget_after(connection, model, follows)
        versions = stored_versions(connection, model) + new
        connection.execute(
            insert(checkpoints).values(
                model=model,
                number=number,
                epoch=lease.epoch,
                created_at=at,
                format=FORMAT,
                sha256=sha256_of(checkpoint.state),
                blocks_sha256=list_sha256(live(versions, checkpoint=number)),
                state=checkpoint.state,
            )
        )
        reached("checkpoint.blocks")  # 3
        write_blocks(connection, model, checkpoint.blocks, new)
        reached("checkpoint.alerts")  # 4
        write_alerts(connection, model, checkpoint.alerts)
        reached("checkpoint.outbox")  # 5
        write_outbox(connection, model, checkpoint.notices, at=at)
        reached("checkpoint.dead_letters")  # 6
        write_dead_letters(connection, model, checkpoint.dead_letters, at=at)
        reached("checkpoint.outgoing")  # 7
        write_outgoing(connection, model, checkpoint.outgoing, checkpoint=number, at=at)
        reached("checkpoint.history")  # 8
        write_history(connection, model, checkpoint.history)
        reached("checkpoint.snapshot")  # 9
        for taken in checkpoint.snapshots:
            snapshot = write_snapshot(connection, model, taken, checkpoint=number, at=at)
        reached("checkpoint.decisions")  # 10
        write_decisions(connection, model, checkpoint.decisions, checkpoint=number, at=at)
        if checkpoint.done:
            finish_requests(connection, model, checkpoint.done, at=at)
        reached("checkpoint.prune")  # 11
        oldest_kept = number - KEEP + 1
        connection.execute(delete(checkpoints).where(checkpoints.c.model == model, checkpoints.c.number < oldest_kept))
        delete_versions(connection, model, superseded(versions, oldest_kept=oldest_kept))
        if checkpoint.alerts:
            prune_alerts(connection, model)
        if checkpoint.notices:
            prune_outbox(connection, model)
        if checkpoint.outgoing:
            prune_outgoing(connection, model)
        if checkpoint.history:
            prune_history(connection, model, came_in=len(checkpoint.history))
        if checkpoint.dead_letters or checkpoint.snapshots:  # a quiet stream forgets them as well
            before = None if keep_dead_letters_us is None else at - keep_dead_letters_us
            prune_dead_letters(connection, model, before=before, came_in=len(checkpoint.dead_letters))
        if checkpoint.snapshots:
            prune_snapshots(connection, model)
        reached("checkpoint.commit")  # 12
    reached("checkpoint.committed")
    return Committed(number=number, bytes=checkpoint.size_bytes, snapshot=snapshot)


def refuse_too_large(
    model: str, *, state: bytes = b"", blocks: Sequence[Block] = (), snapshots: Sequence[NewSnapshot] = ()
) -> None:
    """Raise TooLarge if the database would not take one of them."""
    sizes = {"the state": len(state)}
    sizes |= {f"block {block.kind} {block.number}": len(block.data or b"") for block in blocks}
    sizes |= {f"snapshot {taken.reason!r}": len(taken.data) for taken in snapshots}
    what, size = max(sizes.items(), key=itemgetter(1))
    if size > LARGEST:
        raise TooLarge(
            f"{model}: {what} has {size:,} bytes, and databases take at most {LARGEST:,} in one piece.\n"
            "  Nothing was written. Choose fewer [model] bits, under another [model] name."
        )


def _forget_after(connection: Connection, model: str, number: int) -> None:
    # Damaged checkpoints: their part of the stream is run again. Alerts, the outbox, dead letters and history stay,
    # writing them twice changes nothing; snapshots are made anew, under the same numbers.
    for table, column in (
        (checkpoints, checkpoints.c.number),
        (blocks, blocks.c.checkpoint),
        (snapshots, snapshots.c.checkpoint),
        (outgoing, outgoing.c.checkpoint),
        (retrains, retrains.c.checkpoint),
    ):
        connection.execute(delete(table).where(table.c.model == model, column > number))
