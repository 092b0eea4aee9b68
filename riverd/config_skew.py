"""The table [skew] of riverd.toml."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from riverd.config_sections import Name, Section


class Skew(Section):
    """What events say of predictions that a client served by itself, to be checked; see concepts.md."""

    score: Name
    """Field of the probability that was served."""
    version: Name
    """Field of the state by which it was: the number of the checkpoint that came with the snapshot."""
    row_hash: Name
    """Field of the row hash: an integer, or its hexadecimal text."""
    keep: Annotated[int, Field(ge=1, le=48)] = 8
    """The newest states that are kept to check by, of 8 bytes a slot in use each."""
    tolerance: Annotated[float, Field(gt=0, le=10)] = 1e-3
    """Difference in logit up to which two scores are one."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len({self.score, self.version, self.row_hash}) < 3:
            raise ValueError("names one field twice.\n  Give score, version and row_hash a field each.")
        return self
