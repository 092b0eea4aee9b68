"""The text of riverd.toml: every guess, with its reason beside it."""

from __future__ import annotations

from typing import Any

from riverd.screen.notation import count, volume
from riverd.start.guess_label import Label
from riverd.start.inference import Inferred
from riverd.start.sample import MESSAGE_BYTES, Sample
from riverd.start.toml_text import Lines


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
        line += f"; {count(sample.too_long)} more, longer than {volume(MESSAGE_BYTES)}" if sample.too_long else ""
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
        _positive_when(text, events, inferred.label)
    if "dedupe" in events:
        text.key("dedupe", events["dedupe"], "some came twice: an id is known this long, and a second one ignored")


def _positive_when(text: Lines, section: dict[str, Any], label: Label) -> None:
    if label.positive is not None:
        text.key("positive_when", section["positive_when"], label.positive.why)


def _labels(text: Lines, inferred: Inferred) -> None:
    labels = inferred.values["labels"]
    assert inferred.join is not None
    assert inferred.window is not None
    assert inferred.label_time is not None
    text.section("labels")
    text.key("topic", labels["topic"])
    text.key("id", labels["id"], inferred.join.label_id.why)
    text.key("time", labels["time"], inferred.label_time.why)
    if inferred.label:
        text.key("value", labels["value"], inferred.label.why)
        _positive_when(text, labels, inferred.label)
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
    if inferred.crosses:
        text.names("crosses", [(list(cross.pair), cross.why) for cross in inferred.crosses])
    elif inferred.no_crosses:
        text.remark(inferred.no_crosses)
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
