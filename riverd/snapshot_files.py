"""``riverd snapshots export`` and ``import``: a version of the model as one file, for an archive or another riverd.

The file is a zip of two members that any tool reads: ``snapshot.json`` tells what it is, ``model`` is what was stored.
"""

from __future__ import annotations

import argparse
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import msgspec

from models.stream_model import StreamModel
from riverd.assembly import model_of
from riverd.changes import changed_model
from riverd.config import Config
from riverd.errors import RiverdError
from riverd.request_commands import find_snapshot
from riverd.screen.notation import plain
from storage.arrays import decode
from storage.blocks import sha256_of
from storage.checkpoint import LARGEST
from storage.errors import DamagedBlob
from storage.snapshots import NewSnapshot
from storage.store import Store

ABOUT, MODEL = "snapshot.json", "model"
FORMAT = 1
MOST_ABOUT = 10_000_000  # bytes


class About(msgspec.Struct, frozen=True, kw_only=True):
    """``snapshot.json``."""

    format: int
    name: str  # of the model
    number: int
    watermark: int
    reason: str
    sha256: str  # of the member ``model``
    lineage: dict[str, Any]


def export(options: argparse.Namespace, config: Config, store: Store) -> int:
    """Write one to a file; all of it, or no file."""
    snapshot, path = find_snapshot(store, options.number), options.file
    if path.exists() and not options.force:
        raise RiverdError(f"{path} is there already.\n  Give another name, or --force to replace it.")
    about = About(
        format=FORMAT,
        name=config.model.name,
        number=snapshot.number,
        watermark=snapshot.watermark,
        reason=snapshot.reason,
        sha256=snapshot.sha256,
        lineage=snapshot.lineage,
    )
    try:
        _write(path, about, store.snapshot(snapshot.number))
    except OSError as error:
        raise RiverdError(
            f"{path} can't be written: {error.strerror or error}\n  Nothing was left there; give a place that can be."
        ) from None
    size = path.stat().st_size
    if options.json:
        print(json.dumps({"number": snapshot.number, "file": str(path), "bytes": size, "sha256": snapshot.sha256}))
    else:
        print(f"Snapshot {snapshot.number} is in {plain(str(path))}, {size:,} bytes.")
    return 0


def _write(path: Path, about: About, data: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            with zipfile.ZipFile(file, "w") as archive:  # as it is: the bytes are packed already
                archive.writestr(ABOUT, msgspec.json.format(msgspec.json.encode(about)))
                archive.writestr(MODEL, data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def import_(options: argparse.Namespace, config: Config, store: Store) -> int:
    """Add one from a file; it serves only once it is promoted."""
    about, data = _read(options.file)
    _refuse_another_model(options.file, config, data)
    known = next((snapshot for snapshot in store.snapshots() if snapshot.sha256 == about.sha256), None)
    number = known.number if known else store.add_snapshot(_imported(about, data))
    if options.json:
        print(json.dumps({"number": number, "new": known is None, "sha256": about.sha256}))
    elif known:
        print(f"It is here already: snapshot {number}.")
    else:
        print(f"It is snapshot {number} here. `riverd snapshots promote {number}` has it serve.")
    return 0


def _imported(about: About, data: bytes) -> NewSnapshot:
    own = {name: about.lineage.get(name) for name in ("born", "parent", "start")}  # numbers of another database
    lineage = about.lineage | {
        "born": "import",
        "start": None,
        "imported": {"name": about.name, "number": about.number, "reason": about.reason, **own},
    }
    return NewSnapshot(
        about.watermark,
        f"import of {about.name} {about.number}",
        lineage,
        data,
        line=f"import {about.sha256}",  # a line of its own: it descends from nothing here
    )


def _read(path: Path) -> tuple[About, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            about = msgspec.json.decode(_member(archive, ABOUT, MOST_ABOUT), type=About)
            data = _member(archive, MODEL, LARGEST)
    except OSError as error:
        raise RiverdError(
            f"{path} can't be read: {error.strerror or error}\n  Give a file that `riverd snapshots export` wrote."
        ) from None
    except (zipfile.BadZipFile, msgspec.DecodeError, KeyError, ValueError, NotImplementedError, RuntimeError) as error:
        raise _no_export(path, error) from None
    if about.format != FORMAT:
        raise _no_export(path, f"it is of format {about.format}, and this riverd reads {FORMAT}")
    if sha256_of(data) != about.sha256:
        raise _no_export(path, "it is damaged: the model does not match its sha256")
    return about, data


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    size = archive.getinfo(name).file_size
    if size > most:
        raise ValueError(f"{name} has {size:,} bytes, more than {most:,}")
    return archive.read(name)


def _no_export(path: Path, why: object) -> RiverdError:
    return RiverdError(
        f"{path} is no snapshot that can be imported: {plain(str(why))}.\n"
        "  Nothing was added. Export it again: `riverd snapshots export NUMBER FILE`."
    )


def _refuse_another_model(path: Path, config: Config, data: bytes) -> None:
    model = model_of(config)
    if not isinstance(model, StreamModel):
        raise RiverdError('[model] kind = "external": riverd has no model that a snapshot could replace.')
    try:
        header, whole_state = decode(data)
        changes = changed_model(config, header["learned_from"])
    except (DamagedBlob, KeyError, AttributeError, TypeError) as error:
        raise _no_export(path, error) from None
    if changes:
        raise RiverdError(
            f"{path} was learned under other settings:\n"
            + "".join(f"  {change.key}: {change.then} there, {change.now} here\n" for change in changes)
            + "  Nothing was added. A model serves only under the settings that it was learned with."
        )
    fault = model.misfit(whole_state)
    if fault is not None:
        raise _no_export(path, fault)
