"""How brightness is counted and equalised: block functions, and what is fitted on counts."""

from dataclasses import dataclass

import numpy as np

from .. import blocks
from ..pieces._kernels.grey import integer_counts
from ..pieces.functions import InPlace
from ._kernels import brightness as kernels

FUNCTIONS = 5  # of the place in the image


@dataclass(frozen=True)
class EachApart(blocks.Grid):
    """Blocks that are counted each for itself."""

    @property
    def groups(self) -> int:
        """Number of blocks."""
        return self.size

    def group(self, number: int) -> int:
        """Return the number of the block."""
        return number


@dataclass(frozen=True, eq=False)
class TileCounts(InPlace):
    """Count the codes of each plane of a tile that holds data; the last blocks have fewer planes.

    `measured` are these planes (z): slices, and what was inpainted.
    """

    slices: int
    measured: np.ndarray

    @property
    def size(self) -> int:
        """Number of counts: 256 a slice."""
        return self.slices * kernels.GREY_BINS

    def compute(self, region: blocks.Region, codes: np.ndarray) -> np.ndarray:
        """Return the counts of a block, slice by slice."""
        counts = np.zeros((self.slices, kernels.GREY_BINS), np.int64)
        measured = self.measured[region[1]]
        for k in range(len(measured)):
            integer_counts(codes[:, k : k + 1], measured[k : k + 1], counts[k])
        return counts.ravel()


@dataclass(frozen=True, eq=False)
class Corrections:
    """Finish counts of tiles with gains and offsets, of slices and of functions of the place.

    `places` are those of the rows and columns that are counted, -1 to 1 over the image.
    """

    tiles: EachApart
    places: tuple[np.ndarray, ...]
    shading: bool

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return gain and offset in bins (voltage, 2, z and functions)."""
        voltages, slices = self.tiles.shape[:2]
        counts = counts.reshape(*self.tiles.counts, self.tiles.block[1], kernels.GREY_BINS)
        counts = np.moveaxis(counts, 4, 2)
        counts = counts.reshape(voltages, -1, *counts.shape[3:])[:, :slices]
        found = np.zeros((voltages, 2, slices + FUNCTIONS))
        centres = (
            np.array([along[i * step : (i + 1) * step].mean() for i in range(kernels.TILES)])
            for along, step in zip(self.places, self.tiles.block[2:], strict=True)
        )
        places = kernels.shading_functions(*centres)
        for voltage, image in enumerate(counts):
            found[voltage, :, :slices] = kernels.slice_corrections(image)
            if self.shading:
                found[voltage, :, slices:] = kernels.shading_corrections(
                    image, found[voltage, :, :slices], places
                )
        return found


def places_along(size: int) -> np.ndarray:
    """Return the places of pixels, from -1 to 1 over the image."""
    return (np.arange(size) + 0.5) * (2 / size) - 1


@dataclass(frozen=True)
class Equalised(InPlace):
    """Block function: grey values less the corrections; shape of the volume (z, y, x)."""

    shape: tuple[int, ...]

    def compute(
        self,
        region: blocks.Region,
        image: np.ndarray,
        corrections: np.ndarray,
        *grey_range: np.ndarray,
    ) -> np.ndarray:
        """Equalise image by image."""
        equal = np.empty_like(image)
        slices = self.shape[0]
        places = [places_along(n)[part] for n, part in zip(self.shape[1:], region[2:], strict=True)]
        for v, found in enumerate(corrections[region[0]]):
            low, high = grey_range[0][region[0].start + v] if grey_range else (-0.5, 255.5)
            scale = (high - low) / kernels.GREY_BINS
            shaded = found[:, slices:].any()
            if shaded:
                gain, offset = (kernels.shading_field(c, *places) for c in found[:, slices:])
                gain += 1
                offset *= scale
            for k in range(image.shape[1]):
                slice_gain, slice_offset = found[:, region[1].start + k]
                if slice_gain == 1 and slice_offset == 0 and not shaded:
                    equal[v, k] = image[v, k]
                    continue
                # In place, step by step: one float image is all that a slice takes.
                true = image[v, k].astype(np.float32)
                true -= np.float32(low + slice_offset * scale)
                true /= np.float32(slice_gain)
                if shaded:
                    true -= offset
                    true /= gain
                true += np.float32(low)
                if equal.dtype.kind == "u":
                    np.rint(true, out=true)
                    np.clip(true, 0, np.iinfo(equal.dtype).max, out=true)
                equal[v, k] = true
        return equal

    def working_bytes(self, region: blocks.Region) -> int:
        """Return the bytes of two fields, and of an image, in float32."""
        return 16 * blocks.voxels(region[2:])
