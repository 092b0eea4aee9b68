"""``riverd check``: what a run with this config would meet, before it is run."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from monitors.grid import panes_needed
from riverd.assembly import assemble
from riverd.changes import APPLIED, NEEDS_REPLAY, REFUSED, Change, changed_settings
from riverd.config import Config
from riverd.database_url import PASSWORD, database_url, holds_password
from riverd.durations import format_duration
from riverd.errors import ConfigError, StateMismatchError
from riverd.inspection.check_data import (
    Findings,
    check_decoding,
    check_features,
    check_join,
    check_size,
    check_slots,
    read_topic,
)
from riverd.inspection.check_numbers import check_numbers
from riverd.inspection.check_state import SECTIONS_APPLIED, stored_settings
from riverd.load_config import load_config
from riverd.screen.notation import count, share, span, volume
from storage.errors import DamagedBlob, StorageError
from storage.inspection import inspect_database
from stream.source import Source, SourceError

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
    except (SourceError, ConfigError) as error:
        findings.faults.append(str(error))
        return
    try:
        parts = assemble(config, now_us=lambda: time.time_ns() // 1000)
        events = read_topic(source, parts.event_decoder, config.events.topic, at_most=MESSAGES)
        check_decoding(events, findings)
        sound = len(events.column("time"))
        if sound:
            check_features(config, events, findings)
            check_numbers(config, events, findings)
        if config.labels is not None and parts.label_decoder is not None:
            labels = read_topic(source, parts.label_decoder, config.labels.topic, at_most=MESSAGES)
            check_decoding(labels, findings)
            check_join(config, events, labels, findings)
        if sound:
            check_size(config, parts, events, findings, available=available_bytes())
            check_slots(config, events, findings)
        if config.source.kind == "kafka":
            _check_clocks(config, source, findings)
    finally:
        source.close()


def _check_clocks(config: Config, source: Source, findings: Findings) -> None:
    """Say whose clock the timestamps of Kafka's messages are of, and what that means where they are the event time."""
    from stream.kafka import KafkaSource

    assert isinstance(source, KafkaSource)
    findings.figures["timestamps"] = dict(sorted(source.clocks.items()))
    for of in filter(None, (config.events, config.labels)):
        if of.time is None and source.clocks.get(of.topic) == "LogAppendTime":
            findings.notes.append(
                f"topic {of.topic!r}: the time of a message is when the broker got it, so what is sent late counts as "
                'new.\n  Name the field of its own time: time = "...".'
            )


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
    try:
        if holds_password(config):
            findings.notes.append(f"[storage] url holds a password. Better give it in the environment: {PASSWORD}.")
        url = database_url(config, config_path)
        seen = inspect_database(url, config.model.name)
        stored = stored_settings(seen, model=config.model.name)
    except DamagedBlob as error:
        findings.faults.append(f"the store of {config.model.name!r}: {error}")
        return
    except (StorageError, StateMismatchError) as error:
        findings.faults.append(str(error))
        return
    if stored is None:
        findings.figures["state"] = None
        return
    changes = changed_settings(config, stored)
    assert seen is not None and seen.model is not None  # noqa: PT018 - else nothing would be stored
    findings.figures["state"] = {
        "checkpoint": seen.model.checkpoints[0].number,
        "changes": [{"key": c.key, "then": c.then, "now": c.now, "fate": c.fate} for c in changes],
    }
    findings.notes += [
        f"{change.key}: {change.then} then, {change.now} now: applied at the next start; the stored "
        f"{' and '.join(change.anew)} can't be carried over and begin anew."
        for change in changes
        if change.fate == APPLIED
    ]
    for fate, why in _NOT_APPLIED.items():
        if differing := [change for change in changes if change.fate == fate]:
            findings.faults.append(f"the state of {config.model.name!r} {why[0]}{_listed(differing)}\n  {why[1]}")


_NOT_APPLIED = {
    NEEDS_REPLAY: (
        "was learned under other settings; these need a replay.",
        "Put them back, or give the model another [model] name: it learns the stream anew from its beginning, and the "
        "old state stays under the old name.",
    ),
    REFUSED: (
        "belongs to another stream, so riverd refuses to go on.",
        "Put them back, or give the model another [model] name for this stream.",
    ),
}


def _listed(changes: list[Change]) -> str:
    return "".join(f"\n  {change.key}: {change.then} then, {change.now} now" for change in changes)


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
        rest = ", ".join(f"[{section}]" for section in SECTIONS_APPLIED)
        return f"state        checkpoint {figure['checkpoint']} fits; changes of {rest} are applied at the next start"
    return f"state        checkpoint {figure['checkpoint']}: {len(figure['changes'])} settings differ"


def _clocks(figure: dict[str, str]) -> str:
    whose = {"CreateTime": "the producer's", "LogAppendTime": "the broker's"}
    return "timestamps   " + ", ".join(f"{topic}: {kind}, {whose[kind]}" for topic, kind in figure.items())


def _orphans(figure: float | None) -> str:
    return "" if figure is None else f"join         {share(1 - figure)} of the labels find their event"


_LINES: dict[str, Any] = {
    "delay_s": _delay,
    "size": _size,
    "slots": _slots,
    "panes": _panes,
    "state": _state,
    "labels_without_event": _orphans,
    "timestamps": _clocks,
}
