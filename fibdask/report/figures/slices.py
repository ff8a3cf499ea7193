"""Orthogonal slices of a stack as colour pictures on a common scale, irregular depths included.

Only three planes of a volume are read. Voxels are coloured first and averaged over display
pixels afterwards, so that labels, gaps and grey values shrink alike; of large images every n-th
pixel along y and x is taken, so that this needs little memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import ndimage

from ...conventions import known_spacing

PIXELS = 640  # of the longest edge of a view
VIEWS = {"xy": ("y", "x"), "xz": ("z", "x"), "yz": ("z", "y")}
PORE, SOLID = (0.96, 0.96, 0.95), (0.16, 0.22, 0.33)
FILLED_PORE, FILLED_SOLID = (0.86, 0.92, 0.98), (0.34, 0.54, 0.78)
GAP = (0.97, 0.80, 0.64)
MISSED, EXCESS = (0.84, 0.37, 0.0), (0.34, 0.71, 0.91)
OUTLINE = (0.90, 0.42, 0.05)

Planes = Mapping[str, np.ndarray]
"""Arrays by view: `xy` (y, x), `xz` (z, x), `yz` (z, y); pictures have a last dimension rgb."""


@dataclass(frozen=True)
class Geometry:
    """Where the voxels of a stack lie, and which of them are shown.

    Attributes
    ----------
    edges
        Edges of the voxels shown along each axis, in nm from the first edge of the stack.
    place
        Number of the plane shown across each axis.
    stride
        Every which voxel is shown along each axis.
    coordinate
        Of the plane shown across each axis, in nm.
    """

    edges: Mapping[str, np.ndarray]
    place: Mapping[str, int]
    stride: Mapping[str, int]
    coordinate: Mapping[str, float]

    def length(self, axis: str) -> float:
        """Return the length of the stack along an axis in nm."""
        return float(self.edges[axis][-1])

    def position(self, axis: str) -> float:
        """Return the middle of the plane shown across an axis in nm."""
        k = self.place[axis] // self.stride[axis]
        return float(self.edges[axis][k : k + 2].mean())


def geometry(stack: xr.Dataset, preferred: np.ndarray | None = None) -> Geometry:
    """Return where the voxels of a stack lie, and its middle planes.

    Across z it is the plane nearest to the middle depth, among `preferred` (z, bool) if any.
    """
    z = stack["z"].values
    edges = {"z": np.append(z, z[-1] + stack["slice_thickness"].values[-1]) - z[0]}
    stride = {"z": 1}
    for axis in ("y", "x"):
        size = stack.sizes[axis]
        stride[axis] = max(size // (2 * PIXELS), 1)
        edges[axis] = known_spacing(stack, axis) * np.append(np.arange(0, size, stride[axis]), size)
    middle = np.abs(edges["z"][:-1] + edges["z"][1:] - edges["z"][-1])
    if preferred is not None and preferred.any():
        middle = np.where(preferred, middle, np.inf)
    place = {"z": int(np.argmin(middle))}
    place |= {axis: stack.sizes[axis] // 2 for axis in ("y", "x")}
    coordinate = {axis: float(stack[axis].values[number]) for axis, number in place.items()}
    return Geometry(edges, place, stride, coordinate)


def read_planes(volumes: Mapping[str, xr.DataArray], where: Geometry) -> dict[str, Planes]:
    """Read the planes shown of volumes (z, y, x), all of them in one computation."""
    lazy = {
        f"{name} {view}": volume.isel({axis: where.place[axis]}, drop=True).variable
        for name, volume in volumes.items()
        for view, axis in (("xy", "z"), ("xz", "y"), ("yz", "x"))
    }
    read = xr.Dataset(lazy).compute()
    steps = {view: tuple(slice(None, None, where.stride[a]) for a in VIEWS[view]) for view in VIEWS}
    return {
        name: {view: read[f"{name} {view}"].values[steps[view]] for view in VIEWS}
        for name in volumes
    }


def grey_pictures(image: Planes, where: Geometry, gaps: np.ndarray) -> Planes:
    """Colour grey values, stretched between their 0.5 and 99.5 % quantiles outside of gaps.

    Pixels that are not finite are coloured as gaps.
    """
    samples = np.concatenate([image[v][~_gap_mask(v, where, gaps)].ravel() for v in VIEWS])
    samples = samples[np.isfinite(samples)]
    low, high = np.quantile(samples, (0.005, 0.995)) if len(samples) else (0.0, 1.0)
    span = float(high - low) or 1.0
    colours = {}
    for v in VIEWS:
        known = np.isfinite(image[v])
        grey = np.clip((np.where(known, image[v], 0.0) - low) / span, 0, 1)
        colours[v] = np.where(known[..., None], grey[..., None], GAP)
    return _displayed(colours, where, gaps)


def label_pictures(
    labels: Planes, palette: list[tuple[float, float, float]], where: Geometry, gaps: np.ndarray
) -> Planes:
    """Colour labels by a palette."""
    colours = np.array(palette)
    return _displayed({v: colours[labels[v]] for v in VIEWS}, where, gaps)


def outlined(pictures: Planes, phase: Planes, where: Geometry) -> Planes:
    """Draw the boundary of the solid into pictures, on its inner side."""
    result = {}
    for view in VIEWS:
        solid = _resampled(view, phase[view][..., None].astype(np.float64), where)[..., 0] > 0.5
        thick = ndimage.binary_erosion(solid, iterations=2, border_value=1)
        result[view] = np.where((solid & ~thick)[..., None], OUTLINE, pictures[view])
    return result


def _gap_mask(view: str, where: Geometry, gaps: np.ndarray) -> np.ndarray:
    """Return which voxels of a view lie in gaps (z, bool)."""
    rows, columns = (len(where.edges[axis]) - 1 for axis in VIEWS[view])
    if view == "xy":
        return np.full((rows, columns), gaps[where.place["z"]])
    return np.repeat(gaps[:, None], columns, axis=1)


def _displayed(pictures: Planes, where: Geometry, gaps: np.ndarray) -> Planes:
    shown = {}
    for view in VIEWS:
        picture = np.where(_gap_mask(view, where, gaps)[..., None], GAP, pictures[view])
        shown[view] = _resampled(view, picture, where)
    return shown


def _resampled(view: str, picture: np.ndarray, where: Geometry) -> np.ndarray:
    """Average a picture over display pixels, square and of one size for all views of a stack."""
    pixel = max(where.length(axis) for axis in where.edges) / PIXELS
    for number, axis in enumerate(VIEWS[view]):
        count = max(round(where.length(axis) / pixel), 1)
        picture = np.moveaxis(picture, number, 0)
        picture = np.moveaxis(_averaged(picture, where.edges[axis], count), 0, number)
    return picture


def _averaged(values: np.ndarray, edges: np.ndarray, count: int) -> np.ndarray:
    """Average slabs (slab, …) between `edges` over `count` even ones of the same total length."""
    steps = np.diff(edges).reshape(-1, *(1,) * (values.ndim - 1))
    integral = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values * steps, axis=0)])
    wanted = np.linspace(edges[0], edges[-1], count + 1)
    slab = np.clip(np.searchsorted(edges, wanted, side="right") - 1, 0, len(values) - 1)
    beyond = (wanted - edges[slab]).reshape(-1, *(1,) * (values.ndim - 1))
    sums = np.diff(integral[slab] + values[slab] * beyond, axis=0)
    return np.asarray(sums / (wanted[1] - wanted[0]))
