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
from riverd.start.importing import Imported, import_topic
from riverd.start.inference import Inferred, infer
from riverd.start.sample import Sample, read_sample
from riverd.start.toml_text import Lines

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
    if not any(inferred.kept(kind) for kind in ("category", "number", "words")):
        lines = "\n".join(f"    {feature.path}: {feature.why}" for feature in inferred.features[:12])
        raise RiverdError(
            f"{sample}: no field is a feature.\n  Give the events more fields. These were left out:\n{lines}"
        )
    imported, kept = _import(topics, inferred, out)
    text = config_text(inferred, topics.path, events, outcomes)
    _write(out, text)
    load_config(out)  # what was written must hold
    _report(inferred, imported, kept, out, as_json=as_json)
    return 0


def _topics(sample: Path, labels: Path | None, out: Path) -> _Topics:
    folders = [path for path in (sample, labels) if path is not None and path.is_dir()]
    if not folders:
        events = _name(sample.stem)
        named = _name(labels.stem) if labels else ""
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
        there = folder / f"{file.stem}.jsonl"
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


def config_text(inferred: Inferred, path: str, events: Sample, labels: Sample | None) -> str:
    """The text of riverd.toml, every guess with its reason."""
    values, text = inferred.values, Lines()
    text.remark(*_heading(events, labels))
    text.section("model")
    text.key("name", values["model"]["name"], "keys all that is stored; another name learns the stream anew")
    if "bits" in values["model"]:
        text.key("bits", values["model"]["bits"], "the sample has many distinct values")
    text.section("source")
    text.key("path", path, f"topics are the folders {path}/<topic>/*.jsonl; append to a file, or add one")
    _events(text, inferred)
    if labels is not None:
        _labels(text, inferred)
    _features(text, inferred)
    text.section("storage")
    text.key("url", "sqlite:///riverd.db", "beside this file")
    text.section("monitors", "of event time")
    text.key("windows", values["monitors"]["windows"], inferred.windows.why)
    _alerts(text, inferred)
    return f"{text}\n"


def _heading(events: Sample, labels: Sample | None) -> list[str]:
    lines = ["Written by riverd init, from the samples alone; correct what it could not know."]
    for sample in (events, labels):
        if sample is None:
            continue
        line = f"  {sample.path.name}: {'all' if sample.whole else 'the first'} {count(len(sample.messages))} messages"
        line += f", {count(sample.repeated)} of them repeated word for word" if sample.repeated else ""
        line += f", {count(sample.bad)} no JSON objects" if sample.bad else ""
        lines.append(line)
    if events.envelope:
        lines.append(f"The events are {events.envelope} envelopes; fields are read by their paths.")
    return lines


def _events(text: Lines, inferred: Inferred) -> None:
    events = inferred.values["events"]
    text.section("events")
    text.key("topic", events["topic"])
    if inferred.event_id:
        text.key("id", events["id"], inferred.event_id.why)
    text.key("time", events["time"], inferred.event_time.why)
    if "label" in events and inferred.label:
        text.key("label", events["label"], inferred.label.why)
    if "dedupe" in events:
        text.key("dedupe", events["dedupe"], "some came twice: an id is known this long, and a second one ignored")


def _labels(text: Lines, inferred: Inferred) -> None:
    labels = inferred.values["labels"]
    assert inferred.join is not None and inferred.window is not None and inferred.label_time is not None  # noqa: PT018
    text.section("labels")
    text.key("topic", labels["topic"])
    text.key("id", labels["id"], inferred.join.label_id.why)
    text.key("time", labels["time"], inferred.label_time.why)
    if inferred.label:
        text.key("value", labels["value"], inferred.label.why)
    else:
        text.remark("no value: that a label comes means positive")
    text.key("window", labels["window"], inferred.window.why)
    text.key("early_window", labels["early_window"], "how long before its event a label may come")
    text.key("missing", labels["missing"], inferred.missing)
    if "learn" in labels:
        text.key("learn", labels["learn"], inferred.learn)


def _features(text: Lines, inferred: Inferred) -> None:
    text.section("features")
    for key, kind in (("categories", "category"), ("numbers", "number")):
        text.names(key, [(feature.path, feature.why) for feature in inferred.kept(kind)])
    if inferred.kept("words"):
        text.names("words", [(feature.path, feature.why) for feature in inferred.kept("words")])
    text.key("time_parts", inferred.values["features"]["time_parts"], inferred.time_parts)
    categories = [*(f.path for f in inferred.kept("category")), *inferred.values["features"]["time_parts"]]
    if len(categories) > 1:
        text.remark(f"crosses = {json.dumps([categories[:2]])}   where a pair tells more than both alone")
    leaks = inferred.kept("leak")
    if leaks:
        text.remark("Left out, for it looks like the answer. Add it if it is known when the event happens:")
        for feature in leaks:
            text.left_out(feature.path, feature.why)
    dropped = inferred.kept("dropped")
    if dropped:
        text.remark("Left out:")
        for feature in dropped:
            text.left_out(feature.path, feature.why)


_MEANING = {
    "worse-than-usual": "1 knows nothing, 0 is perfect",
    "more-positives-than-predicted": "positives that came for each one predicted",
    "fewer-positives-than-predicted": "or labels that come wrong, or not at all",
    "labels-missing": "share of events that got a label",
}


def _alerts(text: Lines, inferred: Inferred) -> None:
    if not inferred.rules:
        text.remark(
            "", "No [[alerts]]: the sample is too short to tell what is normal. Add rules when some time has passed."
        )
    for rule in inferred.rules:
        text.section("alerts", repeated=True)
        for key, value in rule.keys.items():
            why = rule.why if key in ("above", "below") else _MEANING[rule.keys["name"]] if key == "metric" else ""
            why = "fewer labelled events give no verdict" if key == "min_labelled" else why
            text.key(key, value, why)


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
    print(f"  time      {plain(events['time'])}: {plain(inferred.event_time.why)}")
    if inferred.join and inferred.window and labels:
        ids = f"{plain(events['id'])} = {plain(labels['id'])}"
        print(f"  join      {ids} within {labels['window']}; {inferred.window.why}")
    left_out = len(inferred.kept("dropped"))
    numbers, categories = inferred.kept("number"), inferred.kept("category")
    print(f"  features  {len(categories)} categories, {len(numbers)} numbers; {left_out} fields left out")
    for feature in inferred.kept("leak"):
        print(f"  leak?     {plain(feature.path)}: {feature.why}")
    verdict_us = inferred.windows.lengths_us[0] // 2 + (inferred.window.window_us if inferred.window else 0)
    print(f"  alerts    {len(inferred.rules)} rules; first verdicts after {format_duration(verdict_us)} of events")
    option = "" if out == Path("riverd.toml") else f" -c {shlex.quote(str(out))}"
    print(f"Next:  riverd check{option}\n       riverd run{option} --until-idle")


def _document(inferred: Inferred, imported: list[Imported], kept: list[Path], out: Path) -> dict[str, Any]:
    return {
        "config": str(out),
        "imported": [{"path": str(f.path), "messages": f.messages, "sorted": f.sorted} for f in imported],
        "kept": [str(path) for path in kept],
        "values": inferred.values | {"alerts": [rule.keys for rule in inferred.rules]},
        "left_out": {f.path: f.why for f in inferred.features if f.kind in ("dropped", "leak")},
    }
