"""Arrays and a small header as bytes, and back. No pickle: what is read is checked, never run."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from storage.errors import DamagedBlob

MAGIC = b"riverd"
FORMAT = 1
_DTYPES = ("|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8")
_PREFIX = len(MAGIC) + 2 + 4  # magic, format, length of the table


class _Entry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    name: str
    dtype: str
    shape: tuple[int, ...]
    stored: int  # bytes in the blob
    packed: bool  # by zlib


class _Table(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    header: dict[str, Any]
    entries: list[_Entry]


def encode(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, compress: bool = False) -> bytes:
    """Pack arrays and what belongs to them into one blob.

    Parameters
    ----------
    header
        JSON-able values; integers within 64 bits. Tuples come back as lists.
    arrays
        Booleans, integers and floats of any shape and memory order; they come back as C-contiguous.
    compress
        Try zlib level 1 on each array and keep it where it is smaller. It pays for histograms, not for
        weights. zlib's versions differ in their output: to compare states, hash the arrays, not this.

    Returns
    -------
    bytes
        Magic, format, a msgpack table of names, dtypes and shapes, then the little-endian data in order.

    Raises
    ------
    TypeError
        An array of another dtype, such as object or str.

    Examples
    --------
    >>> blob = encode({"watermark": 7}, {"weights": np.arange(1000.0), "counts": np.zeros(512, np.int64)})
    >>> len(blob)
    12163
    >>> header, arrays = decode(blob)
    >>> header, float(arrays["weights"].sum())
    ({'watermark': 7}, 499500.0)
    """
    entries: list[_Entry] = []
    parts: list[bytes | memoryview] = []
    for name, array in arrays.items():
        little = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        if little.dtype.str not in _DTYPES:
            raise TypeError(f"array {name!r} has dtype {array.dtype}; only booleans, integers and floats are stored")
        raw = little.reshape(-1).view(np.uint8).data
        packed = zlib.compress(raw, 1) if compress else None
        part = raw if packed is None or len(packed) >= len(raw) else packed
        entries.append(_Entry(name, little.dtype.str, little.shape, len(part), part is not raw))
        parts.append(part)
    table = msgspec.msgpack.encode(_Table(dict(header), entries))
    return b"".join([MAGIC, FORMAT.to_bytes(2, "little"), len(table).to_bytes(4, "little"), table, *parts])


def decode(blob: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Unpack what ``encode`` made: the header, and the arrays as writable copies.

    Raises
    ------
    DamagedBlob
        Anything at all is not as ``encode`` writes it. It does not notice changed numbers: that is what
        the sha256 stored beside the blob is for.
    """
    if blob[: len(MAGIC)] != MAGIC or len(blob) < _PREFIX:
        raise DamagedBlob(f"{len(blob):,} bytes that do not begin like a blob of riverd's")
    version = int.from_bytes(blob[len(MAGIC) : len(MAGIC) + 2], "little")
    if version != FORMAT:
        raise DamagedBlob(f"a blob of format {version}; this riverd reads format {FORMAT}")
    start = _PREFIX + int.from_bytes(blob[_PREFIX - 4 : _PREFIX], "little")
    try:
        table = msgspec.msgpack.decode(blob[_PREFIX:start], type=_Table)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedBlob(f"a blob whose table of contents is damaged: {error}") from None
    if start + sum(entry.stored for entry in table.entries) != len(blob):
        raise DamagedBlob(f"a blob of {len(blob):,} bytes whose table of contents promises another length")
    arrays: dict[str, NDArray[Any]] = {}
    for entry in table.entries:
        if entry.name in arrays or entry.stored < 0:
            raise DamagedBlob(f"a blob whose table of contents is damaged at array {entry.name!r}")
        arrays[entry.name] = _array(entry, memoryview(blob)[start : start + entry.stored])
        start += entry.stored
    return table.header, arrays


def _array(entry: _Entry, data: memoryview) -> NDArray[Any]:
    if entry.dtype not in _DTYPES or len(entry.shape) > 32 or any(size < 0 for size in entry.shape):
        raise DamagedBlob(f"array {entry.name!r} of an impossible kind: {entry.dtype} {entry.shape}")
    dtype = np.dtype(entry.dtype)
    wanted = math.prod(entry.shape) * dtype.itemsize
    if entry.packed:
        unpacker = zlib.decompressobj()
        try:
            data = memoryview(unpacker.decompress(data, wanted + 1))  # one more shows that there is more
        except (zlib.error, OverflowError, MemoryError) as error:
            raise DamagedBlob(f"array {entry.name!r} does not unpack: {error}") from None
        if not unpacker.eof or unpacker.unused_data:
            raise DamagedBlob(f"array {entry.name!r} does not unpack to {wanted:,} bytes")
    if len(data) != wanted:
        raise DamagedBlob(f"array {entry.name!r} has {len(data):,} bytes instead of {wanted:,}")
    array = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))
    if dtype.kind == "b" and np.any(array.view(np.uint8) > 1):
        raise DamagedBlob(f"array {entry.name!r} holds booleans that are neither true nor false")
    try:
        return array.reshape(entry.shape)
    except ValueError as error:  # no bytes at all, yet too many for this machine along one axis
        raise DamagedBlob(f"array {entry.name!r} of an impossible shape: {error}") from None
