"""A model as bytes: all that it was made with and all that it has learned, without pickle.

``MAGIC``, the XXH3-64 digest of what follows, a header (JSON) and the arrays that it names, each in NumPy's own format.
Of weights only the slots in use are there. Equal models give equal bytes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from models.learner import make_settings, new_state_of
from models.state import OF_NUMBERS, SAMPLE, State

MAGIC = b"riverd model\n"
VERSION = 1
BEGIN = len(MAGIC) + 8  # behind the digest


def pack(parameters: Mapping[str, Any], columns: Sequence[str], state: State) -> bytes:
    """The bytes of a model with these parameters, of which ``columns`` names the numbers in their order."""
    used = np.flatnonzero(state.weights.any(axis=1))
    arrays = {
        "slots": used.astype(np.uint32),
        "weights": state.weights[used],
        **{name: getattr(state, name)[: len(columns)] for name in OF_NUMBERS},
        "mixing": state.mixing,
        "counters": state.counters,
    }
    header = {"version": VERSION, "parameters": dict(parameters), "columns": list(columns), "arrays": list(arrays)}
    body = io.BytesIO()
    for array in (np.frombuffer(json.dumps(header).encode(), np.uint8), *arrays.values()):
        little = array.astype(array.dtype.newbyteorder("<"), order="C")
        np.lib.format.write_array(body, little, version=(1, 0), allow_pickle=False)
    return MAGIC + xxhash.xxh3_64_digest(body.getvalue()) + body.getvalue()


def unpack(blob: bytes) -> tuple[dict[str, Any], list[str], State]:
    """What ``pack`` was given.

    Raises
    ------
    ValueError
        These are other bytes, or damaged, or of a version that this one does not read.
    """
    if not blob.startswith(MAGIC):
        raise ValueError("these bytes are no model of riverd; give those that to_bytes returned")
    body = io.BytesIO(blob[BEGIN:])
    if xxhash.xxh3_64_digest(body.getvalue()) != blob[len(MAGIC) : BEGIN]:
        raise ValueError("the model is damaged: its digest does not fit; take another copy of it")
    header = json.loads(np.lib.format.read_array(body, allow_pickle=False).tobytes())
    if header["version"] != VERSION:
        raise ValueError(f"the model was stored in version {header['version']}, and this riverd reads {VERSION}")
    arrays = {name: np.lib.format.read_array(body, allow_pickle=False) for name in header["arrays"]}
    parameters, columns = header["parameters"], header["columns"]
    constants = {name: parameters[name] for name in ("alpha", "beta", "l1", "l2")}
    state = new_state_of(make_settings(parameters["expert"], **constants), bits=parameters["bits"], numbers=columns)
    _fill(state, arrays)
    return parameters, columns, state


def _fill(state: State, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Copy what fits, so that no kernel ever reads or writes beyond an array."""
    slots = arrays["slots"].astype(np.int64)
    if np.any(slots >= len(state.weights)) or np.any((arrays["sampled"] < 0) | (arrays["sampled"] > SAMPLE)):
        raise ValueError("the model is damaged: a place in it does not exist; take another copy of it")
    state.weights[slots] = arrays["weights"]
    for name in (*OF_NUMBERS, "mixing", "counters"):
        array = getattr(state, name)
        if array.shape != arrays[name].shape:
            raise ValueError(f"the model is damaged: its {name} have another shape; take another copy of it")
        array[:] = arrays[name]
