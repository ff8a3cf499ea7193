"""Small layered samples."""

import numpy as np
import xarray as xr

LAYERS = (("Al", 150.0), ("Au", 15.0))


def places(shape):
    return {
        axis: (axis, np.arange(n) * 10.0, {"units": "nm"})
        for axis, n in zip("yx", shape, strict=True)
    }


def thickness(maps, layers=("Al", "Au")):
    """Return maps (layer, y, x) in nm as an array of a layered sample."""
    maps = np.asarray(maps, float)
    coords = {"layer": list(layers), **places(maps.shape[1:])}
    return xr.DataArray(maps, dims=("layer", "y", "x"), coords=coords, attrs={"units": "nm"})


def patches(seed, patch=1, shape=(24, 24)):
    """Return thicknesses of which half are none, the others even from a tenth of the largest."""
    rng = np.random.default_rng(seed)
    few = (2, shape[0] // patch, shape[1] // patch)
    maps = rng.uniform(0.1, 1, few) * np.array([150.0, 15.0])[:, None, None]
    maps *= rng.random(few) > 0.5
    return thickness(maps.repeat(patch, axis=1).repeat(patch, axis=2))
