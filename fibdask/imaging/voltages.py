"""Whether images look like those of another voltage than they are said to be of.

The higher the voltage, the deeper solid shines through pores. What a network sees in images is
simulated at several voltages, and held against the images where they show pore with solid at a
known depth below.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from scipy.ndimage import distance_transform_edt, gaussian_filter

from ..conventions import ConventionError, measured_slices
from ..simulate import simulate_images

_SMOOTH = 2.0  # pixels: noise is less then
_OUTSIDE = 2.0  # pixels from solid on the face, beyond which grey values are of what lies below
_LEAST = 500  # such pixels, of which fewer tell nothing


def left_by_voltage(
    stack: xr.Dataset,
    phase: xr.DataArray,
    voltages: Sequence[float],
    materials: Sequence[Mapping[str, str]],
) -> np.ndarray:
    """Return what images of other voltages leave unexplained of those of a stack.

    Parameters
    ----------
    stack
        With `intensity`.
    phase
        That is seen in its images, on evenly spaced planes, of which one is near to each slice.
    voltages
        In kV, that are simulated.
    materials
        Pairs of `pore` and `solid` that the stack may be of; the likeliest one counts.

    Returns
    -------
    array
        Share of the variance of grey values that simulated ones, on another scale, do not tell,
        where slices show pore above solid (voltage of the stack, voltage).

    Raises
    ------
    ConventionError
        If there is next to no such pore, or such images cannot be simulated.
    """
    stack = stack.isel(z=np.flatnonzero(measured_slices(stack)))
    faces = phase.get_index("z").get_indexer(stack["z"].values, method="nearest")
    shown = _pores_above_solid(phase.values > 0, faces)
    if shown.sum() < _LEAST or not materials:
        msg = f"too few pixels show pore above solid of known materials; got {shown.sum()}"
        raise ConventionError(msg)
    images = _apart(stack["intensity"].values, shown)
    left = []
    for pair in materials:
        simulated = simulate_images(
            phase,
            slices=phase["z"].values[faces].tolist(),
            voltage=list(voltages),
            materials=pair,
            model="learned",
            electrons_per_pixel=None,
            gaussian_std=0.0,
            dtype="float32",
            seed=0,
        )
        left.append(_unlike(images, _apart(simulated["intensity"].values, shown)))
    return np.asarray(np.min(left, axis=0))


def _unlike(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return 1 - r² of the correlations r of images (…, n) with others; 1 where these are below."""
    alike = np.maximum(images @ others.T, 0)
    squares = np.outer((images**2).sum(axis=-1), (others**2).sum(axis=-1))
    return np.asarray(1 - alike**2 / np.maximum(squares, 1e-12))


def _pores_above_solid(solid: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return where faces (slice, y, x), planes of a volume, show pore with solid below."""
    pore = np.stack([distance_transform_edt(~solid[face]) > _OUTSIDE for face in faces])
    return pore & np.stack([solid[face:].any(axis=0) for face in faces])


def _apart(images: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return smoothed grey values less the mean of their column, where all is shown (voltage, n).

    So neither drifts of brightness count, nor stripes along y.
    """
    smooth = gaussian_filter(images.astype(np.float64), (0, 0, _SMOOTH, _SMOOTH))
    mean = np.where(shown, smooth, 0).sum(axis=2) / np.maximum(shown.sum(axis=1), 1)
    return np.asarray((smooth - mean[:, :, None])[:, shown])
