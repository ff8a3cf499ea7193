"""What a tile of an image tells of how it was taken: numbers that are pooled afterwards."""

import numpy as np
from scipy.ndimage import (
    correlate1d,
    gaussian_filter,
    uniform_filter,
    uniform_filter1d,
)

GROUPS = 16
"""Into which pixels of a tile are sorted by brightness, of equal numbers."""
SCALES = ((0.7, 1.4), (1.0, 2.0), (2.0, 4.0))
"""Pairs of standard deviations in pixels that edges are blurred by once more."""
_STEEP = 1.0  # pixels: the blur at which flat parts are told from others
NOISE = 3 * GROUPS  # mean, variance and roughness of each group
LEVELS = GROUPS
EDGES = 4 * len(SCALES)  # products of gradients, their number, and brightness
STRIPES = 2
RECORD = 1 + NOISE + LEVELS + EDGES + STRIPES
"""Numbers of a tile: pixels, noise, levels, edges and stripes."""
MARGIN = 8  # pixels at the sides of a tile, of which nothing is told

_SECOND = np.array([1.0, -2.0, 1.0])  # along both axes: no plane, ramp or straight edge is seen
_SQUARES = 36.0  # of the weights of that
_MEDIAN = 0.6744897501960817  # of the absolute value of a standard normal deviate
_FLAT = 0.5  # share of the pixels of a group, those of the smallest gradients
_FLAT_MEDIAN = 0.2876820724517809  # a quarter of exponential deviates of mean 1 lie below
_CERTAIN = 8.0  # times their noise that edges exceed
_STRONG = 0.5  # of the strongest edges of a tile
_STRONGEST = 0.98  # quantile
_BANDS = 4
_NEAR = 0.125  # of the contrast, in which grey values are counted about the cut between phases
_LEFT = 0.5  # share of stripes that must be left for phases to be taken off


def tile_record(image: np.ndarray, fineness: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Return the numbers (record) of a tile (y, x) of grey values, float64.

    Parameters
    ----------
    image
        Grey values (y, x).
    fineness
        Pixels along y and x that are as long as the longest side of a pixel: edges blur alike in
        all directions, in nm.
    """
    grey = np.asarray(image, np.float64)
    inside = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    noise = noise_groups(grey, inside)
    usual = float(np.median(noise[1]))
    edges = [edge_sums(grey, inside, pair, usual, fineness) for pair in SCALES]
    levels = brightness_levels(grey, inside)
    products = stripe_products(grey[inside], levels)
    record = [[grey[inside].size], noise.ravel(), levels, *edges, products]
    return np.concatenate([np.asarray(part, np.float64) for part in record])


def gradient(
    grey: np.ndarray, scale: float, fineness: tuple[float, float] = (1.0, 1.0)
) -> np.ndarray:
    """Return the gradient (axis, y, x) of grey values (y, x) blurred by a Gaussian.

    Both count in the longest side of a pixel; see `tile_record`.
    """
    scales = tuple(scale * pixels for pixels in fineness)
    parts = zip(fineness, ((1, 0), (0, 1)), strict=True)
    return np.stack([pixels * gaussian_filter(grey, scales, order) for pixels, order in parts])


def gradient_noise(one: float, other: float, fineness: tuple[float, float] = (1.0, 1.0)) -> float:
    """Return the covariance of a component of two gradients of white noise of variance 1."""
    square = (one**2 + other**2) / 2
    return float(1 / (8 * np.pi * square**2 * np.prod(fineness)))


def noise_groups(grey: np.ndarray, inside: tuple[slice, ...]) -> np.ndarray:
    """Return mean, variance of noise, and roughness (3, group) of pixels of similar brightness.

    Second differences along both axes of 3 x 3 pixels (Immerkaer, Computer Vision and Image
    Understanding 64 (1996) 300-302) hold noise and corners. They are uncorrelated with the mean of
    the nine, by which pixels are sorted, and with the gradient, by which flat ones are chosen.
    Roughness is the square of the gradient relative to that of the noise: 1 where all is flat.
    """
    second = correlate1d(correlate1d(grey, _SECOND, 0), _SECOND, 1)[inside].ravel()
    mean = uniform_filter(grey, 3)[inside].ravel()
    steep = (gradient(grey, _STEEP) ** 2).sum(axis=0)[inside].ravel()
    found = np.zeros((3, GROUPS))
    for k, members in enumerate(np.array_split(np.argsort(mean, kind="stable"), GROUPS)):
        flat = members[np.argsort(steep[members], kind="stable")[: int(_FLAT * len(members))]]
        variance = np.median(np.abs(second[flat])) ** 2 / (_MEDIAN**2 * _SQUARES)
        expected = _FLAT_MEDIAN * 2 * gradient_noise(_STEEP, _STEEP) * variance
        found[:, k] = mean[flat].mean(), variance, np.median(steep[flat]) / max(expected, 1e-30)
    return found


def brightness_levels(grey: np.ndarray, inside: tuple[slice, ...]) -> np.ndarray:
    """Return the mean grey values of pixels in groups (group) of increasing brightness.

    They are sorted by the mean of every other pixel of the 5 x 5 around them, and told by the mean
    of the others, so that the darkest group is not that of the darkest noise.
    """
    y, x = np.ogrid[: grey.shape[0], : grey.shape[1]]
    even = ((y + x) % 2 == 0).astype(np.float64)
    sort, told = (
        (uniform_filter(grey * mask, 5) / uniform_filter(mask, 5))[inside].ravel()
        for mask in (even, 1 - even)
    )
    groups = np.array_split(np.argsort(sort, kind="stable"), GROUPS)
    return np.array([told[members].mean() for members in groups])


def edge_sums(
    grey: np.ndarray,
    inside: tuple[slice, ...],
    scales: tuple[float, float],
    variance: float,
    fineness: tuple[float, float],
) -> np.ndarray:
    """Return sums (4) over edges: of fine times coarse gradients, of coarse ones squared, ….

    The others are their number, and the grey values that their noise follows from. Edges are pixels
    where it turns, whose coarse gradient is well above noise of a variance, and at least half that
    of the strongest ones.
    """
    fine, coarse = (gradient(grey, scale, fineness)[:, *inside] for scale in scales)
    square = (coarse**2).sum(axis=0)
    noise = 2 * variance * gradient_noise(scales[1], scales[1], fineness)
    crest = _crests(grey, scales[1], fineness)[inside] & (square > _CERTAIN**2 * noise)
    if not crest.any():
        return np.zeros(4)
    strongest = np.quantile(square[crest], _STRONGEST)
    crest &= square >= _STRONG**2 * strongest
    mean = gaussian_filter(grey, scales[1] * np.array(fineness))[inside][crest]
    both = (fine * coarse).sum(axis=0)[crest]
    return np.array([both.sum(), square[crest].sum(), crest.sum(), mean.sum()])


def _crests(grey: np.ndarray, scale: float, fineness: tuple[float, float]) -> np.ndarray:
    """Tell which pixels (y, x) lie nearest to where second derivatives change their sign.

    Their noise is uncorrelated with that of gradients: which pixels these are chosen by is no
    reason why the gradient should be too steep there.
    """
    scales = tuple(scale * pixels for pixels in fineness)
    along = zip(fineness, ((2, 0), (0, 2)), strict=True)
    second = sum(pixels**2 * gaussian_filter(grey, scales, order) for pixels, order in along)
    crest = np.zeros(grey.shape, bool)
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        other = np.roll(second, step, axis)
        crest |= (second * other < 0) & (np.abs(second) <= np.abs(other))
    return crest


def without_phases(grey: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, float]:
    """Return grey values less the level of their phase, and the share of stripes that is left.

    A stripe that lifts a pixel over the cut between the phases takes that much off, too: less is
    left where many pixels lie there. Where it would be little, grey values stay as they are.

    Parameters
    ----------
    grey
        Of a tile (y, x).
    levels
        As of `brightness_levels`.
    """
    cut = (levels[0] + levels[-1]) / 2
    bright = levels > cut
    if not bright.any():
        return grey, 1.0
    dark_level, bright_level = np.median(levels[~bright]), np.median(levels[bright])
    contrast = bright_level - dark_level
    near = np.abs(grey - cut) < _NEAR * contrast
    left = 1 - float(near.mean()) / (2 * _NEAR)
    if left < _LEFT:
        return grey, 1.0
    return np.asarray(grey - np.where(grey > cut, bright_level, dark_level)), left


def stripe_products(grey: np.ndarray, levels: np.ndarray) -> tuple[float, float]:
    """Return the mean product of the profiles along x of distant bands of rows, and its number.

    Structures of bands that lie apart have little in common; stripes along y are the same.
    """
    grey, left = without_phases(grey, levels)
    profiles = np.stack([band.mean(axis=0) for band in np.array_split(grey, _BANDS)])
    profiles -= uniform_filter1d(profiles, max(profiles.shape[1] // 2, 3), axis=1, mode="nearest")
    pairs = [(a, b) for a in range(_BANDS) for b in range(a + 2, _BANDS)]
    products = [float((profiles[a] * profiles[b]).mean()) for a, b in pairs]
    return float(np.mean(products)) / left**2, float(profiles.shape[1])
