"""In which form checkpoints are stored, and what is said of those in another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from riverd.errors import StateMismatchError

FORMAT = 4  # of monitors, with what fields hold


def refuse_other_formats(header: Mapping[str, Any], *, model: str) -> None:
    """See that the header of a checkpoint is of a form that is read here.

    Raises
    ------
    StateMismatchError
        It is of another one.
    """
    if header.get("format", 1) != FORMAT:
        raise StateMismatchError(
            f"model {model!r} was stored by another version of riverd, in a form that this one does not read.\n"
            "  Use that version to go on, or give the model another [model] name to learn the stream anew."
        )
