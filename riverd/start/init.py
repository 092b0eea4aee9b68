"""``riverd init``: a config and topics out of samples, ready to run."""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from riverd.durations import format_duration
from riverd.errors import RiverdError
from riverd.load_config import load_config
from riverd.screen.notation import count, plain
from riverd.start.config_text import config_text
from riverd.start.guess_label import Label
from riverd.start.importing import Imported, import_topic
from riverd.start.inference import Inferred, infer
from riverd.start.sample import read_sample
from riverd.start.tabular import stem

SAMPLE = 100_000  # messages that are looked at, of each file
DATA = "data"


@dataclass(frozen=True, slots=True)
class _Topics:
    """Where the messages will be: ``path/topic``, and what has to be imported there."""

    path: str
    events: str
    labels: str
    imports: list[tuple[Path, str]]


def init(*, sample: Path, labels: Path | None, out: Path, force: bool, label: str | None, as_json: bool) -> int:
    """Look at the samples, write ``out`` and, unless they are topic folders already, the topics beside it.

    Raises
    ------
    RiverdError
        The config is there already, or something that it needs can't be told from the samples. Then nothing
        has been written.
    """
    if out.exists() and not force:
        raise RiverdError(f"{out} exists already.\n  Add --force to write it anew, or name another file with --out.")
    topics = _topics(sample, labels, out)
    events = read_sample(sample, at_most=SAMPLE)
    outcomes = read_sample(labels, at_most=SAMPLE) if labels else None
    name = _name(out.resolve().parent.name if topics.imports else topics.events)
    now_us = time.time_ns() // 1000
    inferred = infer(events, outcomes, name=name, topics=(topics.events, topics.labels), label=label, now_us=now_us)
    imported, kept = _import(topics, inferred, out)
    text = config_text(inferred, topics.path, events, outcomes)
    _write(out, text)
    load_config(out)  # what was written must hold
    _report(inferred, imported, kept, out, as_json=as_json)
    return 0


def _topics(sample: Path, labels: Path | None, out: Path) -> _Topics:
    if labels is not None and labels.resolve() == sample.resolve():
        raise RiverdError(
            f"{labels} is given as events and as labels.\n  Leave --labels out where each event brings its own label."
        )
    folders = [path for path in (sample, labels) if path is not None and path.is_dir()]
    if not folders:
        events = _name(stem(sample))
        named = _name(stem(labels)) if labels else ""
        if named == events:
            events, named = "events", "labels"
        imports = [(sample, events)] + ([(labels, named)] if labels else [])
        return _Topics(DATA, events, named, imports)
    if (labels is not None and len(folders) == 1) or len({folder.resolve().parent for folder in folders}) > 1:
        raise RiverdError(
            f"{folders[0]} is a topic folder, and the other sample does not lie beside it.\n"
            "  Give two files, which are then imported, or two folders with one parent."
        )
    parent = Path(os.path.relpath(sample.resolve().parent, out.resolve().parent))
    return _Topics(parent.as_posix(), sample.resolve().name, labels.resolve().name if labels else "", [])


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:100] or "events"


def _import(topics: _Topics, inferred: Inferred, out: Path) -> tuple[list[Imported], list[Path]]:
    """Make topics of the samples; what is there already, from an earlier time, stays and is returned second."""
    imported: list[Imported] = []
    kept: list[Path] = []
    times = [inferred.event_time.path, inferred.label_time.path if inferred.label_time else ""]
    for (file, topic), field in zip(topics.imports, times, strict=False):
        folder = out.parent / topics.path / topic
        there = folder / f"{stem(file)}.jsonl"
        if there.exists():
            kept.append(there)
        else:
            imported += import_topic([file], folder, sort=field)
    return imported, kept


def _write(out: Path, text: str) -> None:
    part = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(out)
    except OSError as error:
        raise RiverdError(f"{out} can't be written: {error.strerror}.\n  Name another file with --out.") from None


def _report(inferred: Inferred, imported: list[Imported], kept: list[Path], out: Path, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_document(inferred, imported, kept, out)))
        return
    for path in kept:
        print(f"{path} is there already and stays as it is; its sample was not imported again.")
    for file in imported:
        order = ", put in order of time" if file.sorted else ""
        print(f"Imported {file.source} as {file.path}: {count(file.messages)} messages{order}.")
    events, labels = inferred.values["events"], inferred.values.get("labels")
    print(f"Wrote {out}. Each guess stands there with its reason:")
    label = events.get("label") or (labels and labels.get("value")) or "that a label comes"
    print(f"  label     {plain(str(label))}: {plain(inferred.label.why if inferred.label else inferred.missing)}")
    if inferred.label and inferred.label.positive:
        print(f"  positive  {_chosen(inferred.label)}")
    print(f"  time      {plain(events['time'])}: {plain(inferred.event_time.why)}")
    if inferred.join and inferred.window and labels:
        ids = " = ".join(plain(" + ".join(ids.paths)) for ids in (inferred.join.event_id, inferred.join.label_id))
        print(f"  join      {ids} within {labels['window']}; {inferred.window.why}")
    left_out = len(inferred.kept("dropped"))
    numbers, categories = inferred.kept("number"), inferred.kept("category")
    print(f"  features  {len(categories)} categories, {len(numbers)} numbers; {left_out} fields left out")
    for cross in inferred.crosses:
        print(f"  cross     {plain(' with '.join(cross.pair))}: {cross.why}")
    for feature in inferred.kept("leak"):
        print(f"  leak?     {plain(feature.path)}: {feature.why}")
    verdict_us = inferred.windows.lengths_us[0] // 2 + (inferred.window.window_us if inferred.window else 0)
    print(f"  alerts    {len(inferred.rules)} rules; first verdicts after {format_duration(verdict_us)} of events")
    option = "" if out == Path("riverd.toml") else f" -c {shlex.quote(str(out))}"
    print(f"Next:  riverd check{option}\n       riverd run{option} --until-idle")


def _chosen(label: Label) -> str:
    assert label.positive is not None
    values = " or ".join(plain(json.dumps(value, ensure_ascii=False)) for value in label.positive.values)
    if not label.positive.guessed:
        return f"{values}: {plain(label.positive.why)}"
    option = shlex.quote(f"{label.path}=VALUE")
    return f"{values}: {plain(label.positive.why)}, by:  riverd init --force --label {option} ..."


def _document(inferred: Inferred, imported: list[Imported], kept: list[Path], out: Path) -> dict[str, Any]:
    return {
        "config": str(out),
        "imported": [{"path": str(f.path), "messages": f.messages, "sorted": f.sorted} for f in imported],
        "kept": [str(path) for path in kept],
        "values": inferred.values | {"alerts": [rule.keys for rule in inferred.rules]},
        "left_out": {f.path: f.why for f in inferred.features if f.kind in ("dropped", "leak")},
    }
