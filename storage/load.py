"""Reading the state back: the newest checkpoint that is intact to the last bit."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from storage.blocks import Version, list_sha256, live, read_data, sha256_of, stored_versions
from storage.checkpoint import FORMAT
from storage.database import Database
from storage.errors import DamagedBlob, DamagedDatabase, DamagedState, NewerSchema
from storage.tables import checkpoints


@dataclass(frozen=True, slots=True)
class Loaded:
    """The state at one checkpoint."""

    number: int
    state: bytes
    blocks: dict[tuple[str, int], bytes]  # by kind and number
    skipped: list[str]  # newer checkpoints that were passed over, each with the reason


def load(database: Database, model: str) -> Loaded | None:
    """Return the newest intact checkpoint, or None if the model has none.

    Every sha256 is checked, and that no block is missing. A damaged checkpoint is passed over for the one
    before it; it is removed by the next commit, not here, because a reader may hold no lease.

    Raises
    ------
    DamagedState
        There are checkpoints, but none is intact.
    NewerSchema
        The newest was written by a newer riverd.
    """
    skipped: list[str] = []
    with database.reading() as connection:
        mine = select(checkpoints.c.number).where(checkpoints.c.model == model)
        for number in connection.scalars(mine.order_by(checkpoints.c.number.desc())).all():
            try:
                with database.explained():
                    state, blocks = _read(connection, model, number, database.place)
            except (DamagedBlob, DamagedDatabase) as error:
                skipped.append(f"checkpoint {number}: {error}")
            else:
                return Loaded(number, state, blocks, skipped)
    if not skipped:
        return None
    raise DamagedState(
        f"{database.place}: {model} has no intact checkpoint.\n"
        + "".join(f"  {reason}\n" for reason in skipped)
        + "  Restore the file from a backup and start again; or move it away, and riverd learns the stream anew."
    )


def _read(connection: Connection, model: str, number: int, place: str) -> tuple[bytes, dict[tuple[str, int], bytes]]:
    mine = select(checkpoints).where(checkpoints.c.model == model, checkpoints.c.number == number)
    row = connection.execute(mine).one()
    if row.format != FORMAT:
        raise NewerSchema(
            f"{place}: checkpoint {number} of {model} has format {row.format}; this riverd reads format {FORMAT}.\n"
            "  A newer riverd wrote it: upgrade riverd."
        )
    if sha256_of(row.state) != row.sha256:
        raise DamagedBlob("its state does not match its sha256")
    versions = live(stored_versions(connection, model), checkpoint=number)
    if list_sha256(versions) != row.blocks_sha256:
        raise DamagedBlob("its blocks are not the ones that were written")
    return row.state, {(version.kind, version.number): _checked(connection, model, version) for version in versions}


def _checked(connection: Connection, model: str, version: Version) -> bytes:
    data = read_data(connection, model, version)
    if data is None or sha256_of(data) != version.sha256:
        written = f"written with checkpoint {version.checkpoint}"
        raise DamagedBlob(f"block {version.kind} {version.number}, {written}, does not match its sha256")
    return data
