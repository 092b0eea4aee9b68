"""What events say of a prediction that their producer served by itself: its score, by which state, from which row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.messages import Messages
from stream.source import Batch, Partition

HASHES = 1 << 64
VERSIONS = 1 << 63


class Claims(NamedTuple):
    """The claims that n messages make, as columns; what is not whole has zeros in the last three."""

    message: NDArray[np.int64]  # its index
    whole: NDArray[np.bool_]  # all three are there, and of the right type and range
    score: NDArray[np.float64]  # the probability
    version: NDArray[np.int64]  # of the state
    row_hash: NDArray[np.uint64]


class ClaimDecoder:
    """Reads claims from messages that are sound as events.

    Parameters
    ----------
    score, version, row_hash
        Paths of the fields: a probability, an integer, and an integer or its hexadecimal text.

    Examples
    --------
    >>> decoder = ClaimDecoder(score="p", version="v", row_hash="row")
    >>> claims = decoder.decode([b'{"p": 0.25, "v": 7, "row": "e4fc69e7e406304"}', b"{}", b'{"p": 0.25}'])
    >>> claims.message.tolist(), claims.whole.tolist(), claims.row_hash.tolist()
    ([0, 2], [True, False], [1031261223716414212, 0])
    """

    def __init__(self, *, score: str, version: str, row_hash: str) -> None:
        self._paths = score, version, row_hash
        self._messages = Messages({score: float | None, version: int | None, row_hash: int | str | None})

    def decode(self, messages: Sequence[bytes]) -> Claims:
        """The claims of messages; one that has none of the fields, or nulls, makes none."""
        batch = Batch(Partition("", ""), np.zeros(0, np.int64), 0, list(messages))
        decoded, reasons = self._messages.decode(batch)
        fields = zip(*(self._messages.column(decoded, path) for path in self._paths), strict=True)
        made: list[tuple[int, bool, float, int, int]] = []
        for i, claim in enumerate(fields):
            if i in reasons or claim != (None, None, None):
                whole = None if i in reasons else _read(*claim)
                made.append((i, False, 0.0, 0, 0) if whole is None else (i, True, *whole))
        message, is_whole, score, version, row_hash = zip(*made, strict=True) if made else ((), (), (), (), ())
        return Claims(
            np.array(message, dtype=np.int64),
            np.array(is_whole, dtype=np.bool_),
            np.array(score, dtype=np.float64),
            np.array(version, dtype=np.int64),
            np.array(row_hash, dtype=np.uint64),
        )


def _read(score: Any, version: Any, row_hash: Any) -> tuple[float, int, int] | None:
    if score is None or version is None or row_hash is None:
        return None
    if isinstance(row_hash, str):
        try:
            row_hash = int(row_hash, 16)
        except ValueError:
            return None
    if 0.0 <= score <= 1.0 and 0 <= version < VERSIONS and 0 <= row_hash < HASHES:
        return score, version, row_hash
    return None
