"""Kernels of registration: windows in, lags and correlations out. Units are pixels.

A lag (y, x) is the translation that lays the second window onto the first:
second(y - lag_y, x - lag_x) = first(y, x).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import fft

TAPER = 0.25  # part of a side that is faded in and out at either end
NEAR = 3  # lags closer than this are one peak
LEAST_VALID = 0.5  # part of a window that must hold finite grey values
LEAST_OVERLAP = 0.25  # of the window, for a correlation
TAPS = np.arange(-2, 4)  # pixels about a place that interpolation looks at


def binned(image: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Return means of factor × factor pixels (y, x), float32, and where all of them are finite."""
    rows, columns = (n // factor * factor for n in image.shape)
    image = np.asarray(image[:rows, :columns], np.float32)
    valid = np.isfinite(image)
    if factor > 1:
        parts = [np.s_[i::factor, j::factor] for i in range(factor) for j in range(factor)]
        image = np.add.reduce([image[part] for part in parts]) / np.float32(factor**2)
        valid = np.logical_and.reduce([valid[part] for part in parts])
    return image, valid


def centred(image: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray | None, float]:
    """Return an image less the mean of its valid pixels, 0 where not valid, and its deviation.

    None where fewer than half of the pixels are valid, or all are equal.
    """
    count = np.count_nonzero(valid)
    if count < LEAST_VALID * image.size:
        return None, 0.0
    image = np.where(valid, image, np.float32(0))
    mean = image.sum(dtype=np.float64) / count
    image = np.where(valid, image - np.float32(mean), np.float32(0))
    deviation = np.sqrt(np.square(image).sum(dtype=np.float64) / count)
    # Rounding of the mean leaves a constant window a little above 0.
    return (image, deviation) if deviation > 1e-5 * abs(mean) else (None, 0.0)


@lru_cache(8)
def taper(n: int) -> np.ndarray:
    """Return weights (n), float32: cosine ramps over a quarter of the length at both ends."""
    m = max(int(TAPER * n), 1)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(m) + 0.5) / m)
    weights = np.ones(n, np.float32)
    weights[:m], weights[n - m :] = ramp, ramp[::-1]
    return weights


@lru_cache(4)
def frequencies(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return cycles per pixel along y (rows, 1) and x (1, columns) of a half spectrum, float32."""
    rows, columns = padded(shape)
    return (
        fft.fftfreq(rows).astype(np.float32)[:, None],
        fft.rfftfreq(columns).astype(np.float32)[None],
    )


@lru_cache(4)
def low_pass(shape: tuple[int, ...], blur: float) -> np.ndarray:
    """Return the weight of every frequency, float32, of a Gaussian of that deviation in pixels."""
    y, x = frequencies(shape)
    return np.exp(-2 * np.float32(np.pi * blur) ** 2 * (y * y + x * x))


def padded(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that is transformed: fast lengths, no shorter than the window."""
    return tuple(fft.next_fast_len(n, real=True) for n in shape)


def spectrum(image: np.ndarray) -> np.ndarray:
    """Return the spectrum of a tapered window (y, x), complex64."""
    rows, columns = image.shape
    return fft.rfft2(image * taper(rows)[:, None] * taper(columns), padded(image.shape))


def sharpness(transform: np.ndarray, shape: tuple[int, ...]) -> float:
    """Return the share of fine detail in a window: root of a ratio of spectral powers.

    Fine are 4 to 10 pixels a cycle, coarse is anything above 10 but the mean.
    """
    y, x = frequencies(shape)
    square = y * y + x * x
    power = transform.real**2 + transform.imag**2
    fine = power[(square >= 0.01) & (square < 0.0625)].sum(dtype=np.float64)
    coarse = power[(square > 0) & (square < 0.01)].sum(dtype=np.float64)
    return float(np.sqrt(fine / coarse)) if coarse > 0 else 0.0


def whitened(transform: np.ndarray, shape: tuple[int, ...], remainder: np.ndarray) -> np.ndarray:
    """Return the phases of a spectrum, of a window moved by a remainder of a pixel (y, x)."""
    size = np.abs(transform)
    phases = transform / (size + np.float32(1e-6) * size.max())
    if any(remainder):
        for frequency, move in zip(frequencies(shape), remainder, strict=True):
            phases *= np.exp(np.complex64(2j * np.pi * move) * frequency)
    return phases


def phase_correlation(
    first: np.ndarray,
    second: np.ndarray,
    shape: tuple[int, ...],
    blur: float,
    most: tuple[int, ...],
    centre: Sequence[int] | np.ndarray = (0, 0),
) -> np.ndarray:
    """Return the correlation of phases at lags (y, x) up to `most` about those of the centre.

    It is smoothed by a Gaussian of deviation `blur` in pixels.
    """
    cross = first * np.conj(second)
    cross *= low_pass(shape, blur)
    correlation = fft.irfft2(cross, padded(shape))
    lags = (
        np.arange(c - m, c + m + 1) % n
        for c, m, n in zip(centre, most, correlation.shape, strict=True)
    )
    return correlation[np.ix_(*lags)]


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


def top(correlation: np.ndarray) -> np.ndarray:
    """Return the lag (y, x) of the highest value to a fraction of a pixel, float64.

    Along each axis, a Gaussian goes through the value and its two neighbours.
    """
    inner = correlation[1:-1, 1:-1]
    y, x = (int(i) + 1 for i in np.unravel_index(np.argmax(inner), inner.shape))
    lag = np.array([y, x], np.float64) - np.array(correlation.shape) // 2
    lines = correlation[y - 1 : y + 2, x], correlation[y, x - 1 : x + 2]
    for axis, line in enumerate(lines):
        floor = max(1e-3 * float(line[1]), 1e-30)
        before, here, after = np.log(np.maximum(line.astype(np.float64), floor))
        bend = before - 2 * here + after
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

    NaN where they share less than a quarter of the window, or nothing varies.
    """
    ours, theirs = [], []
    for n, move in zip(first.shape, lag, strict=True):
        ours.append(slice(max(0, move), max(min(n, n + move), 0)))
        theirs.append(slice(max(0, -move), max(min(n, n - move), 0)))
    a, b = first[tuple(ours)], second[tuple(theirs)]
    valid = valid_first[tuple(ours)] & valid_second[tuple(theirs)]
    count = np.count_nonzero(valid)
    if count < LEAST_OVERLAP * first.size:
        return np.nan
    if count < valid.size:
        a, b = a[valid], b[valid]
    a = a - a.mean(dtype=np.float64).astype(np.float32)
    b = b - b.mean(dtype=np.float64).astype(np.float32)
    # Sums of products, not matrix products: those depend on the number of threads.
    norm = np.sqrt((a * a).sum(dtype=np.float64) * (b * b).sum(dtype=np.float64))
    return float((a * b).sum(dtype=np.float64) / norm) if norm > 0 else np.nan


def tap_weights(fraction: float) -> np.ndarray:
    """Return Lanczos weights of the pixels `TAPS` about a place a fraction after pixel 0, float32.

    Their sum is 1, so that a constant stays one.
    """
    distance = TAPS - fraction
    weights = np.sinc(distance) * np.sinc(distance / 3)
    return (weights / weights.sum()).astype(np.float32)


def interpolated(image: np.ndarray, fractions: Sequence[float]) -> np.ndarray:
    """Return an image (y, x) at places a fraction (y, x) after its pixels, float32.

    The image is wider than the result by the reach of `TAPS` along axes of a fraction above 0.
    """
    for axis, fraction in enumerate(fractions):
        if fraction:
            n = image.shape[axis] - len(TAPS) + 1
            parts = (
                image[tuple(slice(t, t + n) if a == axis else slice(None) for a in (0, 1))]
                for t in range(len(TAPS))
            )
            total: Any = np.float32(0)
            for part, weight in zip(parts, tap_weights(fraction), strict=True):
                total = total + part * weight
            image = total
    return image
