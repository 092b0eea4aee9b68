"""The fields of some events whose label has come: enough to see whether one of them alone knows the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitors import labelled_sample_kernels as kernels
from monitors.labelled_sample_kernels import FORGOTTEN, KEPT, TOGETHER, WAITING
from monitors.ring import Places, Ring
from monitors.traffic import CategoryColumn
from stream.records import Events, Ops


class LabelledSample:
    """Keeps what 512 events of either class held, the latest, for as long as it takes their labels to come too.

    Of the events whose label may still come 2,048 are kept, and those that find no place are passed over: which these
    are has nothing to do with what they hold. Words are not kept.

    Parameters
    ----------
    categories
        Which columns of ``Events.categories`` to keep.
    numbers
        Names of the columns of ``Events.numbers``, in their order.

    Examples
    --------
    >>> LabelledSample(categories=(), numbers=("temp",)).labels.tolist()
    []
    """

    def __init__(self, *, categories: Sequence[CategoryColumn], numbers: Sequence[str]) -> None:
        self.categories = tuple(watched.name for watched in categories)
        self.numbers = tuple(numbers)
        self._columns = np.array([watched.column for watched in categories], dtype=np.int64)
        sample = self._sample = kernels.new_sample(len(categories), len(numbers))
        self.ring = Ring(
            "labelled sample",
            shape={"categories": len(categories), "numbers": len(numbers), "waiting": WAITING, "kept": KEPT},
            header={"next": sample.next},
            places=[Places(sample.changed, {"row": sample.row, "hashes": sample.hashes, "numbers": sample.numbers})],
        )

    def observe(self, ops: Ops, events: Events) -> None:
        """Take ops in merged order: SCORE keeps what an event holds, RESOLVE its label, EXPIRE forgets it."""
        kernels.walk(
            np.ascontiguousarray(ops.code),
            np.ascontiguousarray(ops.row),
            np.ascontiguousarray(ops.record),
            np.ascontiguousarray(ops.label),
            np.ascontiguousarray(events.categories),
            np.ascontiguousarray(events.numbers),
            self._columns,
            self._sample,
        )

    @property
    def labels(self) -> NDArray[np.bool_]:
        """Of the kept events, shape (n,), in the order in which they were scored."""
        return self._order() >= KEPT

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """What they held, shape (n,) each: hashes of a category, and numbers, of which NaN is null."""
        order = self._order()
        hashes = self._kept(self._sample.hashes)[order]
        numbers = self._kept(self._sample.numbers)[order]
        return {name: hashes[:, j] for j, name in enumerate(self.categories)} | {
            name: numbers[:, j] for j, name in enumerate(self.numbers)
        }

    def _order(self) -> NDArray[np.int64]:
        rows = self._kept(self._sample.row)
        order = np.argsort(rows, kind="stable")
        return order[rows[order] != FORGOTTEN]

    @staticmethod
    def _kept(array: NDArray[Any]) -> NDArray[Any]:
        return array[WAITING // TOGETHER :].reshape(2 * KEPT, *array.shape[2:])
