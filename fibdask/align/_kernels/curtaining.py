"""Stripes along y: how grey values step from column to column, and what of it is no structure."""

import numpy as np
from scipy import fft, ndimage

from ...compiling import compiled

_WINDOWS = 4  # in the length of the shortest stripe: half of the modes along y tell the noise
_ASPECT = 8  # of stripes: half of a wave along y over a period along x
_BANDWIDTH = 0.0125  # cycles per pixel, over which powers are averaged
_REJECTED = 3.0  # deviations beyond which a step is taken for an edge of the structure
_ROUNDS = 4
_LANES = 32  # columns that are worked on together
_PANELS = 8  # of lanes
_ABSENT = np.float32(3e38)  # larger than any step: sorted to the end, and of no weight


def stripe_image(image: np.ndarray, length: float, width: float, slope: float) -> np.ndarray:
    """Estimate the stripes of an image.

    Parameters
    ----------
    image
        Grey values (y, x), float32, finite.
    length
        Least length of a stripe along y, in pixels.
    width
        Largest period of stripes along x, in pixels; an eighth of the rows is the most.
    slope
        Pixels along x by which stripes move from row to row.

    Returns
    -------
    numpy.ndarray
        Grey values (y, x), float32, to be subtracted; 0 in margins, which show nothing.
    """
    stripes = np.zeros_like(image)
    shown = shown_columns(image)
    if shown.stop - shown.start > 1:
        part = np.ascontiguousarray(image[:, shown])
        stripes[:, shown] = _stripes(part, length, width, slope)
    return stripes


def shown_columns(image: np.ndarray) -> slice:
    """Return the columns (y, x) but for those of one grey value each at either side.

    Such as alignment fills: the step from there to the image would be taken for a stripe.
    """
    varying = np.flatnonzero(image.min(axis=0) < image.max(axis=0))
    return slice(int(varying[0]), int(varying[-1]) + 1) if len(varying) else slice(0, 0)


def _stripes(image: np.ndarray, length: float, width: float, slope: float) -> np.ndarray:
    """Estimate the stripes of an image without margins."""
    n_y = len(image)
    first = first_columns(n_y, slope)
    n_x = image.shape[1] + int(first.max())
    windows = max(round(_WINDOWS * n_y / length), _WINDOWS)
    edges = np.linspace(0, n_y, windows + 1).astype(np.int64)
    steps = np.zeros((windows, n_x))
    column_steps(image, edges, first, steps[:, 1:])
    if first.any():
        fill_columns(steps)
    spectra = stripe_spectra(steps)
    modes = fft.dct(spectra, axis=0, norm="ortho")
    slow = windows // 2 + 1
    highest = highest_modes(n_y, n_x, width).clip(max=slow - 1)
    modes *= stripe_shares(modes, highest, 2 * n_x * _BANDWIDTH)
    profiles = fft.irfft(modes[:slow], 2 * n_x, axis=1)[:, :n_x].astype(np.float32)
    strength = strengths(spectra, fft.idct(modes, axis=0, norm="ortho"))
    middle = (edges[:-1] + edges[1:] - 1) / 2
    rows = np.interp(np.arange(n_y), middle, strength)
    upright = (cosines(n_y, windows, slow) * rows[:, None]).astype(np.float32) @ profiles
    if not first.any():
        return np.asarray(upright)
    stripes = np.empty_like(image)
    for y, start in enumerate(first):
        stripes[y] = upright[y, start : start + image.shape[1]]
    return stripes


@compiled(nogil=True)
def subtract(image, stripes, out):
    """Write whole grey values (y, x) less their float32 stripes, rounded, within their range.

    A saturated pixel tells nothing but that it is: it stays so.
    """
    top = np.float32(np.iinfo(image.dtype).max)
    for y in range(image.shape[0]):
        seen, wrong, right = image[y], stripes[y], out[y]
        for x in range(len(seen)):
            grey = np.float32(seen[x])
            less = wrong[x] if 0 < grey < top else np.float32(0)
            right[x] = min(max(np.rint(grey - less), np.float32(0)), top)


def first_columns(n_y: int, slope: float) -> np.ndarray:
    """Return the column at which each row begins where rows are moved to set stripes upright."""
    moved = np.rint(slope * np.arange(n_y)).astype(np.int64)
    return np.asarray(moved.max() - moved)


@compiled(nogil=True)
def column_steps(image, edges, first, steps):
    """Write the usual difference of neighbouring columns in each window of rows (window, x - 1).

    Rows (y, x) begin at the columns `first`; where fewer than half of a window's rows reach, the
    step is NaN. The biweight mean: edges of structures are few among the rows, and count nothing.
    """
    rows = np.empty((_PANELS, _LANES), np.int64)
    means = np.empty(_LANES)
    for window in range(len(edges) - 1):
        start, stop = edges[window], edges[window + 1]
        differences = np.empty((_PANELS, stop - start, _LANES), np.float32)
        for column in range(0, steps.shape[1], _PANELS * _LANES):
            _take_differences(image, start, first, column, differences, rows)
            for panel in range(_PANELS):
                begin = column + panel * _LANES
                if begin >= steps.shape[1]:
                    break
                _sort_lanes(differences[panel])
                _biweight_means(differences[panel], rows[panel], means)
                for lane in range(min(_LANES, steps.shape[1] - begin)):
                    count = rows[panel, lane]
                    reached = count > 0 and 2 * count >= stop - start
                    steps[window, begin + lane] = means[lane] if reached else np.nan


@compiled(nogil=True)
def _take_differences(image, start, first, column, differences, rows):
    """Write the differences (panel, row, lane) of columns in rows from `start` on, and how many.

    Several panels at once, because memory is read along rows.
    """
    last = image.shape[1] - 1
    rows[:] = 0
    for k in range(differences.shape[1]):
        for panel in range(_PANELS):
            x = column + panel * _LANES - first[start + k]  # of the first lane
            left, right = max(-x, 0), min(_LANES, last - x)
            taken = differences[panel, k]
            if left > 0 or right < _LANES:
                taken[:] = _ABSENT
            if left >= right:
                continue
            part, count = taken[left:right], rows[panel, left:right]
            pixels = image[start + k, x + left : x + right + 1]
            for lane in range(len(part)):
                part[lane] = pixels[lane + 1] - pixels[lane]
                count[lane] += 1


@compiled(nogil=True)
def _sort_lanes(values):
    """Sort values (row, lane) along rows: Batcher's network, every lane alike, so vectorised.

    Rows that are exchanged with those a distance below follow each other, as many as are merged.
    """
    n, lanes = values.shape
    flat = values.reshape(-1)
    most = 1
    while 2 * most < n:
        most *= 2
    size = most
    while size > 0:
        part, offset, distance = most, 0, size
        while distance > 0:
            for i in range(offset, n - distance, 2 * size):
                stop = min(i + size, n - distance)
                low = flat[i * lanes : stop * lanes]
                high = flat[(i + distance) * lanes : (stop + distance) * lanes]
                for k in range(len(low)):
                    a, b = low[k], high[k]
                    low[k] = a if a < b else b
                    high[k] = b if a < b else a
            distance = part - size
            part //= 2
            offset = size
        size //= 2


@compiled(nogil=True)
def _biweight_means(values, rows, means):
    """Write the biweight mean of every lane of sorted values (row, lane), of its first rows."""
    scales, total, weights = np.empty(_LANES), np.empty(_LANES), np.empty(_LANES)
    for lane in range(_LANES):
        n = max(rows[lane], 1)
        means[lane] = 0.5 * (values[(n - 1) // 2, lane] + values[n // 2, lane])
        deviation = (values[(3 * n) // 4, lane] - values[n // 4, lane]) / 1.349
        scales[lane] = 1 / (_REJECTED * deviation) if deviation > 0 else 0.0
    for _ in range(_ROUNDS):
        total[:] = 0
        weights[:] = 0
        for i in range(len(values)):
            for lane in range(_LANES):
                u = (values[i, lane] - means[lane]) * scales[lane]
                root = 1 - u * u
                weight = root * root if root > 0 else 0.0
                total[lane] += weight * values[i, lane]
                weights[lane] += weight
        for lane in range(_LANES):
            if scales[lane] > 0:
                means[lane] = total[lane] / weights[lane]


def fill_columns(steps: np.ndarray) -> None:
    """Replace NaN by the mean over the other windows (window, x), by 0 where there is none."""
    missing = np.isnan(steps)
    total = np.where(missing, 0, steps).sum(axis=0)
    mean = total / np.maximum((~missing).sum(axis=0), 1)
    np.copyto(steps, mean, where=missing)


def stripe_spectra(steps: np.ndarray) -> np.ndarray:
    """Return the spectra (window, frequency) of profiles that step so, mirrored at their ends.

    `steps` (window, x) leads from column x - 1 to x; the first is 0. Frequency 0 is 0.
    """
    n_x = steps.shape[1]
    mirrored = np.concatenate((steps, 0 * steps[:, :1], -steps[:, :0:-1]), axis=1)
    phase = np.exp(-1j * np.pi / n_x * np.arange(n_x + 1))
    spectra = fft.rfft(mirrored, axis=1)
    spectra[:, 1:] /= 1 - phase[1:]
    spectra[:, 0] = 0
    return np.asarray(spectra)


def highest_modes(n_y: int, n_x: int, width: float) -> np.ndarray:
    """Return the fastest mode along y that stripes have at each frequency, or -1 for none.

    Half of its wave is about eight periods long.
    """
    frequency = np.arange(n_x + 1) / (2 * n_x)
    waves = n_y * frequency / _ASPECT
    narrow = (waves >= 1) & (frequency * width >= 1)
    return np.where(narrow, np.ceil(waves).astype(np.int64), -1)


def stripe_shares(modes: np.ndarray, highest: np.ndarray, bandwidth: float) -> np.ndarray:
    """Return the share of modes (mode, frequency) that is of stripes, 0 beyond the highest.

    It is 1 - (N / P)²: P is the power of the mode, N that of the modes up to twice as fast as the
    highest, too fast for stripes; both are averaged over the bandwidth.
    """
    power = ndimage.gaussian_filter1d(np.abs(modes) ** 2, bandwidth, axis=1, mode="nearest")
    mode = np.arange(len(modes))[:, None]
    of_stripes = mode <= highest
    faster = ~of_stripes & (mode <= 2 * highest + 1)
    noise = (power * faster).sum(axis=0) / np.maximum(faster.sum(axis=0), 1)
    shares = 1 - np.minimum(_ratio(np.broadcast_to(noise, power.shape), power), 1) ** 2
    return np.where(of_stripes, shares, 0)


def strengths(spectra: np.ndarray, stripes: np.ndarray) -> np.ndarray:
    """Return how much, 0 to 1, of the stripes (window, frequency) each window itself shows.

    So stripes do not spread over bands of the image, such as a substrate, that have none.
    """
    common = (stripes.conj() * spectra).real.sum(axis=1)
    return np.asarray(_ratio(common, (np.abs(stripes) ** 2).sum(axis=1)).clip(0, 1))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def cosines(n_y: int, windows: int, modes: int) -> np.ndarray:
    """Return the modes along y, of values in windows, at every row: (y, mode)."""
    row = (np.arange(n_y) + 0.5) / n_y
    values = np.cos(np.pi * np.outer(row, np.arange(modes))) * np.sqrt(2 / windows)
    values[:, 0] = np.sqrt(1 / windows)
    return np.asarray(values)
