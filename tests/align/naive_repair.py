"""Repair as one writes it down: wavelet-Fourier destriping, and steps of columns one by one."""

import math

import numpy as np


def daubechies(moments):
    """Return the scaling filter with so many vanishing moments, of minimal phase."""
    polynomial = [math.comb(moments - 1 + k, k) for k in range(moments)][::-1]
    roots = []
    for y in np.roots(polynomial):  # y = (2 - z - 1/z) / 4
        pair = np.roots([1, 4 * y - 2, 1])
        roots.append(pair[np.argmin(np.abs(pair))])
    taps = np.real(np.poly(np.concatenate([-np.ones(moments), roots])))
    return taps * np.sqrt(2) / taps.sum()


def _split(image, taps):
    """Return low and high halves along the last axis, of period its length."""
    high = taps[::-1] * (-1) ** np.arange(len(taps))
    rolled = [np.roll(image, -n, axis=-1)[..., ::2] for n in range(len(taps))]
    return tuple(sum(t * r for t, r in zip(f, rolled, strict=True)) for f in (taps, high))


def _join(low, high, taps):
    joined = np.zeros((*low.shape[:-1], 2 * low.shape[-1]))
    filters = (taps, taps[::-1] * (-1) ** np.arange(len(taps)))
    for half, values in zip((low, high), filters, strict=True):
        spread = np.zeros_like(joined)
        spread[..., ::2] = half
        for n, tap in enumerate(values):
            joined += tap * np.roll(spread, n, axis=-1)
    return joined


def wavelet_fourier(image, levels=4, sigma=2.0, moments=10):
    """Return an image without vertical stripes, after Münch et al. 2009.

    The details along x of each wavelet level are transformed along y, and damped about
    frequency 0 by 1 - exp(-k²/2σ²).
    """
    taps = daubechies(moments)
    unit = 2**levels
    n_y, n_x = image.shape
    margins = [unit * 4 + (-n) % unit for n in image.shape]
    padded = np.pad(image.astype(float), [(unit * 4, m) for m in margins], mode="symmetric")
    return _without(padded, taps, levels, sigma)[unit * 4 :, unit * 4 :][:n_y, :n_x]


def _without(image, taps, levels, sigma):
    if levels == 0:
        return image
    low_x, high_x = _split(image, taps)
    low, details = _split(low_x.T, taps)
    stripes, rest = _split(high_x.T, taps)
    spectrum = np.fft.fft(stripes, axis=-1)
    k = np.fft.fftfreq(stripes.shape[-1]) * stripes.shape[-1]
    spectrum *= 1 - np.exp(-0.5 * (k / sigma) ** 2)
    stripes = np.fft.ifft(spectrum, axis=-1).real
    low = _without(low.T, taps, levels - 1, sigma).T
    return _join(_join(low, details, taps).T, _join(stripes, rest, taps).T, taps)


def column_steps(image, edges, first):
    """Return biweight means of the steps between columns in windows of rows (window, x - 1).

    Rows begin at the columns `first`.
    """
    n_y, n_x = image.shape
    moved = np.full((n_y, n_x + max(first)), np.nan)
    for y in range(n_y):
        moved[y, first[y] : first[y] + n_x] = image[y]
    steps = np.full((len(edges) - 1, moved.shape[1] - 1), np.nan)
    for window, x in np.ndindex(steps.shape):
        rows = slice(edges[window], edges[window + 1])
        values = moved[rows, x + 1] - moved[rows, x]
        values = np.sort(values[np.isfinite(values)])
        n = len(values)
        if n < (edges[window + 1] - edges[window]) / 2:
            continue
        mean = np.median(values)
        deviation = (values[3 * n // 4] - values[n // 4]) / 1.349
        for _ in range(4 if deviation > 0 else 0):
            u = (values - mean) / (3 * deviation)
            weight = np.where(np.abs(u) < 1, (1 - u * u) ** 2, 0)
            mean = (weight * values).sum() / weight.sum()
        steps[window, x] = mean
    return steps


def make_stripes(shape, std, seed, widths=(1, 2, 4)):
    """Return stripes (y, x) of a mean of 0: profiles along x, of slowly changing strength along y.

    Profiles are white noise blurred by Gaussians of so many pixels, equally strong.
    """
    rng = np.random.default_rng(seed)
    n_y, n_x = shape
    frequency = np.fft.rfftfreq(n_x)
    row = np.arange(n_y) / n_y
    stripes = np.zeros(shape)
    for width in widths:
        blur = np.exp(-2 * (np.pi * width * frequency) ** 2)
        profile = np.fft.irfft(np.fft.rfft(rng.normal(size=n_x)) * blur, n_x)
        strength = 1 + 0.4 * np.sin(2 * np.pi * (rng.uniform(0.3, 1) * row + rng.uniform()))
        stripes += strength[:, None] * profile / profile.std()
    stripes -= stripes.mean()
    return stripes * (std / stripes.std())


def lean(image, slope):
    """Return an image, periodic along x, whose rows are moved by so many pixels a row."""
    moved = slope * np.arange(image.shape[0])[:, None]
    phase = np.exp(-2j * np.pi * np.fft.rfftfreq(image.shape[1]) * moved)
    return np.fft.irfft(np.fft.rfft(image, axis=1) * phase, image.shape[1], axis=1)


def wedge_energy(image, slope=0.0):
    """Return the energy of an image in the wedge of stripes narrower than 32 pixels.

    Frequencies of at least 1/32 cycles a pixel along x; across stripes that move by `slope` pixels
    a row, at most 0.02 of that along x, and the three rows of the spectrum about 0.
    """
    f_x = np.fft.fftfreq(image.shape[1])[None]
    f_y = np.abs(np.fft.fftfreq(image.shape[0])[:, None] + slope * f_x)
    f_x = np.abs(f_x)
    wedge = (f_x >= 1 / 32) & (f_y <= np.maximum(0.02 * f_x, 1.5 / image.shape[0]))
    return float((np.abs(np.fft.fft2(image)) ** 2)[wedge].sum())
