"""``riverd doctor``: what a maintainer would ask about the environment first."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from riverd import __version__
from riverd.config import Config
from riverd.database_url import database_url
from riverd.errors import ConfigError
from riverd.inspection.check import available_bytes
from riverd.inspection.check_state import database_path
from riverd.load_config import load_config
from riverd.screen.notation import count, moment, span, volume
from storage.errors import StorageError
from storage.inspection import CheckpointSeen, DatabaseSeen, inspect_database
from storage.tables import REVISIONS
from stream.records import MICROSECONDS

PACKAGES = ("numpy", "numba", "llvmlite", "msgspec", "sqlalchemy", "alembic", "pydantic", "xxhash", "rich", "river")
KERNELS = ("stream", "models", "monitors")  # packages with compiled code
LITTLE_SPACE = 1_000_000_000
EARLIEST_NOW_US = 1_767_225_600 * MICROSECONDS  # 2026: riverd did not exist before
DAY_S = 86_400

Report = dict[str, Any]


def doctor(config_path: Path, *, as_json: bool) -> int:
    """Print the report; 1 if something needs mending, which is said with its remedy."""
    report: Report = {"remedies": []}
    now_us = time.time_ns() // 1000
    _look_at_machine(report, now_us)
    _look_at_kernels(report)
    config = _look_at_config(report, config_path)
    if config is not None:
        _look_at_database(report, config, config_path, now_us)
        _look_at_disk(report, config, config_path)
    if as_json:
        print(json.dumps(report))
    else:
        _print(report)
    return 1 if report["remedies"] else 0


def _look_at_machine(report: Report, now_us: int) -> None:
    report["riverd"] = __version__
    report["python"] = f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}"
    report["packages"] = {name: _version(name) for name in PACKAGES}
    report["sqlite"] = sqlite3.sqlite_version
    report["system"] = f"{platform.system()} {platform.release()}, {platform.machine()}"
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    report["cpu"] = {"model": _cpu(), "usable": usable}
    report["memory_available_bytes"] = available_bytes()
    report["clock"] = moment(now_us)
    if now_us < EARLIEST_NOW_US:
        report["remedies"].append(
            f"the clock says {moment(now_us)}: messages of today would lie ahead of it and be refused.\n"
            "  Set it, and keep it so:  timedatectl set-ntp true"
        )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown")
    except OSError:
        return platform.processor() or "unknown"


def _look_at_kernels(report: Report) -> None:
    """Numba keeps machine code beside the sources, or below NUMBA_CACHE_DIR; without that each start compiles."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    folders = [Path(named)] if named else [_package(name) / "__pycache__" for name in KERNELS]
    kept = sum(1 for folder in folders for _ in folder.rglob("*.nbc")) if all(map(Path.exists, folders)) else 0
    unwritable = [folder for folder in folders if not os.access(_existing(folder), os.W_OK)]
    report["kernels"] = {"folders": [str(folder) for folder in folders], "compiled": kept, "writable": not unwritable}
    if unwritable and not kept:
        report["remedies"].append(
            f"{unwritable[0]} can't be written, so kernels are compiled at every start (some 20 s).\n"
            "  Let riverd keep them elsewhere:  export NUMBA_CACHE_DIR=~/.cache/riverd"
        )


def _package(name: str) -> Path:
    return Path(__file__).parents[2] / name


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _look_at_config(report: Report, config_path: Path) -> Config | None:
    report["config"] = str(config_path)
    try:
        return load_config(config_path)
    except ConfigError as error:
        report["remedies"].append(str(error))
        return None


def _look_at_database(report: Report, config: Config, config_path: Path, now_us: int) -> None:
    try:
        path = database_path(config, config_path)
        seen = inspect_database(database_url(config, config_path), config.model.name)
    except StorageError as error:
        report["remedies"].append(str(error))
        return
    place = {"path": str(path)} if path else {"server": seen.place if seen else "in memory"}
    report["database"] = {**place, "exists": seen is not None}
    if seen is not None:
        report["database"] |= {"bytes": seen.bytes, "schema": seen.schema, "newest_schema": REVISIONS[-1]}
        report["database"] |= {} if seen.server is None else {"version": seen.server}
        report["database"] |= _of_model(seen, now_us)
        _judge_database(report, seen, config, now_us)
    if path and not (os.access(_existing(path), os.W_OK) and os.access(_existing(path.parent), os.W_OK)):
        report["remedies"].append(
            f"{path} can't be written.\n  Check the owner and permissions of the file and its folder."
        )


def _of_model(seen: DatabaseSeen, now_us: int) -> Report:
    model = seen.model
    if model is None:
        return {"checkpoints": []}
    return {
        "checkpoints": [
            {"number": c.number, "age_s": (now_us - c.created_at) / MICROSECONDS, "bytes": c.bytes}
            for c in model.checkpoints
        ],
        "bytes_per_day": bytes_per_day(model.checkpoints),
        "blocks_bytes": model.blocks_bytes,
        "lease": {"holder": model.holder, "running": model.running},
        "snapshots": {"number": model.snapshots, "bytes": model.snapshots_bytes},
        "dead_letters": model.dead_letters,
        "firing": model.firing,
    }


def bytes_per_day(checkpoints: list[CheckpointSeen]) -> float | None:
    """What checkpoints write in a day, if they go on as the last two did; None with fewer.

    >>> bytes_per_day([CheckpointSeen(8, 120_000_000, 1_000), CheckpointSeen(7, 60_000_000, 5_000)])
    1440000.0
    """
    if len(checkpoints) < 2 or checkpoints[0].created_at <= checkpoints[1].created_at:
        return None
    apart_s = (checkpoints[0].created_at - checkpoints[1].created_at) / MICROSECONDS
    return checkpoints[0].bytes * DAY_S / apart_s


def _judge_database(report: Report, seen: DatabaseSeen, config: Config, now_us: int) -> None:
    remedies, model = report["remedies"], seen.model
    if seen.schema is not None and seen.schema not in REVISIONS:
        remedies.append(
            f"{seen.place} has tables of version {seen.schema}, newer than this riverd's {REVISIONS[-1]}.\n"
            "  Upgrade riverd."
        )
    if model is None or not model.checkpoints:
        return
    age_us = now_us - model.checkpoints[0].created_at
    if model.running and age_us > 10 * max(config.storage.checkpoint, 60 * MICROSECONDS):
        remedies.append(
            f"{model.holder} runs this model, but its last checkpoint is {span(age_us / MICROSECONDS)} old.\n"
            "  Look at its log: the disk may be full or the database locked."
        )
    if model.dead_letters:
        report["hint"] = f"{count(model.dead_letters)} dead letters:  riverd deadletters list"


def _disk_of(config: Config, config_path: Path) -> Path:
    try:
        return database_path(config, config_path) or config_path
    except StorageError:  # no URL, which was said
        return config_path


def _look_at_disk(report: Report, config: Config, config_path: Path) -> None:
    path = _disk_of(config, config_path)
    usage = shutil.disk_usage(_existing(path.parent))
    report["disk"] = {"free_bytes": usage.free, "total_bytes": usage.total}
    if usage.free < LITTLE_SPACE:
        report["remedies"].append(
            f"{_existing(path.parent)}: {volume(usage.free)} are free.\n"
            "  Free some space: a checkpoint that can't be written is tried again, but history is not kept meanwhile."
        )


def _print(report: Report) -> None:
    for title, line in _LINES:
        text = line(report)
        if text:
            print(f"{title:<13}{text}")
    for remedy in report["remedies"]:
        print(f"mend: {remedy}")
    if not report["remedies"]:
        print("Nothing needs mending.")


def _packages(report: Report) -> str:
    return ", ".join(f"{name} {version or 'missing'}" for name, version in report["packages"].items())


def _kernels(report: Report) -> str:
    kernels = report["kernels"]
    state = (
        f"{kernels['compiled']} compiled"
        if kernels["compiled"]
        else "not compiled yet: the first run takes some 20 s more"
    )
    return f"{state}; {kernels['folders'][0]} is {'writable' if kernels['writable'] else 'not writable'}"


def _database(report: Report) -> str:
    database = report.get("database")
    if database is None:
        return ""
    place = ", ".join(str(database[key]) for key in ("path", "server", "version") if key in database)
    if not database["exists"]:
        return f"{place} does not exist yet; the first run makes it"
    if database["schema"] is None:
        return f"{place}, without tables; the first run makes them"
    return f"{place}, {volume(database['bytes'])}, tables {database['schema']} of {database['newest_schema']}"


def _checkpoints(report: Report) -> str:
    kept = report.get("database", {}).get("checkpoints")
    if not kept:
        return ""
    newest, rate = kept[0], report["database"]["bytes_per_day"]
    text = f"number {newest['number']}, {span(max(newest['age_s'], 0))} old, {volume(newest['bytes'])} written"
    return text + (f"; {volume(rate)} a day at the rate of the last two" if rate is not None else "")


def _lease(report: Report) -> str:
    lease = report.get("database", {}).get("lease")
    if not lease or lease["holder"] is None:
        return ""
    running = {True: "running now", False: "not running now", None: "it can't be told whether it runs"}[
        lease["running"]
    ]
    return f"{lease['holder']}, {running}"


def _kept(report: Report) -> str:
    database = report.get("database", {})
    if "snapshots" not in database:
        return ""
    firing = f"; firing: {', '.join(database['firing'])}" if database["firing"] else ""
    snapshots = database["snapshots"]
    return (
        f"{snapshots['number']} snapshots ({volume(snapshots['bytes'])}), "
        f"{count(database['dead_letters'])} dead letters{firing}"
    )


_LINES: tuple[tuple[str, Callable[[Report], str]], ...] = (
    ("riverd", lambda report: f"{report['riverd']}, Python {report['python']}"),
    ("packages", _packages),
    ("system", lambda report: f"{report['system']}, SQLite {report['sqlite']}"),
    ("processor", lambda report: f"{report['cpu']['model']}, {report['cpu']['usable']} usable"),
    ("memory", lambda report: f"{volume(report['memory_available_bytes'] or 0)} free"),
    ("clock", lambda report: f"{report['clock']} UTC"),
    ("kernels", _kernels),
    ("config", lambda report: report["config"]),
    ("database", _database),
    ("checkpoint", _checkpoints),
    ("lease", _lease),
    ("kept", _kept),
    ("disk", lambda report: f"{volume(report['disk']['free_bytes'])} free" if "disk" in report else ""),
)  # fmt: skip
