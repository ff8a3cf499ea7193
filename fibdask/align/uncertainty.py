"""How far shifts may be off: parts of the images are registered each for itself."""

from itertools import pairwise, product

import numpy as np
import xarray as xr

from ._frames import Window

_KNOWN = 0.5  # share of steps that must be found in two parts


def parts_of(window: Window, least: int) -> tuple[Window, ...]:
    """Return the quarters of a window, or none where they have fewer than `least` pixels.

    Pixels are averaged as those of the window: where quarters scatter, so does what is found in
    the same images.
    """
    halves = []
    for first, size, reach in zip(window.origin, window.size, window.reach, strict=True):
        n = size // window.factor
        if n // 2 < least:
            return ()
        cuts = [0, n // 2, n]
        halves.append(
            [
                (first + start * window.factor, (stop - start) * window.factor, min(reach, n // 8))
                for start, stop in pairwise(cuts)
            ]
        )
    return tuple(
        Window((y[0], x[0]), (y[1], x[1]), window.factor, (y[2], x[2])) for y, x in product(*halves)
    )


def with_shift_errors(shifts: xr.Dataset, parts: xr.DataArray, *, straight: bool) -> xr.Dataset:
    """Add the standard errors of shifts that the scatter of parts tells.

    Parameters
    ----------
    shifts
        As of `solve_shifts`.
    parts
        Measurements (voltage, z, part, quantity) of each slice and the next in parts of the
        region; computed.
    straight
        Whether a straight line over z is taken out of the shifts.

    Returns
    -------
    xarray.Dataset
        With `shift_error_y` and `shift_error_x` (voltage, z) in nm, relative to the first good
        slice of the reference voltage. NaN where fewer than two parts, or less than half of the
        steps, could be measured.
    """
    flag = shifts["flag"].values
    base = int(np.argmin(np.abs(shifts["voltage"].values - shifts.attrs["reference_voltage"])))
    distance = np.abs(np.arange(flag.shape[1]) - int(np.argmax(flag[base] == 0)))
    for i, axis in enumerate(("y", "x")):
        errors = np.full(flag.shape, np.nan)
        for v, good in enumerate(flag == 0):
            steps = [
                _steps(part, f"shift_{axis}", good) for part in parts[v].transpose("part", ...)
            ]
            if steps:
                errors[v] = accumulated_error(np.array(steps), straight=straight)[distance]
        attrs = {"long_name": f"standard error of the translation along {axis}", "units": "nm"}
        size = parts.attrs["pixel_size"][i]
        shifts[f"shift_error_{axis}"] = (("voltage", "z"), errors * size, attrs)
    return shifts


def _steps(part: xr.DataArray, quantity: str, good: np.ndarray) -> np.ndarray:
    """Return the steps (z - 1) in pixels from slice to slice; NaN where there is no link."""
    pairs = part.isel(z=slice(0, -1))
    found = (pairs.sel(quantity="evidence").values >= 1) & good[:-1] & good[1:]
    return np.where(found, pairs.sel(quantity=quantity).values, np.nan)


def accumulated_error(steps: np.ndarray, *, straight: bool) -> np.ndarray:
    """Return the standard error (n) of the sum of n steps, for n from 0 to their number.

    Of steps (part, step) that parts found each for itself, NaN where they found none; parts
    scatter by chance, and by structures that move with depth otherwise in each. Where slices
    share structures, errors of steps hang together: so sums of n steps are compared, wherever
    they begin, and their variance over parts is that of a mean of so many.
    """
    count = np.isfinite(steps).sum(axis=0)
    known = count > 1
    if known.mean() < _KNOWN:
        return np.full(steps.shape[1] + 1, np.nan)
    mean = np.nansum(steps, axis=0) / np.maximum(count, 1)
    apart = np.where(known, np.nan_to_num(steps - mean), 0.0)
    path = np.concatenate([np.zeros((len(steps), 1)), np.cumsum(apart, axis=1)], axis=1)
    if straight:
        places = np.arange(path.shape[1])
        path = path - np.outer(places, np.polyfit(places, path.T, 1)[0]).T
    total = path.shape[1]
    variance = [
        (path[:, n:] - path[:, : total - n]).var(axis=0, ddof=1).mean() for n in range(total)
    ]
    return np.asarray(np.sqrt(np.array(variance) / known.mean() / len(steps)))
