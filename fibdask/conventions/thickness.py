"""Which slice thicknesses can be: signs of a wrong unit, of slices not milled, and outliers."""

import numpy as np

THINNEST = 1.0  # nm: no focused ion beam mills slices that thin
THICKEST = 3000.0  # nm: nor that thick
MANY_THIN = 0.1  # share of slices
OUTLIER_SCORE = 1.5
ASSUMED_ISOTROPY = "isotropic texture"
"""Attribute `scale` of a z whose scale was taken from the texture of the images."""
_WRONG_UNIT = 300.0  # ratio of lengths that speaks for a unit mixed up by 1000
_EVEN = 1e-9  # relative: what rounding makes of slices of one thickness


def other_unit(thickness: np.ndarray | float, reference: float) -> np.ndarray:
    """Return where thicknesses are 300 times a reference > 0, or less than a 300th, as bool."""
    ratio = np.asarray(thickness) / reference
    return np.asarray((ratio >= _WRONG_UNIT) | (ratio <= 1 / _WRONG_UNIT))


def thin_share(thickness: np.ndarray) -> float:
    """Return the share of known thicknesses of at most 1 nm; NaN is not known."""
    known = thickness[np.isfinite(thickness)]
    return float(np.mean(known <= THINNEST)) if len(known) else 0.0


def thickness_outliers(thickness: np.ndarray) -> np.ndarray:
    """Return where the z-score of thicknesses exceeds 1.5 either way; NaN is none."""
    known = thickness[np.isfinite(thickness)]
    if not len(known) or known.std() <= _EVEN * abs(known.mean()):
        return np.zeros(len(thickness), bool)
    return np.asarray(np.abs(thickness - known.mean()) > OUTLIER_SCORE * known.std())
