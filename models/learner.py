"""What a learner consists of: settings as the kernels take them, and the state that goes with them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.kernels import ftrl, mixture
from models.kernels.layout import ALPHA, MIXED, SAID, SETTINGS
from models.state import State, new_state

ALPHA_DEFAULT, BETA_DEFAULT = 0.3, 1.0


def make_settings(
    expert: str, *, alpha: float | None = None, beta: float | None = None, l1: float = 0.0, l2: float = 0.0
) -> NDArray[np.float64]:
    """The constants of "mixture" or "ftrl".

    Raises
    ------
    ValueError
        There is no such expert, or it does not take a constant, or not this one.
    """
    if expert not in ("mixture", "ftrl"):
        raise ValueError(f'expert is "mixture" or "ftrl", not {expert!r}')
    if expert == "mixture" and (alpha is not None or beta is not None or l1):
        raise ValueError('alpha, beta and l1 are for expert="ftrl"; the mixture has rates of its own')
    alpha = ALPHA_DEFAULT if alpha is None else alpha
    beta = BETA_DEFAULT if beta is None else beta
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha must be positive and finite, not {alpha}")
    if not all(0 <= constant < math.inf for constant in (beta, l1, l2)):
        raise ValueError(f"beta, l1 and l2 must be finite and not negative: {beta}, {l1}, {l2}")
    settings = np.zeros(SETTINGS)
    settings[MIXED] = expert == "mixture"
    settings[ALPHA:] = alpha, beta, l1, l2
    return settings


def is_mixed(settings: NDArray[np.float64]) -> bool:
    return bool(settings[MIXED])


def said_of(settings: NDArray[np.float64]) -> int:
    """How many numbers a prediction keeps of what led to it."""
    return SAID if is_mixed(settings) else 0


def new_state_of(settings: NDArray[np.float64], *, bits: int, numbers: Sequence[str]) -> State:
    """A state of 2^bits slots and these numbers, before anything was learned."""
    mixed = is_mixed(settings)
    return new_state(
        bits=bits,
        numbers=numbers,
        parameters=mixture.PARAMETERS if mixed else ftrl.PARAMETERS,
        mixing=mixture.new_mixing() if mixed else np.zeros(0),
        ranks=mixed,
    )
