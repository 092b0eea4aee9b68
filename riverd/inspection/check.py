"""``riverd check``: what a run with this config would meet, before it is run."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from monitors.panes import panes_needed
from riverd.assembly import assemble
from riverd.config import Config
from riverd.durations import format_duration
from riverd.errors import ConfigError
from riverd.inspection.check_data import (
    Findings,
    check_decoding,
    check_features,
    check_join,
    check_size,
    check_slots,
    read_topic,
)
from riverd.inspection.check_state import APPLIED, database_path, fates, stored_settings
from riverd.load_config import load_config
from riverd.screen.notation import count, share, span, volume
from storage.errors import StorageError
from storage.inspection import inspect_database
from stream.source import SourceError

MESSAGES = 50_000  # of each topic that are looked at
PANE_BYTES = 512 * 2 * (8 + 8)


def check(config_path: Path, *, as_json: bool) -> int:
    """Print faults, each with place, reason and remedy, and what the stream asks for; 1 if there are faults."""
    findings = Findings()
    try:
        config = load_config(config_path)
    except ConfigError as error:
        findings.faults += str(error).split(f"\n{config_path}: ")
    else:
        _check_stream(config, config_path, findings)
        _check_panes(config, findings)
        _check_state(config, config_path, findings)
    if as_json:
        print(json.dumps({"faults": findings.faults, "notes": findings.notes, **findings.figures}))
    else:
        _print(config_path, findings)
    return 1 if findings.faults else 0


def _check_stream(config: Config, config_path: Path, findings: Findings) -> None:
    from riverd.service import open_source

    try:
        source = open_source(config, config_path, bounded=True)
    except SourceError as error:
        findings.faults.append(str(error))
        return
    try:
        parts = assemble(config, now_us=lambda: time.time_ns() // 1000)
        events = read_topic(source, parts.event_decoder, config.events.topic, at_most=MESSAGES)
        check_decoding(events, findings)
        sound = len(events.column("time"))
        if sound:
            check_features(config, events, findings)
        if config.labels is not None and parts.label_decoder is not None:
            labels = read_topic(source, parts.label_decoder, config.labels.topic, at_most=MESSAGES)
            check_decoding(labels, findings)
            check_join(config, events, labels, findings)
        if sound:
            check_size(config, parts, events, findings, available=available_bytes())
            check_slots(config, events, findings)
    finally:
        source.close()


def available_bytes() -> int | None:
    """Memory that is free to use, where the system tells."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _check_panes(config: Config, findings: Findings) -> None:
    join_window_us = config.labels.window if config.labels else 0
    panes = panes_needed(
        pane_us=config.monitors.tick_us, windows_us=config.monitors.windows, join_window_us=join_window_us
    )
    findings.figures["panes"] = {
        "tick": format_duration(config.monitors.tick_us),
        "panes": panes,
        "bytes": panes * PANE_BYTES,
        "first_final_window": format_duration(min(config.monitors.windows) + join_window_us),
    }


def _check_state(config: Config, config_path: Path, findings: Findings) -> None:
    path = database_path(config, config_path)
    if path is None:
        return
    try:
        seen = inspect_database(path, config.model.name)
        stored = stored_settings(seen)
    except StorageError as error:
        findings.faults.append(f"{path}: {error}" if str(path) not in str(error) else str(error))
        return
    if stored is None:
        findings.figures["state"] = None
        return
    changed = fates(config, stored)
    assert seen is not None and seen.model is not None  # noqa: PT018 - else nothing would be stored
    findings.figures["state"] = {
        "checkpoint": seen.model.checkpoints[0].number,
        "changes": [{"key": f.key, "then": f.then, "now": f.now, "fate": f.fate} for f in changed],
    }
    refused = [fate for fate in changed if fate.fate == "refused"]
    if refused:
        lines = "".join(f"\n  {fate.key}: {fate.then} then, {fate.now} now" for fate in refused)
        findings.faults.append(
            f"the state of {config.model.name!r} was learned under other settings, so riverd refuses to go on.{lines}\n"
            "  Put them back, or give the model another [model] name: it learns the stream anew from its beginning."
        )


def _print(config_path: Path, findings: Findings) -> None:
    figures = findings.figures
    for name, figure in figures.items():
        line = _LINES[name](figure) if name in _LINES else _topic(name, figure)
        if line:
            print(line)
    for note in findings.notes:
        print(f"note: {note}")
    for fault in findings.faults:
        print(f"fault: {fault}")
    found = len(findings.faults)
    print(f"{config_path}: {count(found)} fault{'' if found == 1 else 's'}." if found else f"{config_path}: no faults.")


def _topic(name: str, figure: dict[str, Any]) -> str:
    return f"{name:<12} {count(figure['messages'])} messages read, {count(figure['undecodable'])} can't be decoded"


def _delay(figure: dict[str, float]) -> str:
    return "label delay  " + ", ".join(f"{share(float(q))} within {span(max(s, 0.0))}" for q, s in figure.items())


def _size(figure: dict[str, Any]) -> str:
    return (
        f"memory       {volume(figure['memory_bytes'])}: {figure['events_per_second']:,.3g} events/s of event time, "
        f"{count(figure['pending_rows'])} waiting, {count(figure['known_rows'])} known, "
        f"up to {figure['bytes_per_row']} bytes each, and the weights"
    )


def _slots(figure: dict[str, Any]) -> str:
    return (
        f"weights      {count(figure['features_seen'])} features seen in {count(figure['slots'])} slots: "
        f"{share(figure['share_colliding'])} share one"
    )


def _panes(figure: dict[str, Any]) -> str:
    return (
        f"panes        {figure['panes']} of {figure['tick']}, {volume(figure['bytes'])}; "
        f"the first window is final after {figure['first_final_window']}"
    )


def _state(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return "state        none stored yet: riverd begins at the beginning of the topics"
    if not figure["changes"]:
        rest = ", ".join(f"[{section}]" for section in APPLIED)
        return f"state        checkpoint {figure['checkpoint']} fits; changes of {rest} are applied at the next start"
    return f"state        checkpoint {figure['checkpoint']}: {len(figure['changes'])} settings differ"


def _orphans(figure: float | None) -> str:
    return "" if figure is None else f"join         {share(1 - figure)} of the labels find their event"


_LINES: dict[str, Any] = {
    "delay_s": _delay,
    "size": _size,
    "slots": _slots,
    "panes": _panes,
    "state": _state,
    "labels_without_event": _orphans,
}
