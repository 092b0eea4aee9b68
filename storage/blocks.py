"""The state in pieces: which versions of which blocks make up a checkpoint.

A checkpoint writes only the blocks that changed. The state at checkpoint c is, for each (kind, number), the
newest version with ``checkpoint <= c``; a tombstone (no data) says that the block does not exist from there on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, select

from storage.large import read_large
from storage.tables import blocks


@dataclass(frozen=True, slots=True)
class Block:
    """One piece of the state, new, changed or (``data=None``) removed."""

    kind: str  # "rows", "weights", "panes", ...
    number: int
    data: bytes | None


class Version(NamedTuple):
    """One stored version of a block; ``sha256=None`` is a tombstone."""

    kind: str
    number: int
    checkpoint: int
    sha256: str | None


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def stored_versions(connection: Connection, model: str) -> list[Version]:
    """Every version of every block of the model, without the data."""
    query = select(blocks.c.kind, blocks.c.number, blocks.c.checkpoint, blocks.c.sha256)
    query = query.where(blocks.c.model == model).order_by(blocks.c.kind, blocks.c.number, blocks.c.checkpoint)
    return [Version(*row) for row in connection.execute(query)]


def live(versions: Iterable[Version], *, checkpoint: int) -> list[Version]:
    """Return the versions that make up the state at ``checkpoint``, ordered by kind and number."""
    newest = _newest(versions, checkpoint)
    return sorted(version for version in newest.values() if version.sha256 is not None)


def superseded(versions: Iterable[Version], *, oldest_kept: int) -> list[Version]:
    """Return the versions that no checkpoint from ``oldest_kept`` on needs."""
    versions = list(versions)
    newest = _newest(versions, oldest_kept)
    return [
        version
        for version in versions
        if version.checkpoint <= oldest_kept
        and (version != newest[version.kind, version.number] or version.sha256 is None)
    ]


def _newest(versions: Iterable[Version], checkpoint: int) -> dict[tuple[str, int], Version]:
    newest: dict[tuple[str, int], Version] = {}
    for version in versions:
        key = version.kind, version.number
        if version.checkpoint <= checkpoint and (key not in newest or newest[key].checkpoint < version.checkpoint):
            newest[key] = version
    return newest


def list_sha256(versions: Iterable[Version]) -> str:
    """Hash which blocks there are, at which version and with which content, so that a lost one is noticed."""
    return sha256_of("\n".join(repr(tuple(version)) for version in versions).encode())


def new_versions(changed: Iterable[Block], *, checkpoint: int) -> list[Version]:
    """Return the version that each block will be stored as."""
    return [
        Version(block.kind, block.number, checkpoint, None if block.data is None else sha256_of(block.data))
        for block in changed
    ]


def write_blocks(connection: Connection, model: str, changed: Iterable[Block], versions: Iterable[Version]) -> None:
    for block, version in zip(changed, versions, strict=True):
        connection.execute(insert(blocks).values(model=model, data=block.data, **version._asdict()))


def delete_versions(connection: Connection, model: str, versions: Iterable[Version]) -> None:
    places = [{"_kind": kind, "_number": number, "_checkpoint": checkpoint} for kind, number, checkpoint, _ in versions]
    if places:
        statement = delete(blocks).where(
            blocks.c.model == model,
            blocks.c.kind == bindparam("_kind"),
            blocks.c.number == bindparam("_number"),
            blocks.c.checkpoint == bindparam("_checkpoint"),
        )
        connection.execute(statement, places)


def read_data(connection: Connection, model: str, version: Version) -> bytes | None:
    """Return the bytes of one version, unchecked."""
    return read_large(
        connection,
        blocks.c.data,
        blocks.c.model == model,
        blocks.c.kind == version.kind,
        blocks.c.number == version.number,
        blocks.c.checkpoint == version.checkpoint,
    )
