"""``riverd deadletters``: look at messages that were not used, send them again, forget them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from riverd.assembly import Parts, assemble
from riverd.config import Config, resolve_path
from riverd.durations import format_duration
from riverd.engine import CONFLICT
from riverd.errors import RiverdError
from riverd.inspection.check_state import database_path
from riverd.load_config import load_config
from riverd.redaction import was_redacted
from riverd.screen.notation import count, moment, plain
from storage.deadletters import StoredDeadLetter
from storage.store import Store
from stream.records import SOUND
from stream.source import Batch, Partition

SHOWN = 50


def list_letters(config_path: Path, *, reason: str | None, limit: int, as_json: bool) -> int:
    """Print the newest letters, those with ``reason`` in theirs if it is given."""
    with _store(config_path) as (_, store):
        letters = store.dead_letters(limit=limit, reason=reason)
        total = store.dead_letter_count()
    if as_json:
        print(json.dumps({"total": total, "dead_letters": [_document(letter) for letter in letters]}))
        return 0
    if letters:
        _print_table(letters)
    of_those = f", with {reason!r} in the reason" if reason is not None else ""
    print(f"{count(len(letters))} of {count(total)} dead letters shown{of_those}.")
    return 0


def _print_table(letters: Sequence[StoredDeadLetter]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("id", "topic", "partition", "position", "reason", "stored (UTC)", box=None, pad_edge=False)
    for stored in letters:
        letter = stored.letter
        texts = (letter.topic, letter.partition, f"{letter.position:,}", letter.reason)
        table.add_row(str(stored.id), *(Text(plain(text)) for text in texts), moment(stored.at))
    Console().print(table)


def show(config_path: Path, number: int, *, as_json: bool) -> int:
    """Print one letter with its message."""
    with _store(config_path) as (_, store):
        stored = store.dead_letter(number)
    if as_json:
        print(json.dumps(_document(stored) | {"payload": stored.letter.payload.decode("utf-8", "backslashreplace")}))
        return 0
    letter = stored.letter
    print(f"dead letter {stored.id}, stored {moment(stored.at)} UTC")
    print(f"place   {plain(letter.topic)}/{plain(letter.partition)} at {letter.position:,}")
    print(f"reason  {plain(letter.reason)}")
    print(f"message {count(len(letter.payload))} bytes:")
    for line in _readable(letter.payload).splitlines():
        print(f"  {plain(line)}")
    return 0


def _readable(payload: bytes) -> str:
    try:
        return msgspec.json.format(payload, indent=2).decode()
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return payload.decode("utf-8", "backslashreplace")


def replay(config_path: Path, numbers: Sequence[int], *, all_letters: bool, as_json: bool) -> int:
    """Append the messages of these letters that can be decoded now to their topics, and forget them.

    They go into a new partition each time, ``replayed-<time>.jsonl``, whole or not at all. Should riverd be
    killed between that and forgetting them, a second replay sends them twice: then they are duplicates.
    Returns 1 if some could not be sent.
    """
    with _store(config_path) as (config, store):
        if config.source.kind == "kafka":
            raise RiverdError(
                "riverd reads Kafka and writes nothing to it, so it can't send dead letters again.\n"
                "  See one with `riverd deadletters show ID`, and send it again from its producer."
            )
        letters = (
            store.dead_letters(limit=None) if all_letters else [store.dead_letter(n) for n in sorted({*numbers})][::-1]
        )
        parts = assemble(config, now_us=lambda: time.time_ns() // 1000)
        sent: dict[str, list[StoredDeadLetter]] = {}
        refused: dict[int, str] = {}
        for stored in reversed(letters):  # the oldest first, as they came
            why = _why_not(config, parts, stored)
            if why is None:
                sent.setdefault(stored.letter.topic, []).append(stored)
            else:
                refused[stored.id] = why
        written = [_append(config, config_path, topic, some) for topic, some in sorted(sent.items())]
        store.delete_dead_letters([stored.id for some in sent.values() for stored in some])
    if as_json:
        files = [{"path": str(file.path), "ids": file.ids} for file in written]
        print(json.dumps({"replayed": files, "refused": refused}))
    else:
        _print_replayed(written, refused, asked=len(letters))
    return 1 if refused else 0


@dataclass(frozen=True, slots=True)
class _Replayed:
    path: Path
    ids: list[int]


def _why_not(config: Config, parts: Parts, stored: StoredDeadLetter) -> str | None:
    """Why a message would not be used if it were sent again, or None if it would."""
    letter = stored.letter
    if was_redacted(letter.payload):
        return "fields of it were redacted, so it is not what was sent; send it again from its producer"
    if letter.reason == CONFLICT:
        return "its id is taken by another event, and it would be a conflict again"
    if letter.topic == config.events.topic:
        decoder = parts.event_decoder
    elif config.labels is not None and parts.label_decoder is not None and letter.topic == config.labels.topic:
        decoder = parts.label_decoder
    else:
        return f"the config does not read topic {letter.topic!r}"
    partition = Partition(letter.topic, letter.partition)
    batch = Batch(partition, np.zeros(1, np.int64), 1, [letter.payload])
    chunk = decoder.decode(batch, 0)
    return None if chunk.columns.flaw[0] == SOUND else f"it still can't be decoded: {chunk.reasons[0]}"


def _append(config: Config, config_path: Path, topic: str, letters: Sequence[StoredDeadLetter]) -> _Replayed:
    folder = resolve_path(config_path, config.source.path) / topic
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    path = folder / f"replayed-{stamp}Z.jsonl"
    part = folder / f".{path.name}.part"  # a running riverd does not look at it
    try:
        with part.open("xb") as file:
            for stored in letters:
                # a message of several lines must become one
                file.write(msgspec.json.format(stored.letter.payload, indent=-1) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise RiverdError(
            f"{path} can't be written: {error.strerror}.\n  Nothing was sent to it. Check space, owner and permissions."
        ) from None
    return _Replayed(path, [stored.id for stored in letters])


def _print_replayed(written: Sequence[_Replayed], refused: dict[int, str], *, asked: int) -> None:
    for file in written:
        print(f"Sent {count(len(file.ids))} to {file.path}.")
    for number, why in list(refused.items())[:SHOWN]:
        print(f"  {number}: {plain(why)}")
    if len(refused) > SHOWN:
        print(f"  and {count(len(refused) - SHOWN)} more")
    replayed = asked - len(refused)
    print(f"{count(replayed)} of {count(asked)} replayed; {count(len(refused))} stay dead letters.")


def purge(config_path: Path, *, older_than_us: int | None, as_json: bool) -> int:
    """Forget letters for good: those stored longer ago than this, or all."""
    before = None if older_than_us is None else time.time_ns() // 1000 - older_than_us
    with _store(config_path) as (_, store):
        purged = store.purge_dead_letters(before=before)
        left = store.dead_letter_count()
    if as_json:
        print(json.dumps({"purged": purged, "left": left}))
    else:
        which = "" if older_than_us is None else f" older than {format_duration(older_than_us)}"
        print(f"{count(purged)} dead letters{which} purged; {count(left)} left.")
    return 0


@contextmanager
def _store(config_path: Path) -> Iterator[tuple[Config, Store]]:
    from riverd.service import open_store

    config = load_config(config_path)
    path = database_path(config, config_path)
    if path is not None and not path.exists():
        raise RiverdError(
            f"{path} does not exist yet, so there are no dead letters.\n"
            f"  Run riverd first:  riverd run -c {config_path}"
        )
    store = open_store(config, config_path, reached=lambda _: None)
    try:
        yield config, store
    finally:
        store.close()


def _document(stored: StoredDeadLetter) -> dict[str, Any]:
    letter = stored.letter
    return {
        "id": stored.id,
        "topic": letter.topic,
        "partition": letter.partition,
        "position": letter.position,
        "reason": letter.reason,
        "stored_at": datetime.fromtimestamp(stored.at / 1e6, UTC).isoformat().replace("+00:00", "Z"),
        "redacted": was_redacted(letter.payload),
    }
