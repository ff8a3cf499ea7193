"""Arguments that functions share: one of several words, numbers within bounds, seeds, options."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import ConventionError

OptionTable = Mapping[str, tuple[Any, Sequence[str]]]
"""Defaults of options by their names, and the methods that look at them."""


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Check that an argument is one of several words.

    Raises
    ------
    ConventionError
        Naming the argument, the words and what was given.
    """
    known = list(choices)
    if not (isinstance(value, str) and value in known):
        msg = f"{name} must be one of {', '.join(known)}; got {value!r}"
        raise ConventionError(msg)


def check_belongs(
    method: str, given: Mapping[str, Any], options: OptionTable, *, of: str = "method"
) -> None:
    """Refuse options that a method does not look at: results would be the same without.

    Parameters
    ----------
    method
        That is chosen.
    given
        Values by name; what equals its default is not given.
    options
        Their defaults, and the methods that look at them.
    of
        What the method is called.

    Raises
    ------
    ConventionError
        Naming the first, the methods that look at it, and what was given.
    """
    for name, value in given.items():
        default, methods = options[name]
        if method not in methods and _differs(value, default):
            *others, last = map(repr, methods)
            known = f"{', '.join(others)} and {last}" if others else last
            text = str(_shown(value))
            text = type(value).__name__ if "\n" in text else text  # of arrays and stacks
            msg = f"{name} goes with {of} {known} only; got {text} with {method!r}"
            raise ConventionError(msg)


def _differs(value: object, default: object) -> bool:
    """Tell whether a value is another one than a default, which is no array."""
    if default is None:
        return value is not None
    return bool(getattr(value, "ndim", False) or value != default)


def check_positive(name: str, value: object, unit: str = "") -> float:
    """Return a number that must be finite and above zero."""
    number = plain_number(value)
    if not 0 < number < np.inf:
        msg = f"{name} must be finite and > 0{_unit(unit)}; got {_shown(value)}{_unit(unit)}"
        raise ConventionError(msg)
    return number


def check_not_negative(name: str, value: object, unit: str = "") -> float:
    """Return a number that must be finite and may be zero."""
    number = plain_number(value)
    if not 0 <= number < np.inf:
        msg = f"{name} must be finite and >= 0{_unit(unit)}; got {_shown(value)}{_unit(unit)}"
        raise ConventionError(msg)
    return number


def check_share(name: str, value: object, of: str) -> float:
    """Return a number that must be a share of something, from 0 to 1: no percent, no grey value."""
    number = plain_number(value)
    if not 0 <= number <= 1:
        msg = f"{name} must be a share of {of}, from 0 to 1; got {_shown(value)}"
        raise ConventionError(msg)
    return number


def check_count(
    name: str, value: Any, *, least: int = 1, most: float = np.inf, unit: str = ""
) -> int:
    """Return a whole number, of units such as voxels, that must be within bounds."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not least <= int(value) <= most:
        bounds = f">= {least}" if most == np.inf else f"from {least} to {most:,}"
        of = f" of {unit}" if unit else ""
        msg = f"{name} must be a whole number{of} {bounds}; got {_shown(value)}"
        raise ConventionError(msg)
    return int(value)


def check_inner_share(name: str, value: object) -> float:
    """Return a number that must be a share of something, but neither none nor all of it."""
    number = plain_number(value)
    if not 0 < number < 1:
        msg = f"{name} must be > 0 and < 1; got {_shown(value)}"
        raise ConventionError(msg)
    return number


def check_seed(seed: object) -> int:
    """Return a seed of random numbers, which must be a whole number of 64 bits at most."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        msg = f"seed must be a whole number >= 0; got {seed!r}"
        raise ConventionError(msg)
    if seed >= 2**64:
        msg = f"seed must be less than 2^64, since only 64 bits of it count; got {seed}"
        raise ConventionError(msg)
    return int(seed)


def plain_number(value: Any) -> float:
    """Return a number that a user gave; NaN for what is none, such as text or True."""
    if isinstance(value, str | bytes | bool | np.bool_):
        return np.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def _shown(value: object) -> str:
    return repr(value.item() if isinstance(value, np.generic) else value)


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""
