"""What riverd refuses, in words that an operator can act on."""

from __future__ import annotations


class RiverdError(Exception):
    """Something that the operator can mend; the message says what, where and how."""


class ConfigError(RiverdError):
    """The config can't be read, or says something that can't be."""


class StateMismatchError(RiverdError):
    """The stored state was learned under other settings."""
