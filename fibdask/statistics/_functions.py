"""What is counted, labelled and measured in one block of a volume, inside its mask."""

from dataclasses import dataclass
from math import hypot, prod

import numpy as np

from ..blocks import (
    Region,
    grow,
    lengths,
    voxels,
    within,
)
from ..conventions import AXES, ConventionError, check_phase_values
from ..pieces.functions import FromCoordinates
from ._kernels.connectivity import connected_pieces, face_patches, piece_sizes
from ._kernels.lines import confusion_counts
from ._kernels.local_thickness import (
    Vector,
    cover_bytes,
    cover_limits,
    paint_balls,
    squared_distances,
    squared_steps,
)
from ._kernels.surface import Step, neighbour_counts
from .chosen import Chosen


@dataclass(frozen=True, eq=False)
class InPlanes:
    """Block function: a mask (z, …), zero outside of some planes.

    Attributes
    ----------
    planes
        True where planes count (z).
    flat
        The mask has no z, and is that of every plane.
    """

    planes: np.ndarray
    flat: bool

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the mask's part of the region."""
        return (region[1:] if self.flat else region,)

    def compute(self, region: Region, mask: np.ndarray) -> np.ndarray:
        """Leave out the other planes."""
        planes = self.planes[region[0]].reshape(-1, *(1,) * (len(region) - 1))
        return np.asarray(planes * mask, mask.dtype)

    def working_bytes(self, _region: Region) -> int:
        """Return 0: the product is the block."""
        return 0


@dataclass(frozen=True)
class Carried(FromCoordinates):
    """Block function that hands out parts of a small array that it carries."""

    values: np.ndarray

    def compute(self, region: Region) -> np.ndarray:
        """Return the values of a region."""
        return self.values[region]

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of all values."""
        return self.values.nbytes


def mask_region(region: Region, axes: tuple[int, ...]) -> Region:
    """Return the part of a mask with these axes that covers a region (z, y, x)."""
    return tuple(region[axis] for axis in axes)


def covering(mask: np.ndarray, region: Region, axes: tuple[int, ...]) -> np.ndarray:
    """Return a mask of a region (z, y, x), from values along some axes, as zeros and ones."""
    values = np.ascontiguousarray(mask).view(np.uint8)
    if values.max() > 1:
        msg = f"a mask must be 0 or 1; found {values.max()}"
        raise ConventionError(msg)
    expanded = np.expand_dims(values, [axis for axis in range(3) if axis not in axes])
    return np.ascontiguousarray(np.broadcast_to(expanded, lengths(region)))


def chosen_voxels(
    region: Region,
    block: np.ndarray,
    *masks: np.ndarray,
    of: Chosen,
    mask_axes: tuple[int, ...] | None = None,
) -> np.ndarray:
    """Return uint8 ones in the voxels of a phase that lie inside a mask, if there is one.

    `region` is the place of the block; the mask lies along `mask_axes` of it.
    """
    check_phase_values("phase", block, tuple(s.start for s in region))
    chosen = block if of == "solid" else (block == 0).view(np.uint8)
    for mask in masks:
        chosen = chosen & covering(mask, region, mask_axes or ())
    return chosen


@dataclass(frozen=True)
class ConfusionCounts:
    """Numbers of true solid, false solid, false pore and all voxels; a block function.

    Attributes
    ----------
    mask_axes
        Axes of the mask, or None where every voxel counts.
    """

    mask_axes: tuple[int, ...] | None = None

    size = 4

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block of both volumes and of the mask."""
        if self.mask_axes is None:
            return (region, region)
        return (region, region, mask_region(region, self.mask_axes))

    def compute(
        self, region: Region, phase: np.ndarray, truth: np.ndarray, *masks: np.ndarray
    ) -> np.ndarray:
        """Count one block."""
        start = tuple(s.start for s in region)
        check_phase_values("phase", phase, start)
        check_phase_values("truth", truth, start)
        counted = phase.size
        for mask in masks:
            inside = covering(mask, region, self.mask_axes or ())
            counted = int(np.count_nonzero(inside))
            phase, truth = phase & inside, truth & inside
        return np.array([*confusion_counts(phase, truth), counted], np.int64)

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of what is solid in both, of the mask, and of what it leaves."""
        return (1 if self.mask_axes is None else 4) * voxels(region)


@dataclass(frozen=True)
class NeighbourCounts:
    """Neighbours of different phase and all neighbours, by direction; a block function.

    Attributes
    ----------
    shape
        Of the volume.
    directions
        Steps (z, y, x) between neighbours.
    mask_axes
        Axes of the mask, or None where every voxel counts.
    """

    shape: tuple[int, int, int]
    directions: tuple[Step, ...]
    mask_axes: tuple[int, ...] | None = None

    @property
    def size(self) -> int:
        """Number of counts."""
        return 2 * len(self.directions)

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block and the next voxel along each axis, and the mask's part of it."""
        wide = tuple(grow(s, 0, 1, n) for s, n in zip(region, self.shape, strict=True))
        return (wide,) if self.mask_axes is None else (wide, mask_region(wide, self.mask_axes))

    def compute(self, region: Region, block: np.ndarray, *masks: np.ndarray) -> np.ndarray:
        """Count one block."""
        place = self.needs(region)[0]
        check_phase_values("phase", block, tuple(s.start for s in place))
        inside = [covering(m, place, self.mask_axes or ()).view(np.bool_) for m in masks]
        depth, height, width = lengths(region)
        counts = neighbour_counts(
            block, inside[0] if inside else None, (depth, height, width), self.directions
        )
        return counts.ravel()

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of two planes of neighbours, and of the mask."""
        place = self.needs(region)[0]
        return 2 * prod(lengths(place)[1:]) + (0 if self.mask_axes is None else 2 * voxels(place))

    def per_length(self, counts: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
        """Return interfaces per nm (direction) of summed counts; NaN without neighbours."""
        different, pairs = counts.reshape(2, -1)
        nm = pairs * np.linalg.norm(self.steps(spacing), axis=1)
        crossed = np.full(len(nm), np.nan)
        np.divide(different, nm, out=crossed, where=nm > 0)
        return crossed

    def steps(self, spacing: tuple[float, ...]) -> np.ndarray:
        """Return the steps in nm (direction, 3); the size of a single voxel does not matter."""
        return np.array(self.directions) * np.nan_to_num(spacing, nan=1.0)


@dataclass(frozen=True)
class OpenPieces:
    """Connected pieces of a block that reach its faces, and what is to know of the others.

    Attributes
    ----------
    sizes
        Voxels of the block in each piece (piece), int64.
    faces
        For each axis the piece of each patch (patch) of the first and of the last plane.
    largest_closed
        Voxels of the largest piece that reaches no face.
    total
        Voxels of the block in all pieces.
    """

    sizes: np.ndarray
    faces: tuple[tuple[np.ndarray, np.ndarray], ...]
    largest_closed: int
    total: int


@dataclass(frozen=True)
class Labelling:
    """Open pieces of each block of a volume; a block function for `gather_blocks`.

    Attributes
    ----------
    shape
        Of the volume.
    connectivity
        Neighbours of a voxel.
    of
        The phase that is labelled.
    mask_axes
        Axes of the mask, or None where every voxel counts.
    """

    shape: tuple[int, ...]
    connectivity: int
    of: Chosen = "solid"
    mask_axes: tuple[int, ...] | None = None

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block and the next plane along each axis, and the mask's part of it."""
        # Blocks share a plane with the next: the same patches in both tell which pieces are one.
        wide = tuple(grow(s, 0, 1, n) for s, n in zip(region, self.shape, strict=True))
        return (wide,) if self.mask_axes is None else (wide, mask_region(wide, self.mask_axes))

    def compute(self, region: Region, block: np.ndarray, *masks: np.ndarray) -> OpenPieces:
        """Label one block."""
        place = self.needs(region)[0]
        inside = chosen_voxels(place, block, *masks, of=self.of, mask_axes=self.mask_axes)
        labels, count = connected_pieces(inside, self.connectivity)
        own = tuple(slice(0, n) for n in lengths(region))  # shared planes count in one block only
        sizes = piece_sizes(labels[own], count)
        patches = [
            [face_patches(labels, axis, end, self.connectivity) for end in (0, -1)]
            for axis in range(len(AXES))
        ]
        pieces = np.unique(np.concatenate([patch for ends in patches for patch in ends]))
        closed = sizes.copy()
        closed[[0, *pieces]] = 0
        faces = tuple(
            (np.searchsorted(pieces, first), np.searchsorted(pieces, last))
            for first, last in patches
        )
        return OpenPieces(sizes[pieces], faces, int(closed.max()), int(sizes[1:].sum()))

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of labels, of masks, and of the sizes of a checkerboard of pieces."""
        masks = (self.of == "pore") + (0 if self.mask_axes is None else 3)
        return (4 + 32 // 2 + masks) * voxels(self.needs(region)[0])


@dataclass(frozen=True)
class LargestBalls:
    """Local thickness of a phase; a block function.

    Attributes
    ----------
    shape
        Of the volume.
    voxel
        Voxel size (z, y, x), relative to the finest.
    finest
        Finest voxel size in nm.
    max_thickness
        Largest diameter in nm.
    of
        "solid" or "pore".
    """

    shape: tuple[int, ...]
    voxel: Vector
    finest: float
    max_thickness: float
    of: Chosen

    revision = 2

    @property
    def _reach(self) -> float:
        """Largest radius, in finest voxels; none in the volume is as long as its diagonal."""
        diagonal = hypot(*(n * size for n, size in zip(self.shape, self.voxel, strict=True)))
        return min(self.max_thickness / 2 / self.finest, diagonal)

    def _grown(self, region: Region, radii: int) -> Region:
        """Widen a region by so many times the largest radius."""
        steps = squared_steps(self.voxel, self._reach)
        halo = [radii * (len(step) - 1) for step in steps]
        return tuple(grow(s, h, h, n) for s, h, n in zip(region, halo, self.shape, strict=True))

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block and a halo: the radius of a ball, and that of what ends it."""
        return (self._grown(region, 2),)

    def compute(self, region: Region, block: np.ndarray) -> np.ndarray:
        """Measure one block."""
        outer, centres = self._grown(region, 2), self._grown(region, 1)
        inside = chosen_voxels(outer, block, of=self.of)
        steps = squared_steps(self.voxel, self._reach)
        cover = cover_limits(self.voxel, self._reach)
        limit = np.float32(self._reach**2)
        # Only in reach of the block are balls known whole.
        squares = squared_distances(inside, steps, limit)[within(centres, outer)]
        core = within(region, centres)
        painted = np.zeros(lengths(region), np.float32)
        paint_balls(squares, steps, limit, cover, tuple(s.start for s in core), painted)
        below = (squares < limit).view(np.uint8)
        del squares, inside  # the next map is as large
        np.sqrt(painted, out=painted)
        painted *= np.float32(2 * self.finest)
        if not below.all():
            # Balls of the largest radius overlap a lot: all at once, they are a distance again.
            largest = squared_distances(below, steps, limit)[core] < limit
            painted[largest] = self.max_thickness
        return np.minimum(painted, np.float32(self.max_thickness), out=painted)

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of distances, a plane of them, the masks, and the table of limits."""
        outer = self._grown(region, 2)
        z, y, x = lengths(outer)
        pores = voxels(outer) if self.of == "pore" else 0
        masks = voxels(self._grown(region, 1)) + voxels(region)
        table = cover_bytes(self.voxel, self._reach)
        return 4 * voxels(outer) + 4 * max(y, z) * x + pores + masks + table


@dataclass(frozen=True)
class ThicknessCounts:
    """Voxels by local thickness; a block function.

    Attributes
    ----------
    width
        Of a bin in nm.
    size
        Number of bins; the last holds all that is thicker.
    mask_axes
        Axes of the mask, or None where every voxel counts.
    """

    width: float
    size: int
    mask_axes: tuple[int, ...] | None = None

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block, and the mask's part of it."""
        masks = () if self.mask_axes is None else (mask_region(region, self.mask_axes),)
        return (region, *masks)

    def compute(self, region: Region, thickness: np.ndarray, *masks: np.ndarray) -> np.ndarray:
        """Count one block."""
        inside = [covering(mask, region, self.mask_axes or ()) for mask in masks]
        counts = np.zeros(self.size, np.int64)
        for z, plane in enumerate(thickness):
            measured = plane > 0
            for mask in inside:
                measured &= mask[z].view(np.bool_)
            bins = np.rint(plane[measured] / self.width).astype(np.int64)
            counts += np.bincount(np.minimum(bins, self.size - 1), minlength=self.size)
        return counts

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of the mask, and of a plane's thicknesses and bins."""
        masks = 0 if self.mask_axes is None else 2 * voxels(region)
        return 32 * prod(lengths(region)[1:]) + masks
