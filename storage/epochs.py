"""Which holder of a lease may write: the one of the newest epoch."""

from __future__ import annotations

import os
import socket

from sqlalchemy import Connection, select

from storage.errors import Fenced
from storage.tables import leases


def this_process() -> str:
    """Who asks, as others are told."""
    return f"pid {os.getpid()} on {socket.gethostname()}"


def refuse_other_epochs(connection: Connection, model: str, epoch: int) -> None:
    """Raise Fenced unless ``epoch`` is the newest of the model.

    The row is locked against those who would take over, until this transaction ends; its holder may renew it
    meanwhile, however long a commit takes.
    """
    query = select(leases.c.epoch, leases.c.holder).where(leases.c.model == model)
    newest = connection.execute(query.with_for_update(read=True, key_share=True)).one_or_none()
    if newest is None or newest.epoch != epoch:
        taken = "its lease is gone" if newest is None else f"{newest.holder} runs it now, with epoch {newest.epoch}"
        raise Fenced(
            f"{model} was taken over: this process holds epoch {epoch}, but {taken}.\n"
            "  Nothing was written. Stop this process; the other one goes on from the last checkpoint."
        )
