"""Slow, obvious slice thickness and planes: by definition, and the peers of the benchmark."""

from itertools import combinations, pairwise

import numpy as np
from scipy.ndimage import gaussian_filter


def flattened(image, reach):
    """Subtract from every pixel the mean of its window."""
    image = np.asarray(image, float)
    out = np.empty(image.shape)
    for y, x in np.ndindex(image.shape):
        rows = slice(max(y - reach, 0), y + reach + 1)
        columns = slice(max(x - reach, 0), x + reach + 1)
        out[y, x] = image[y, x] - image[rows, columns].mean()
    return out


def similarities(slices, neighbours, lags, reach):
    """Return rows of spread, similarity with the next slices, and along y and x."""
    flat = [flattened(image, reach) for image in slices]
    rows = []
    for k, image in enumerate(flat):
        below = flat[k + 1 : k + 1 + neighbours]
        row = [image.std(), *(pearson(image, other) for other in below)]
        row += [np.nan] * (neighbours - len(below))
        row += [pearson(image[lag:], image[:-lag]) for lag in range(1, lags[0] + 1)]
        row += [pearson(image[:, lag:], image[:, :-lag]) for lag in range(1, lags[1] + 1)]
        rows.append(row)
    return np.array(rows)


def pearson(first, second):
    return np.corrcoef(first.ravel(), second.ravel())[0, 1]


def thickness_by_mean_curve(slices, lags=24):
    """Return thickness in pixels: neighbour correlation looked up in one mean in-plane curve."""
    slices = np.asarray(slices, float)
    curve = [1.0]
    for lag in range(1, lags + 1):
        along_y = [pearson(image[lag:], image[:-lag]) for image in slices]
        along_x = [pearson(image[:, lag:], image[:, :-lag]) for image in slices]
        curve.append(np.mean(along_y + along_x))
    found = [pearson(*pair) for pair in pairwise(slices)]
    return np.interp(-np.array(found), -np.minimum.accumulate(curve), np.arange(lags + 1.0))


def scaled_error(found, true):
    """Return rms(a found - true) / mean(true) with the best a, and mean(found) / mean(true)."""
    scale = np.sum(found * true) / np.sum(found * found)
    error = np.sqrt(np.mean((scale * found - true) ** 2)) / true.mean()
    return error, found.mean() / true.mean()


def gamma_planes(count, mean, std, seed):
    """Return planes whose distances, in planes, are gamma-distributed whole numbers."""
    variance = std**2 - 1 / 12
    rng = np.random.default_rng(seed)
    steps = np.maximum(np.rint(rng.gamma(mean**2 / variance, variance / mean, count)), 1)
    planes = np.append(0, np.cumsum(steps)).astype(int)
    return planes[planes < count]


def smooth_texture(shape, scale, seed):
    """Return an isotropic random volume in uint8."""
    volume = gaussian_filter(np.random.default_rng(seed).normal(size=shape), scale, mode="wrap")
    return np.clip(128 + 40 * volume / volume.std(), 0, 255).astype(np.uint8)


def render_ruler(
    thickness, *, pixel, shape, angle=30.0, half=120.0, noise=10.0, blur=2.0, drift=0.0, seed=0
):
    """Render slices (z, y, x) that show two parallel and two converging trenches; and a table.

    Trenches are flat, 12 pixels wide, anti-aliased, blurred and noisy; brightness and contrast
    vary from slice to slice, a slope of brightness lies under them, and everything drifts.
    """
    rng = np.random.default_rng(seed)
    height, width = shape
    depth = np.append(0.0, np.cumsum(thickness))
    moved = depth * np.tan(np.radians(angle)) / pixel
    middle = width / 2
    marks = {
        "parallel": (0.1 * width, 0.9 * width),
        "inclined": (middle - half, middle + half),
    }
    x = np.arange(width)
    shift = np.cumsum(rng.normal(0, drift, len(depth))) if drift else np.zeros(len(depth))
    slices = []
    for k in range(len(depth)):
        places = [place + shift[k] for place in marks["parallel"]]
        places += [marks["inclined"][0] + moved[k] + shift[k]]
        places += [marks["inclined"][1] - moved[k] + shift[k]]
        profile = np.zeros(width)
        for place in places:
            profile -= np.clip(6.5 - np.abs(x - place), 0, 1)
        profile = gaussian_filter(profile, blur)
        base = 130 + rng.normal(0, 6) + 20 * x / width
        grey = base + 60 * (1 + rng.normal(0, 0.1)) * profile
        grey = grey + rng.normal(0, noise, (height, width))
        slices.append(np.clip(grey, 0, 255).astype(np.uint8))
    ruler = {"angle": angle} | {name: list(places) for name, places in marks.items()}
    return np.array(slices), ruler


def least_displacement(positions):
    """Least sum of squared displacements of slices on planes of their own, by trying all."""
    first, last = np.floor(positions[[0, -1]] + 0.5)
    planes = np.arange(first, last + 1)
    return min(
        np.sum((np.array(chosen) - positions) ** 2)
        for chosen in combinations(planes, len(positions))
    )
