"""Checks of arguments that all of the simulator shares."""

import numpy as np

from ..conventions import ConventionError


def check_positive(name: str, value: float, unit: str) -> float:
    """Check a finite number above zero."""
    if not (np.isfinite(value) and value > 0):
        msg = f"{name} must be finite and > 0{f' {unit}' if unit else ''}; got {value}"
        raise ConventionError(msg)
    return float(value)


def check_not_negative(name: str, value: float, unit: str) -> float:
    """Check a finite number that may be zero."""
    if not (np.isfinite(value) and value >= 0):
        msg = f"{name} must be finite and >= 0{f' {unit}' if unit else ''}; got {value}"
        raise ConventionError(msg)
    return float(value)


def check_seed(seed: int) -> int:
    """Check the seed of random numbers."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        msg = f"seed must be a whole number >= 0; got {seed!r}"
        raise ConventionError(msg)
    return int(seed)
