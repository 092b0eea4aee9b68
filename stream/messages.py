"""Typed decoding of JSON messages, one by one, so that a bad one fails alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from stream.schema import Category
from stream.source import Batch

EMPTY = "empty"  # the reason of a tombstone

Id = int | str | None
Time = int | float | datetime | None
Number = float | None
Outcome = bool | float | None  # not int: one beyond float64 must fail in its own message
Value = Category
Decoded = list[tuple[Any, ...]]  # by top-level key: its values, one per message


def split_path(path: str) -> list[str]:
    r"""The keys of a field path; a dot that belongs to a key is written ``\.``.

    >>> split_path(r"payload.after.id"), split_path(r"user\.id")
    (['payload', 'after', 'id'], ['user.id'])
    """
    return [part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", path)]


def value_at(message: bytes, path: str) -> Any:
    """The value at a path of a sound message; None if it is missing.

    >>> value_at(b'{"payload": {"carrier": "UA"}}', "payload.carrier")
    'UA'
    """
    value = msgspec.json.decode(message)
    for key in split_path(path):
        value = value.get(key) if isinstance(value, dict) else None
    return value


class Messages:
    """Decodes the fields at given paths; all others are skipped unseen.

    Parameters
    ----------
    fields
        The type of each path. A field that is missing, or null, or below one that is, is None.
    required
        Paths of top-level fields without which a message is bad.
    """

    def __init__(self, fields: Mapping[str, Any], required: Sequence[str] = ()) -> None:
        tree: dict[str, Any] = {}
        for path, kind in fields.items():
            *parents, leaf = split_path(path)
            node = tree
            for parent in parents:
                node = node.setdefault(parent, {})
            node[leaf] = kind
        struct, self._attributes = _struct(tree, {split_path(path)[0] for path in required})
        self._decode = msgspec.json.Decoder(struct).decode
        self._blank = struct(**{self._attributes[name,]: "" for name in required})
        self._paths = {path: tuple(split_path(path)) for path in fields}
        self._no_messages: Decoded = [()] * len(tree)

    def decode(self, batch: Batch) -> tuple[Decoded, dict[int, str]]:
        """The values of each top-level key, blank ones for a bad message, and by index why a message is bad."""
        reasons = dict(batch.broken)
        messages = batch.messages
        if reasons:
            messages = [b"" if i in reasons else message for i, message in enumerate(messages)]
        structs: list[msgspec.Struct] = []
        rest: Iterator[bytes] = iter(messages)
        while True:
            try:
                structs.extend(map(self._decode, rest))
                # turned into columns by two C loops: several times cheaper than an attribute at a time
                return list(zip(*map(astuple, structs), strict=True)) or self._no_messages, reasons
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
                # extend kept what came before, and the iterator has passed the bad one
                index = len(structs)
                reasons.setdefault(index, EMPTY if not messages[index].strip() else f"{error}")
                structs.append(self._blank)

    def column(self, decoded: Decoded, path: str) -> Sequence[Any]:
        """The values at a path, one per message."""
        key, _, below = self._attributes[self._paths[path]].partition(".")
        values = decoded[int(key[1:])]
        return list(map(_or_none(attrgetter(below)), values)) if below else values

    def table(self, decoded: Decoded, paths: Sequence[str], count: int) -> NDArray[np.float64]:
        """The number fields at the paths as (count, k); null is NaN."""
        table = np.empty((count, len(paths)))
        for column, path in enumerate(paths):
            table[:, column] = np.fromiter(self.column(decoded, path), np.float64, count)
        return table


def _or_none(get: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def safe(struct: msgspec.Struct) -> Any:
        try:
            return get(struct)
        except AttributeError:  # the object that should hold it is null
            return None

    return safe


def _struct(
    tree: Mapping[str, Any], required: set[str], above: tuple[str, ...] = ()
) -> tuple[type[msgspec.Struct], dict[tuple[str, ...], str]]:
    """A struct with one attribute per key, required ones first, and the dotted attribute of each leaf."""
    attributes: dict[tuple[str, ...], str] = {}
    definition: list[Any] = []
    rename: dict[str, str] = {}
    for i, name in enumerate(sorted(tree, key=lambda name: name not in required)):
        attribute, kind = f"f{i}", tree[name]
        rename[attribute] = name
        if isinstance(kind, dict):
            inner, leaves = _struct(kind, set(), (*above, name))
            definition.append((attribute, inner | None, None))
            attributes |= {(name, *keys): f"{attribute}.{dotted}" for keys, dotted in leaves.items()}
        else:
            definition.append((attribute, kind) if name in required else (attribute, kind, None))
            attributes[name,] = attribute
    # gc=False: a struct of scalars can't be part of a cycle, and a million of them would slow every collection
    return msgspec.defstruct("Message", definition, rename=rename, gc=False), attributes
