"""Rules of coordinates: finite, increasing, evenly spaced."""

import numpy as np

from .errors import ConventionError

_EVEN_RTOL = 1e-4  # relative to the pixel size: coordinates written as rounded decimals pass


def check_finite(name: str, values: np.ndarray, unit: str, place: str) -> None:
    """Check that numbers are finite; a place is what each of them is the number of."""
    bad = ~np.isfinite(values)
    if bad.any():
        k = int(np.argmax(bad))
        msg = f"{name} must be finite; {place} {k} has {values[k]} {unit}"
        raise ConventionError(msg)


def check_rising(name: str, values: np.ndarray, unit: str) -> None:
    """Check that a coordinate is above zero and strictly increasing."""
    if (values <= 0).any():
        k = int(np.argmax(values <= 0))
        msg = f"{name} must be > 0 {unit}; position {k} has {values[k]:g} {unit}"
        raise ConventionError(msg)
    if (np.diff(values) <= 0).any():
        k = int(np.argmax(np.diff(values) <= 0)) + 1
        msg = (
            f"{name} must be strictly increasing; position {k} has {values[k]:g} {unit} "
            f"after {values[k - 1]:g} {unit}"
        )
        raise ConventionError(msg)


def check_even(name: str, values: np.ndarray) -> None:
    """Check that a coordinate is evenly spaced and increasing, in nm."""
    steps = np.diff(values)
    if not len(steps):
        return
    step = float(np.median(steps))  # so that one wrong position is the one named
    wrong = (steps <= 0) | (np.abs(steps - step) > _EVEN_RTOL * abs(step))
    if wrong.any():
        k = int(np.argmax(wrong))
        msg = (
            f"{name} must be evenly spaced and increasing; the step from position {k} to {k + 1} "
            f"is {steps[k]:g} nm, the median step {step:g} nm"
        )
        raise ConventionError(msg)
