"""From numbers of tiles to those of a microscope: noise, blur, stripes and grey levels."""

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

from . import _kernels as kernels

_SPLIT = np.cumsum([1, kernels.NOISE, kernels.LEVELS, kernels.EDGES])
_ROUGH = 4.0  # times the gradient of noise that flat groups have at most
_LEAST_FLAT = 0.1  # share of the groups, the flattest, that are taken in any case
_BINS = 12  # of brightness
_CLIPPED = 1.5  # standard deviations of noise from the end of the grey values
_DARKEST = 0.05  # share of the pixels that is deep pore
_ROUNDS = 30  # of clustering
_MOST = (1.0, 2.5, np.inf)  # pixels of blur that each pair of scales tells
_QUIET = 0.01  # share of noise in squared gradients, above which edges are looked at coarsely
_JITTER = 1 / 12  # square of how far an edge lies from the middle of its pixel, on average
_PARTS = 8  # into which slices are divided for standard errors


def parts(records: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return noise (tile, 3, group), levels (tile, group), edges (tile, pair, 4), stripes."""
    flat = records.reshape(-1, records.shape[-1])
    flat = flat[np.isfinite(flat[:, 0])]
    _, noise, levels, edges, stripes = np.split(flat, _SPLIT, axis=1)
    groups = noise.reshape(-1, 3, kernels.GROUPS)
    return groups, levels, edges.reshape(-1, len(kernels.SCALES), 4), stripes


def noise_line(groups: np.ndarray, ends: tuple[float, float], rounding: float) -> np.ndarray:
    """Return rise and intercept (2) of the variance of noise against the mean grey value.

    Parameters
    ----------
    groups
        Mean, variance and roughness (tile, 3, group).
    ends
        Least and largest grey value there can be: noise that would go beyond is cut off.
    rounding
        Variance that rounding to integers adds.
    """
    mean, variance, rough = np.moveaxis(groups, 1, 0).reshape(3, -1)
    reach = _CLIPPED * np.sqrt(variance)
    whole = (mean - reach >= ends[0]) & (mean + reach <= ends[1]) & (variance > 0)
    if not whole.any():
        return np.full(2, np.nan)
    limit = max(_ROUGH, float(np.quantile(rough[whole], _LEAST_FLAT)))
    flat = whole & (rough <= limit)
    order = np.argsort(mean[flat], kind="stable")
    bins = [members for members in np.array_split(order, _BINS) if len(members)]
    at, level = (
        np.array([np.median(values[flat][members]) for members in bins])
        for values in (mean, variance)
    )
    line = np.array([0.0, float(np.median(level))])
    for _ in range(3):  # errors are in proportion to the variance
        weight = 1 / np.maximum(line[0] * at + line[1], 0.1 * level)
        design = np.stack([at, np.ones_like(at)], axis=1)
        line = np.linalg.lstsq(design * weight[:, None], level * weight)[0]
    line[1] -= rounding
    return _physical(line, at, level - rounding)


def _physical(line: np.ndarray, at: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return a line that neither falls nor is negative at grey 0, as counts and noise are not."""
    if line[0] < 0:
        return np.array([0.0, max(float(np.average(level)), 0.0)])
    if line[1] < 0:
        return np.array([max(float((level / at).mean()), 0.0), 0.0])
    return line


def blur(edges: np.ndarray, line: np.ndarray, fineness: tuple[float, float] = (1.0, 1.0)) -> float:
    """Return the standard deviation, in the longest side of a pixel, of the blur of edges.

    Edges are blurred by two Gaussians more; the ratio of the gradients tells what was there before
    (S. Zhuo and T. Sim, Pattern Recognition 44 (2011) 1852-1858). NaN without edges.

    Parameters
    ----------
    edges
        Sums of `edge_sums` (tile, pair, 4).
    line
        Variance of noise, as of `noise_line`: its share of the sums is taken off.
    fineness
        Of pixels, see `tile_record`.
    """
    found = np.nan
    jitter = _JITTER * float(np.mean(1 / np.square(fineness)))
    for k, (scales, most) in enumerate(zip(kernels.SCALES, _MOST, strict=True)):
        both, square, count, grey = edges[:, k].sum(axis=0)
        noise = 2 * (line[0] * grey + line[1] * count)
        coarse_noise = noise * kernels.gradient_noise(scales[1], scales[1], fineness)
        both -= noise * kernels.gradient_noise(*scales, fineness)
        if not count or square <= coarse_noise or both <= 0:
            continue
        found = _solved(both / (square - coarse_noise), *scales, jitter)
        if found <= most and coarse_noise < _QUIET * square:
            break
    return found


def _solved(ratio: float, fine: float, coarse: float, jitter: float) -> float:
    """Return the blur that makes a ratio of gradients of an edge."""

    def excess(square: float) -> float:
        near, far = square + fine**2, square + coarse**2
        off = np.exp(-jitter / 2 * (1 / near - 1 / far))
        return float(np.sqrt(far / near) * off - ratio)

    low, high = 0.0, 50.0**2
    if excess(low) <= 0:
        return 0.0
    return float(np.sqrt(brentq(excess, low, high))) if excess(high) < 0 else float("nan")


def grey_levels(levels: np.ndarray) -> np.ndarray:
    """Return the grey values of solid, pore and deep pore (3), of groups of equal size.

    Solid is the middle of the brightest of three clusters, pore that of what is below the middle
    between the brightest and the darkest; deep pore is the mean of the darkest twentieth.
    """
    values = np.sort(levels.ravel())
    centres = np.quantile(values, (0.02, 0.5, 0.98))
    centres[1] = (centres[0] + centres[2]) / 2
    for _ in range(_ROUNDS):
        nearest = np.searchsorted((centres[1:] + centres[:-1]) / 2, values)
        centres = np.array(
            [values[nearest == c].mean() if (nearest == c).any() else centres[c] for c in range(3)]
        )
    solid = np.median(values[nearest == 2]) if (nearest == 2).any() else centres[2]
    pore = np.median(values[values <= (centres[0] + centres[2]) / 2])
    deep = values[: max(int(_DARKEST * len(values)), 1)].mean()
    return np.array([solid, pore, deep])


def stripes(products: np.ndarray) -> float:
    """Return the standard deviation of stripes (tile, 2) in grey values."""
    product, columns = products.T
    return float(np.sqrt(max(np.average(product, weights=columns), 0.0)))


def with_error(
    records: np.ndarray, estimate: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return what is estimated of records (z, tile, record), and its standard error.

    The error is that of the mean of up to eight parts of the slices; NaN of fewer than two.
    """
    kept = records[np.isfinite(records[:, 0, 0])]
    number = min(_PARTS, len(kept))
    value = np.asarray(estimate(kept), np.float64)
    if number < 2:
        return value, np.full_like(value, np.nan)
    each = np.stack([np.asarray(estimate(kept[k::number]), np.float64) for k in range(number)])
    return value, each.std(axis=0, ddof=1) / np.sqrt(number)
