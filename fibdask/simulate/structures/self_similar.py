"""Self-similar structures: a phase within smaller copies of itself."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from ... import blocks
from ...conventions import (
    AXES,
    ConventionError,
    attributes,
    check_positive,
    check_seed,
    check_spacing,
    record_step,
    require_phase,
)
from ._functions import MirroredCopies
from .building import (
    Chunks,
    VoxelSize,
    check_known,
    check_shape,
    check_voxel_size,
    split_history,
)

_NUDGE = 1e-6  # voxels: moves points that lie halfway between voxels all to the same side


def self_similar(
    phase: xr.DataArray,
    *,
    scale: Sequence[float],
    seed: int,
    shape: Sequence[int] | None = None,
    voxel_size: VoxelSize | None = None,
    chunks: Chunks = "auto",
) -> xr.DataArray:
    """Generate a hierarchical structure from resized copies of a given one.

    Lazy. A block of the result reads the given phase where its copies lie: a box as large as the
    block divided by the scale, and by its rotation up to √3 times as large, at most all.

    Parameters
    ----------
    phase
        Segmented structure (z, y, x), uint8, evenly spaced in nm.
    scale
        Size of each copy relative to the given phase. The first copy keeps its place; the others
        are rotated and shifted at random.
    seed
        Seed of the rotations and shifts.
    shape
        Number of voxels (z, y, x) of the result; by default as many as the first copy fills.
    voxel_size
        Voxel size (z, y, x), or of a cube, in nm; by default that of the given phase.
    chunks
        Blocks of the result: "auto", a number of voxels, or one for each axis.

    Returns
    -------
    xarray.DataArray
        `phase` (z, y, x), uint8: solid where all copies are solid.

    Raises
    ------
    ConventionError
        If the structure is no phase on even coordinates, holds planes without data, or an argument
        is out of range.

    Notes
    -----
    Lengths of a copy are those of the given phase times its scale. So the scales l₁/l and l₂/l give
    ligaments of l₁ and l₂, with the `ligament_diameter` l of the given phase. Each copy has the
    solid fraction φ of the given phase. Shifts are uniform over its period, so that two copies
    have, on average over seeds, the fraction of the first times φ.

    A copy that is too small continues as its mirror images. The phase is interpolated linearly
    between voxel centres and is solid above one half, which rounds off thin structure: a minority
    of ligaments of three voxels loses about 3 % of its volume, of six less than 1 %.
    """
    phase = require_phase(phase)
    check_known(phase)
    source_size = _voxel_size(phase)
    sizes = source_size if voxel_size is None else check_voxel_size(voxel_size)
    scales = tuple(check_positive("scale", value, "") for value in np.atleast_1d(scale).tolist())
    if not scales:
        msg = "scale must hold that of one copy at least; got none"
        raise ConventionError(msg)
    if shape is None:
        filled = zip(phase.shape, source_size, sizes, strict=True)
        shape = [max(round(n * h * scales[0] / size), 1) for n, h, size in filled]
    n_z, n_y, n_x = check_shape(shape)
    copies = _place_copies(phase.shape, source_size, sizes, scales, seed)
    data = blocks.map_blocks(
        copies,
        [phase.data] * len(scales),
        shape=(n_z, n_y, n_x),
        dtype=np.uint8,
        block=blocks.volume_chunks((n_z, n_y, n_x), 1, chunks),
    )
    coords = {
        axis: (axis, np.arange(n) * h, attributes(axis) | {"spacing": h})
        for axis, n, h in zip(AXES, (n_z, n_y, n_x), sizes, strict=True)
    }
    _, history = split_history(phase)
    parameters = {"scale": scales, "seed": seed, "voxel_size": sizes}
    token = blocks.array_token(phase.data)
    recorded = record_step(xr.Dataset(attrs=history), "self_similar", parameters, token)
    attrs = attributes("phase") | recorded.attrs
    return xr.DataArray(data, coords=coords, dims=AXES, name="phase", attrs=attrs)


def _voxel_size(phase: xr.DataArray) -> tuple[float, float, float]:
    return check_spacing(phase, "z"), check_spacing(phase, "y"), check_spacing(phase, "x")


def _place_copies(
    period: tuple[int, ...],
    source_size: tuple[float, ...],
    voxel_size: tuple[float, ...],
    scales: tuple[float, ...],
    seed: int,
) -> "MirroredCopies":
    """Draw where the copies lie; distances are measured between the faces of the volumes."""
    rng = np.random.default_rng(check_seed(seed))
    rotations, shifts = [np.eye(3)], [np.zeros(3)]
    for _ in scales[1:]:
        rotations.append(_random_rotation(rng))
        shifts.append(rng.uniform(0, 2 * np.array(period)))
    matrices = [
        rotation * np.array(voxel_size) / (scale * np.array(source_size)[:, np.newaxis])
        for rotation, scale in zip(rotations, scales, strict=True)
    ]
    return MirroredCopies(np.stack(matrices), np.stack(shifts) - 0.5 + _NUDGE, tuple(period))


def _random_rotation(rng: np.random.Generator) -> np.ndarray:
    """Return a rotation (axis, axis), even over all: that of a random unit quaternion."""
    quaternion = rng.normal(size=4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
