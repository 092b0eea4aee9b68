"""From a feature's name and value to the 64-bit hash that picks its slot.

Pinned for ever by golden vectors in the tests: a stored model is useless under another hash.
"""

from __future__ import annotations

import xxhash

Value = str | int | float | bool | None

CACHE_SIZE = 1 << 16
NULL = "null"


def text_of(value: Value) -> str:
    """The text that stands for a category's value: equal values give equal texts.

    ``True``, ``1`` and ``1.0`` are equal in Python, so they are one value here too; otherwise the order of
    arrival would decide which of them a cache remembers.

    >>> [text_of(v) for v in ("UA", 1545, 1545.0, True, 0.5, None)]
    ['UA', '1545', '1545', '1', '0.5', 'null']
    """
    if value is None:
        return NULL
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(int(value))
    return str(int(value)) if value.is_integer() else repr(value)


def hash_text(text: str) -> int:
    """XXH3-64 of the text's UTF-8 bytes, seed 0.

    >>> hex(hash_text("carrier=UA"))
    '0x898b93ca264f7f39'
    """
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))


def hash_feature(name: str, value: Value) -> int:
    """Hash of a category's ``name=value``; a null is the value ``null``."""
    return hash_text(f"{name}={text_of(value)}")


class CategoryHashes(dict[Value, int]):
    """The hashes of one column's values, looked up by value and computed once.

    A dictionary, so that a whole column is mapped without a Python call per value. At ``CACHE_SIZE`` values
    it starts again: a column of unique ids costs hashing, not memory.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __missing__(self, value: Value) -> int:
        if len(self) >= CACHE_SIZE:
            self.clear()
        self[value] = hashed = hash_feature(self.name, value)
        return hashed
