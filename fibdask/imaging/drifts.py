"""How brightness drifts from slice to slice: gain, offset and gradients of every image."""

from dataclasses import dataclass

import numpy as np

from ..align import GREY_BINS, EachApart, relative_grey

_MOST_COMMON = 5.0  # times the quarters' errors, that shine-through moves all of them by
HALVES = 2  # of an image along y and x, that are counted each for itself
QUANTITIES = ("gain", "gain_error", "offset", "offset_error", "gradient_y", "gradient_x", "rest")


@dataclass(frozen=True, eq=False)
class Drifts:
    """Finish counts of quarters of slices with drifts (voltage, quantity, z) in bins of grey.

    What the quarters do not have in common is structure; their scatter tells the uncertainty.
    """

    quarters: EachApart

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the drifts of each voltage."""
        voltages, slices = self.quarters.shape[:2]
        counts = counts.reshape(*self.quarters.counts, self.quarters.block[1], GREY_BINS)
        counts = np.moveaxis(counts, 4, 2).reshape(voltages, -1, HALVES**2, GREY_BINS)
        return np.stack([_slice_drifts(one[:slices]) for one in counts])


def _slice_drifts(counts: np.ndarray) -> np.ndarray:
    """Return drifts (quantity, z) of counts (z, quarter, bin); NaN of slices without contrast."""
    fitted = relative_grey(counts.reshape(-1, GREY_BINS)).reshape(2, len(counts), -1)
    blank = ((fitted[0] == 1) & (fitted[1] == 0)).any(axis=1)
    found = np.full((len(QUANTITIES), len(counts)), np.nan)
    if blank.all():
        return found
    gain, offset = fitted[:, ~blank]
    usual = np.median(gain, axis=0)
    gain, offset = gain / usual, offset - gain / usual * np.median(offset, axis=0)
    seen = counts[~blank].sum(axis=(0, 1))
    grey = (np.arange(GREY_BINS) + 0.5) @ seen / seen.sum()
    level = offset + (gain - 1) * grey
    # Quarters lie half an image apart: a gradient across all of it is twice their difference.
    (one, two), (three, four) = level.T.reshape(HALVES, HALVES, -1)
    differences = three + four - one - two, two + four - one - three, one + four - two - three
    errors = (part.std(axis=1, ddof=1) / HALVES for part in (gain, offset))
    middle = gain.mean(axis=1), offset.mean(axis=1)
    rows = (middle[0], next(errors), middle[1], next(errors), *differences)
    found[:, ~blank] = np.stack(rows)
    return found


def shine_through(drifts: np.ndarray, solid: float) -> float:
    """Return the standard deviation of the gain that is structure which shines through.

    What shines through brightens pores and leaves solid as it is: a gain of 1 - d with an offset of
    d times the grey value of solid. Drifts of gain and offset have nothing in common, so that this
    is what they have in common; but no more than some times what the quarters differ by.

    Parameters
    ----------
    drifts
        Gain, its error and offset (3, z).
    solid
        Grey value.
    """
    gain, error, offset = drifts[:, np.isfinite(drifts).all(axis=0)]
    if len(gain) < HALVES:
        return 0.0
    common = -float(np.cov(gain, offset)[0, 1]) / solid if solid > 0 else 0.0
    noise = float((error**2).mean())
    return float(np.sqrt(np.clip(common - noise, 0.0, _MOST_COMMON**2 * noise)))


def spread(values: np.ndarray, errors: np.ndarray, structure: float = 0.0) -> tuple[float, float]:
    """Return the standard deviation of values beyond their errors, and its standard error.

    `structure` is the standard deviation of what may be drift, too: taken off, and in the error.
    """
    known = np.isfinite(values) & np.isfinite(errors)
    number = int(known.sum())
    if number < HALVES:
        return float("nan"), float("nan")
    seen = float(values[known].var(ddof=1))
    noise = float((errors[known] ** 2).mean())
    std = float(np.sqrt(max(seen - noise - structure**2, 0.0)))
    chance = seen / np.sqrt(2 * (number - 1)) / max(std, np.sqrt(seen) / 2, 1e-12)
    return std, float(np.hypot(chance, np.hypot(std, structure) - std))
