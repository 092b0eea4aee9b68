"""What the engine and the web process say to each other: a line of JSON each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from riverd.status import Status

LearningState = Literal["paused", "running"]
Wanted = Literal["pause", "resume", "thaw", "retrain"]


@dataclass(frozen=True, slots=True)
class Document:
    """What ``/status`` shows; sent by the engine once a second, and at once when a command has been carried out."""

    version: str  # of riverd
    started_at: int  # wall clock in microseconds
    at: int
    commands: int  # number of the last command that was carried out
    status: Status


@dataclass(frozen=True, slots=True)
class Command:
    """What the web process asks of the engine."""

    number: int  # counted by each web process from 1
    what: Wanted
    arguments: dict[str, Any] = field(default_factory=dict)  # of a retrain
    keys: list[str] = field(default_factory=list)  # whoever asks under the same ones has asked once


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a command that had to be stored; sent once that is known."""

    answers: int  # number of the command
    request: int | None = None  # its number in the database
    is_new: bool = False  # False: it was there already
    fault: str | None = None  # why it could not be stored


def to_line(message: Document | Command | Answer) -> bytes:
    """One line; what is not a finite number becomes null."""
    return msgspec.json.encode(message) + b"\n"


def read_answer(line: bytes) -> Answer | None:
    """The answer of a line; None if that is a document. Raises msgspec.DecodeError."""
    return msgspec.json.decode(line, type=Answer) if line.startswith(b'{"answers":') else None


def read_document(line: bytes) -> Document:
    """The document of a line.

    Raises
    ------
    msgspec.DecodeError
        It is none.
    """
    values = msgspec.json.decode(line)
    for event in _events(values):
        # an undefined value is NaN, which JSON does not have
        for name in ("value", "bound"):
            event[name] = float("nan") if event.get(name) is None else event[name]
    return msgspec.convert(values, Document)


def read_command(line: bytes) -> Command:
    """The command of a line; raises msgspec.DecodeError."""
    return msgspec.json.decode(line, type=Command)


def _events(values: Any) -> list[dict[str, Any]]:
    try:
        return list(values["status"]["events"])
    except (TypeError, KeyError):
        return []  # convert will say what is missing
