"""Kernels of rulers: a mark in a brightness profile, and its way through the slices."""

import numpy as np

from ...compiling import compiled

_STEPS = 50  # of a fit
_TOLERANCE = 1e-6  # pixels
_SIGNIFICANT = 6.0  # amplitudes in standard errors
_LEAST_AMPLITUDE = 0.3  # of that in the slices before
_REMEMBERED = 25  # slices


def track_mark(profiles: np.ndarray, start: float, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Follow a bright mark through profiles (z, x): its place and standard error in pixels (z).

    It is sought within two widths of `start` until it is found, then within one width of where its
    motion leads. NaN stands for slices in which it is lost: not there, too faint, or too far.
    """
    fits, errors = _tracked_fits(profiles, start, width)
    found = np.flatnonzero(np.isfinite(errors))
    if len(found) > 1:
        errors[found] *= _share_of_noise(profiles[found], fits[found], int(1.5 * width))
    return fits[:, 0], errors


def _share_of_noise(profiles: np.ndarray, fits: np.ndarray, reach: int) -> np.ndarray:
    """Return the root of the share of noise in what fits leave (z).

    The rest is what the fitted shape lacks: it is the same in all slices, relative to the mark,
    and so moves no mark against another slice.
    """
    place, amplitude, spread, ground, tilt = fits.T[:, :, np.newaxis]
    columns = np.rint(place).astype(np.int64) + np.arange(-reach, reach + 1)
    columns = np.clip(columns, 0, profiles.shape[1] - 1)
    offset = columns - place
    shape = amplitude * np.exp(-0.5 * (offset / spread) ** 2)
    values = np.take_along_axis(profiles, columns, axis=1)
    left = (values - shape - ground - tilt * offset) / amplitude
    noise = left - left.mean(axis=0)
    squares = (left**2).sum(axis=1)
    share = (noise**2).sum(axis=1) / np.where(squares > 0, squares, 1.0)
    return np.sqrt(np.minimum(share * len(left) / (len(left) - 1), 1.0))


@compiled(nogil=True)
def _tracked_fits(profiles, start, width):
    """Return fits (z, parameter) of a mark, and the standard errors of its place in pixels (z)."""
    count = profiles.shape[0]
    fits, errors = np.full((count, 5), np.nan), np.full(count, np.nan)
    found = np.empty(count, np.int64)
    n = 0
    for k in range(count):
        expected, reach = start, 2.0 * width
        before = found[max(n - _REMEMBERED, 0) : n]
        if n:
            last = before[-1]
            motion = 0.0
            if len(before) > 1:
                motion = (fits[last, 0] - fits[before[0], 0]) / (last - before[0])
            expected, reach = fits[last, 0] + motion * (k - last), width
        fit, error = fit_mark(profiles[k], expected, reach, width)
        if np.isnan(error):
            continue
        if n and fit[1] < _LEAST_AMPLITUDE * np.median(fits[before, 1]):
            continue
        fits[k], errors[k] = fit, error
        found[n] = k
        n += 1
    return fits, errors


@compiled(nogil=True)
def fit_mark(profile, expected, reach, width):
    """Fit a Gaussian on a sloping ground to three widths around the brightest place.

    Returns place, amplitude, spread, ground and tilt, and the standard error of the place; NaN
    where there is no mark near the expected place.
    """
    lost = (np.full(5, np.nan), np.nan)
    peak = _brightest(profile, expected, reach, width)
    first = max(int(peak - 1.5 * width), 0)
    window = profile[first : int(peak + 1.5 * width) + 1]
    if len(window) < 8:
        return lost
    x = np.arange(first, first + len(window)).astype(np.float64)
    ground = np.median(window)
    fit = np.array([peak, window[int(peak) - first] - ground, width / 3.0, ground, 0.0])
    damping = 1e-3
    residual, slopes = _gaussian(fit, x, window)
    cost = (residual**2).sum()
    for _ in range(_STEPS):
        step = _inverse_square(slopes, damping) @ (slopes.T @ residual)
        trial = fit + step
        next_residual, next_slopes = _gaussian(trial, x, window)
        next_cost = (next_residual**2).sum()
        if not next_cost <= cost:
            damping *= 10.0
            if damping > 1e6:
                break
            continue
        fit, residual, slopes, cost = trial, next_residual, next_slopes, next_cost
        damping *= 0.1
        if abs(step[0]) < _TOLERANCE:
            break
    variances = np.diag(_inverse_square(slopes, 0.0)) * cost / (len(x) - 5)
    place, amplitude, spread = fit[0], fit[1], abs(fit[2])
    inside = abs(place - expected) <= reach and width / 10.0 <= spread <= width
    if not (inside and amplitude > 0.0 and variances[0] >= 0.0):
        return lost
    if not amplitude > _SIGNIFICANT * np.sqrt(variances[1]):
        return lost
    fit[2] = spread
    return fit, np.sqrt(variances[0])


@compiled(nogil=True)
def _brightest(profile, expected, reach, width):
    """Return the place near the expected one where the mean of half a width is largest."""
    half = max(int(width / 4), 1)
    best, brightest = expected, -np.inf
    first = max(int(np.ceil(expected - reach)), half)
    last = min(int(np.floor(expected + reach)), len(profile) - 1 - half)
    for place in range(first, last + 1):
        brightness = profile[place - half : place + half + 1].mean()
        if brightness > brightest:
            best, brightest = float(place), brightness
    return min(max(best, 0.0), len(profile) - 1.0)


@compiled(nogil=True)
def _gaussian(fit, x, values):
    """Return what a Gaussian on a sloping ground leaves, and its slopes by each parameter."""
    place, amplitude, spread, ground, tilt = fit
    offset = x - place
    shape = np.exp(-0.5 * (offset / spread) ** 2)
    residual = values - (amplitude * shape + ground + tilt * offset)
    slopes = np.empty((len(x), 5))
    slopes[:, 0] = amplitude * shape * offset / spread**2 - tilt
    slopes[:, 1] = shape
    slopes[:, 2] = amplitude * shape * offset**2 / spread**3
    slopes[:, 3] = 1.0
    slopes[:, 4] = offset
    return residual, slopes


@compiled(nogil=True)
def _inverse_square(slopes, damping):
    """Return the inverse of SᵀS, its diagonal raised by a share; it is positive definite."""
    square = slopes.T @ slopes
    size = len(square)
    inverse = np.eye(size)
    for i in range(size):
        square[i, i] = square[i, i] * (1 + damping) + 1e-12
    for i in range(size):
        pivot = square[i, i]
        square[i] /= pivot
        inverse[i] /= pivot
        for j in range(size):
            if j != i:
                factor = square[j, i]
                square[j] -= factor * square[i]
                inverse[j] -= factor * inverse[i]
    return inverse
