"""Volumes as few voxels, for a page that shows planes of them; what is read for it is bounded.

Of a stored volume with a pyramid, the level that is just fine enough is read. Of others, planes
are left out until no more than `READ_BYTES` are decoded in all; pixels are averaged.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np
import xarray as xr

from ...blocks import StoredArray, origin
from ...conventions import AXES, known_spacing
from ..viewing.volumes import coarser_levels

PLANES, PIXELS = 96, 192  # across z, and along the longer of y and x, at most
READ_BYTES = 2**32  # decoded for all volumes of a page: a few seconds
_VOXELS = 3 * 2**23  # of all volumes of a page
_TILE_BYTES = 2**24  # read at once, or a row of chunks


@dataclass(frozen=True, eq=False)
class Bins:
    """What is shown along an axis.

    Attributes
    ----------
    edges
        Where each begins, and the last one ends, in nm.
    numbers
        First and last of the voxels (bin, 2) of the volume that each shows; one between two that
        are shown may be left out.
    places
        Where these lie in nm: their coordinate, or its mean.
    """

    edges: np.ndarray
    numbers: np.ndarray
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True, eq=False)
class SampledVolume:
    """A volume as few voxels.

    Attributes
    ----------
    values
        Means over pixels, or one of them, float32: dimensions z, y, x.
    bins
        What is shown along z, y and x.
    """

    values: np.ndarray
    bins: Mapping[str, Bins]


def sampled_volume(
    stack: xr.Dataset, name: str, *, voltage: int | None, average: bool, share: int
) -> SampledVolume | None:
    """Read a volume, or one voltage of it, as few voxels.

    Parameters
    ----------
    stack
        Stack that holds it.
    name
        Name of the volume.
    voltage
        Number of the voltage, or None for a volume (z, y, x).
    average
        Take means over pixels (y, x), else the middle one.
    share
        Number of volumes that the page shows, each with the same part of what may be read.

    Returns
    -------
    SampledVolume or None
        None if two planes would be too much to read.
    """
    volume = stack[name]
    wanted = _wanted(volume.shape[-3:], _VOXELS // share)
    levels = [volume.variable, *coarser_levels(volume)]
    number = _level(levels, wanted, READ_BYTES // share)
    level, chunk = levels[number], _chunk(levels[number])
    planes = _planes(stack, level, number, wanted[0], READ_BYTES // share // _depth_bytes(level))
    if not len(planes):
        return None
    step = -(-max(level.shape[-2:]) // wanted[1])
    bins = {"z": _bins(stack, "z", planes, level.sizes["z"], 2**number)}
    for axis in AXES[1:]:
        starts = np.arange(0, level.sizes[axis], step)
        bins[axis] = _bins(stack, axis, starts, level.sizes[axis], 2**number, step)
    shown = level if voltage is None else level[voltage]
    return SampledVolume(_read(shown, planes, chunk, step, average=average), bins)


def _wanted(shape: Sequence[int], voxels: int) -> tuple[int, int]:
    """Return how many planes, and pixels along the longer edge, there shall be at most."""
    planes, longest = min(shape[0], PLANES), min(max(shape[1:]), PIXELS)
    shorter = min(shape[1:]) / max(shape[1:])
    # Planes are left out first, down to half: whole slices are what is looked at.
    planes = min(planes, max(int(voxels / (longest**2 * shorter)), -(-planes // 2)))
    return planes, max(min(longest, int(sqrt(voxels / planes / shorter))), 1)


def _level(levels: Sequence[xr.Variable], wanted: tuple[int, int], most: int) -> int:
    """Return the number of the coarsest level that is fine enough, or one that can be read."""
    fine, best = levels[0].shape[-3:], 0
    for number, level in enumerate(levels):
        enough = level.shape[-3] >= min(wanted[0], fine[0])
        enough &= max(level.shape[-2:]) >= min(wanted[1], max(fine[1:]))
        if enough or _bytes(levels[best]) > most:
            best = number
    return best


def _bytes(level: xr.Variable) -> int:
    """Return the bytes of one voltage of a level."""
    return prod(level.shape[-3:]) * int(level.dtype.itemsize)


def _chunk(level: xr.Variable) -> tuple[int, ...]:
    """Return what of a level is decoded at once (z, y, x)."""
    if level.chunks is None:
        return (1, *level.shape[-2:])
    source = origin(level.data)
    if isinstance(source, StoredArray):
        return source.chunk[-3:]
    return tuple(max(lengths) for lengths in level.chunks[-3:])


def _depth_bytes(level: xr.Variable) -> int:
    """Return the bytes that are decoded for one plane."""
    return _bytes(level) // level.shape[-3] * min(_chunk(level)[0], level.shape[-3])


def _edges(stack: xr.Dataset, axis: str) -> np.ndarray:
    """Return where the voxels of a stack begin along an axis, and the last one ends, in nm."""
    places = stack[axis].values
    if axis == "z":  # a slice reaches from its face to the next
        return np.append(places, places[-1] + stack["slice_thickness"].values[-1])
    spacing = known_spacing(stack, axis)
    return np.append(places - spacing / 2, places[-1] + spacing / 2)


def _planes(
    stack: xr.Dataset, level: xr.Variable, number: int, most: int, readable: int
) -> np.ndarray:
    """Return the planes of a level that are shown: all, or some at even distances in depth."""
    size = level.shape[-3]
    planes = np.arange(size) if size <= most else _even_planes(stack, size, number, most)
    if len(np.unique(planes // _chunk(level)[0])) <= readable:
        return planes
    return _even_planes(stack, size, number, readable) if readable > 1 else planes[:0]


def _even_planes(stack: xr.Dataset, size: int, number: int, most: int) -> np.ndarray:
    """Return the planes that lie at even depths, `most` of them if all are of one thickness."""
    edges = _edges(stack, "z")
    edges = edges[np.minimum(np.arange(size + 1) * 2**number, len(edges) - 1)]
    depths = np.linspace(edges[0], edges[-1], most, endpoint=False)
    return np.unique(np.searchsorted(edges, depths, side="right") - 1)


def _bins(
    stack: xr.Dataset, axis: str, starts: np.ndarray, size: int, factor: int, step: int = 1
) -> Bins:
    """Return the bins that begin at voxels of a level, each of `step`, made of `factor` fine ones.

    Each is drawn up to the next one.
    """
    edges, places = _edges(stack, axis), stack[axis].values
    first = starts * factor
    last = np.minimum(np.minimum(starts + step, size) * factor, len(places)) - 1
    means = np.array([places[a : b + 1].mean() for a, b in zip(first, last, strict=True)])
    return Bins(edges[np.append(first, len(places))], np.stack([first, last], 1), means)


def _read(
    volume: xr.Variable, planes: np.ndarray, chunk: Sequence[int], step: int, *, average: bool
) -> np.ndarray:
    """Read planes of a volume (z, y, x), pixels of which are averaged or picked."""
    rows, columns = (-(-size // step) for size in volume.shape[1:])
    made = np.zeros((len(planes), rows, columns), np.float32)
    middle = np.minimum(np.arange(columns) * step + step // 2, volume.shape[2] - 1)
    for group in _groups(planes, chunk[0]):
        first = planes[group.start]
        depth = slice(first, planes[group.stop - 1] + 1)
        for tile in _tiles(volume, depth.stop - first, chunk[1]):
            part = volume[depth, tile].to_numpy()[planes[group] - first]
            bins = np.arange(tile.start // step, -(-tile.stop // step))
            if average:
                sums = np.add.reduceat(
                    part, np.maximum(bins * step - tile.start, 0), axis=1, dtype=np.float32
                )
                made[group, bins] += np.add.reduceat(sums, np.arange(columns) * step, axis=2)
            else:
                wanted = np.minimum(bins * step + step // 2, volume.shape[1] - 1)
                here = (wanted >= tile.start) & (wanted < tile.stop)
                made[group, bins[here]] = part[:, wanted[here] - tile.start][..., middle]
    return made / _pixels(volume.shape[1:], step) if average else made


def _pixels(shape: Sequence[int], step: int) -> np.ndarray:
    """Return of how many pixels each mean is made; the last ones are cut."""
    counts = [np.minimum(size - np.arange(0, size, step), step) for size in shape]
    return np.multiply.outer(*counts).astype(np.float32)


def _groups(planes: np.ndarray, depth: int) -> Iterator[slice]:
    """Iterate over planes that lie in the same chunks."""
    ends = np.flatnonzero(np.diff(planes // depth)) + 1
    for start, stop in zip([0, *ends], [*ends, len(planes)], strict=True):
        yield slice(start, stop)


def _tiles(volume: xr.Variable, depth: int, chunk: int) -> Iterator[slice]:
    """Iterate over rows of whole chunks that are read at once."""
    _, rows, columns = volume.shape
    most = _TILE_BYTES // max(depth * columns * volume.dtype.itemsize, 1)
    step = max(most // chunk, 1) * chunk
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
