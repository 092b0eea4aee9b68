"""The token that guards changes; it comes by the environment alone."""

from __future__ import annotations

import os

VARIABLE = "RIVERD_TOKEN"


def token_from_environment() -> str | None:
    """The token, or None where none is set."""
    return os.environ.get(VARIABLE) or None
