"""Kernels of registration: windows in, lags and correlations out. Units are pixels.

A lag (y, x) is the translation that lays the second window onto the first:
second(y - lag_y, x - lag_x) = first(y, x).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import fft

from ...compiling import compiled
from ...pieces._kernels.resampling import lanczos_weights, weighted_pixels

TAPER = 0.25  # part of a side that is faded in and out at either end
NEAR = 3  # lags closer than this are one peak
LEAST_VALID = 0.5  # part of a window that must hold finite grey values
LEAST_OVERLAP = 0.25  # of the window, for a correlation
_CHANCE = 1e-3  # of unrelated windows, whose highest peak is higher than `chance_peak`


@compiled(nogil=True)
def binned(image, factor):
    """Return means of factor × factor pixels (y, x), float32, and where all of them are finite."""
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    means = np.empty((rows, columns), np.float32)
    valid = np.empty((rows, columns), np.bool_)
    total = np.empty(columns)
    for y in range(rows):
        total[:] = 0
        for j in range(y * factor, (y + 1) * factor):
            for i in range(factor):
                for x in range(columns):
                    total[x] += image[j, x * factor + i]
        for x in range(columns):
            means[y, x] = total[x] / factor**2
            valid[y, x] = np.isfinite(total[x])
    return means, valid


def centred(image: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray | None, float]:
    """Subtract from an image the mean of its valid pixels; others become 0. Return its deviation.

    None in place of the image where fewer than half of the pixels are valid, or all are equal.
    """
    count, mean, deviation = _centre(image, valid)
    if count < LEAST_VALID * image.size:
        return None, 0.0
    # Rounding of the mean leaves a constant window a little above 0.
    return (image, deviation) if deviation > 1e-5 * abs(mean) else (None, 0.0)


@compiled(nogil=True)
def _centre(image, valid):
    """Subtract the mean of valid pixels in place; return their count, mean and deviation."""
    count, total, squares = 0, 0.0, 0.0
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            if valid[y, x]:
                count += 1
                total += image[y, x]
    mean = np.float32(total / max(count, 1))
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            image[y, x] = image[y, x] - mean if valid[y, x] else np.float32(0)
            squares += np.float64(image[y, x]) ** 2
    return count, mean, np.sqrt(squares / max(count, 1))


@lru_cache(8)
def taper(shape: tuple[int, ...]) -> np.ndarray:
    """Return weights (y, x), float32: cosine ramps over a quarter of the length at all ends."""
    sides = []
    for n in shape:
        m = max(int(TAPER * n), 1)
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(m) + 0.5) / m)
        side = np.ones(n, np.float32)
        side[:m], side[n - m :] = ramp, ramp[::-1]
        sides.append(side)
    return np.outer(*sides)


@lru_cache(4)
def frequencies(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return cycles per pixel along y (rows, 1) and x (1, columns) of a half spectrum, float32."""
    rows, columns = padded(shape)
    return (
        fft.fftfreq(rows).astype(np.float32)[:, None],
        fft.rfftfreq(columns).astype(np.float32)[None],
    )


@lru_cache(8)
def low_pass(shape: tuple[int, ...], blur: float) -> np.ndarray:
    """Return the weight of every frequency, float32, of a Gaussian of that deviation in pixels."""
    y, x = frequencies(shape)
    return np.exp(-2 * np.float32(np.pi * blur) ** 2 * (y * y + x * x))


def padded(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that is transformed: fast lengths, no shorter than the window."""
    return tuple(fft.next_fast_len(n, real=True) for n in shape)


def spectrum(image: np.ndarray) -> np.ndarray:
    """Return the spectrum of a tapered window (y, x), complex64."""
    return fft.rfft2(image * taper(image.shape), padded(image.shape))


def sharpness(transform: np.ndarray, shape: tuple[int, ...]) -> float:
    """Return the share of fine detail in a window: root of a ratio of spectral powers.

    Fine are 4 to 10 pixels a cycle, coarse is anything above 10 but the mean.
    """
    fine, coarse = _powers(transform, *frequencies(shape))
    return float(np.sqrt(fine / coarse)) if coarse > 0 else 0.0


@compiled(nogil=True)
def _powers(transform, y, x):
    fine, coarse = 0.0, 0.0
    for j in range(len(y)):
        for i in range(x.shape[1]):
            square = y[j, 0] ** 2 + x[0, i] ** 2
            if 0 < square < np.float32(0.0625):
                power = transform[j, i].real ** 2 + transform[j, i].imag ** 2
                if square < np.float32(0.01):
                    coarse += power
                else:
                    fine += power
    return fine, coarse


def whitened(
    transform: np.ndarray, shape: tuple[int, ...], remainder: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the phases of a spectrum, of a window moved by a remainder of a pixel (y, x).

    And the sizes, float32, that they are freed from.
    """
    moves = (
        np.exp(np.complex64(2j * np.pi * move) * frequency)
        for frequency, move in zip(frequencies(shape), remainder, strict=True)
    )
    phases, sizes = _whitened(transform, *moves)
    return phases, sizes


@compiled(nogil=True, error_model="numpy")
def _whitened(transform, move_y, move_x):
    sizes = np.empty(transform.shape, np.float32)
    largest = np.float32(0)
    for j in range(transform.shape[0]):
        for i in range(transform.shape[1]):
            sizes[j, i] = np.sqrt(transform[j, i].real ** 2 + transform[j, i].imag ** 2)
            largest = max(largest, sizes[j, i])
    floor = np.float32(1e-6) * largest
    phases = np.empty_like(transform)
    for j in range(transform.shape[0]):
        for i in range(transform.shape[1]):
            scale = np.float32(1) / (sizes[j, i] + floor)
            phases[j, i] = transform[j, i] * scale * (move_y[j, 0] * move_x[0, i])
    return phases, sizes


def cross_spectrum(
    first: np.ndarray, second: np.ndarray, shape: tuple[int, ...], blur: float
) -> np.ndarray:
    """Return the spectrum of the correlation of phases, complex64.

    It is smoothed by a Gaussian of deviation `blur` in pixels.
    """
    return np.asarray(_cross_spectrum(first, second, low_pass(shape, blur)))


def phase_correlation(
    cross: np.ndarray, shape: tuple[int, ...], most: tuple[int, ...]
) -> np.ndarray:
    """Return the correlation of phases at lags (y, x) up to `most`, of its spectrum."""
    correlation = fft.irfft2(cross, padded(shape))
    lags = (np.arange(-m, m + 1) % n for m, n in zip(most, correlation.shape, strict=True))
    return correlation[np.ix_(*lags)]


def correlation_near(
    cross: np.ndarray, shape: tuple[int, ...], centre: np.ndarray, most: int
) -> np.ndarray:
    """Return the correlation of phases at lags (y, x) up to `most` about those of the centre.

    These need not be whole. Of so few lags, sums of waves take less time than a transform.
    """
    waves_y, waves_x = _waves(shape, most)
    if centre.any():
        y, x = (
            np.exp(np.complex64(2j * np.pi * lag) * frequency)
            for frequency, lag in zip(frequencies(shape), centre, strict=True)
        )
        waves_y, waves_x = waves_y * y.T, waves_x * x.T
    return np.asarray((waves_y @ (cross @ waves_x)).real)


@lru_cache(16)
def _waves(shape: tuple[int, ...], most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the waves (lag, rows) and (columns, lag) whose sums are at lags up to `most`."""
    rows, columns = padded(shape)
    y, x = (np.exp(np.complex64(2j * np.pi) * f) for f in frequencies(shape))
    lags = np.arange(-most, most + 1)
    waves_y, waves_x = y.T ** lags[:, None], x.T**lags
    waves_x[1 : (columns + 1) // 2] *= 2  # frequencies that a half spectrum holds once of two
    return waves_y.astype(np.complex64), (waves_x / (rows * columns)).astype(np.complex64)


@compiled(nogil=True)
def _cross_spectrum(first, second, weight):
    cross = np.empty_like(first)
    for j in range(first.shape[0]):
        for i in range(first.shape[1]):
            cross[j, i] = first[j, i] * np.conj(second[j, i]) * weight[j, i]
    return cross


@lru_cache(16)
def chance_peak(shape: tuple[int, ...], blur: float, most: tuple[int, ...]) -> float:
    """Return the phase correlation that the highest peak of unrelated windows rarely reaches.

    Their phases are random, and so the correlation at every lag is a sum of many independent
    terms, close to a normal deviate. Its standard deviation follows from the weights alone
    (Parseval); x of them, with x² = 2 ln(n/p), are exceeded at any of the n lags up to `most` with
    a probability below p.
    """
    weight = low_pass(shape, blur).astype(np.float64) ** 2
    rows, columns = padded(shape)
    inner = weight[:, 1 : (columns + 1) // 2]  # frequencies that a half spectrum holds once of two
    deviation = np.sqrt(weight.sum() + inner.sum()) / (rows * columns)
    lags = np.prod([2 * m + 1 for m in most])
    return float(deviation * np.sqrt(2 * np.log(lags / _CHANCE)))


def correlation_score(correlation: float, first: np.ndarray, second: np.ndarray) -> float:
    """Return a correlation in standard errors of that of unrelated windows.

    Its variance is the sum over lags of the product of their autocorrelations, over the number
    of pixels, which is that of their powers (squares of `first` and `second`) over the product
    of the sums of each: coarse structures are few, and resemble each other by chance. The
    inverse of that variance is a number of independent samples, with which Fisher's z takes the
    correlation to a normal deviate.

    References
    ----------
    M. S. Bartlett, J. R. Stat. Soc. 98 (1935) 536-543. R. A. Fisher, Metron 1 (1921) 3-32.
    """
    if not correlation > 0:
        return 0.0
    samples = max(1 / _shared_power(first, second) - 3, 1.0)
    return float(np.arctanh(min(correlation, 1 - 1e-9)) * np.sqrt(samples))


@compiled(nogil=True)
def _shared_power(first, second):
    """Return the sum of products of powers over the product of sums, of half spectra."""
    shared, ours, theirs = 0.0, 0.0, 0.0
    for j in range(first.shape[0]):
        for i in range(first.shape[1]):
            a, b = np.float64(first[j, i]) ** 2, np.float64(second[j, i]) ** 2
            shared += a * b
            ours += a
            theirs += b
    return shared / (2 * ours * theirs)  # all frequencies but a few are there once of two


def peaks(correlation: np.ndarray) -> list[np.ndarray]:
    """Return integer lags (y, x): of the highest peak, of the next, and none at all.

    Those within a few pixels of a higher one are left out.
    """
    found = []
    middle = np.array(correlation.shape) // 2
    left = correlation.copy()
    for _ in range(2):
        place = np.array(np.unravel_index(np.argmax(left), left.shape))
        found.append(place - middle)
        around = tuple(slice(max(p - NEAR, 0), p + NEAR + 1) for p in place)
        left[around] = -np.inf
    if all(np.abs(lag).max() > NEAR for lag in found):
        found.append(np.zeros(2, int))
    return found


@compiled(nogil=True)
def top(correlation):
    """Return the lag (y, x) of the highest value to a fraction of a pixel, float64.

    Values at the edge only are neighbours. Along each axis, a Gaussian goes through the value and
    its two neighbours.
    """
    rows, columns = correlation.shape
    y, x = 1, 1
    for j in range(1, rows - 1):
        for i in range(1, columns - 1):
            if correlation[j, i] > correlation[y, x]:
                y, x = j, i
    lag = np.array([y - rows // 2, x - columns // 2], np.float64)
    for axis in range(2):
        down, right = (1, 0) if axis == 0 else (0, 1)
        here = np.float64(correlation[y, x])
        floor = max(1e-3 * here, 1e-30)
        before = np.log(max(np.float64(correlation[y - down, x - right]), floor))
        after = np.log(max(np.float64(correlation[y + down, x + right]), floor))
        bend = before - 2 * np.log(max(here, floor)) + after
        if bend < 0:
            lag[axis] += min(max(0.5 * (before - after) / bend, -1.0), 1.0)
    return lag


def masked_correlation(
    first: Any,
    second: Any,
    valid_first: np.ndarray,
    valid_second: np.ndarray,
    lag: Sequence[int] | np.ndarray,
) -> float:
    """Return Pearson's correlation of the valid pixels that two windows share at an integer lag.

    Windows have a mean of about 0. NaN where they share less than a quarter of the window, or
    nothing varies.
    """
    down, right = (int(move) for move in lag)
    least = LEAST_OVERLAP * first.size
    return float(_pearson(first, second, valid_first, valid_second, down, right, least))


@compiled(nogil=True)
def _pearson(first, second, valid_first, valid_second, down, right, least):
    rows, columns = first.shape
    count, sum_a, sum_b, sum_aa, sum_bb, sum_ab = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    for y in range(max(0, down), min(rows, rows + down)):
        for x in range(max(0, right), min(columns, columns + right)):
            if valid_first[y, x] and valid_second[y - down, x - right]:
                a, b = np.float64(first[y, x]), np.float64(second[y - down, x - right])
                count += 1
                sum_a += a
                sum_b += b
                sum_aa += a * a
                sum_bb += b * b
                sum_ab += a * b
    if count == 0 or count < least:
        return np.nan
    square = (sum_aa - sum_a**2 / count) * (sum_bb - sum_b**2 / count)
    return (sum_ab - sum_a * sum_b / count) / np.sqrt(square) if square > 0 else np.nan


def interpolated_image(image: np.ndarray, fractions: Sequence[float]) -> np.ndarray:
    """Return an image (y, x) at places a fraction (y, x) after its pixels, float32.

    The image is wider than the result by the reach of `LANCZOS_TAPS` along axes of a fraction
    above 0.
    """
    one = np.ones(1, np.float32)
    weights = (lanczos_weights(fraction) if fraction else one for fraction in fractions)
    return np.asarray(weighted_pixels(image, *weights))
