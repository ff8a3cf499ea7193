"""How a block of images is spoilt: the block functions of all artefacts."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ... import blocks
from ...conventions import ConventionError
from ...pieces._kernels.resampling import CUBIC_TAPS
from ...pieces.functions import FromCoordinates, InPlace
from ..images.noise import FULL_SCALE, Noise, write_grey
from ..keys import image_key, voltage_word
from ._kernels import mirrored, moved_image, smooth_deviates, smoothing_halo

_ADDED = 2  # word of the key: other noise than that of `simulate_images` with the same seed
_BRIGHT = 10  # times white, above which images are of another scale
_STDS = 3.0  # where the blur and the mask of the edges are cut off

_CURTAINS = 4  # word of the key of their deviates, after those of the drifts


@dataclass(frozen=True)
class Curtains(FromCoordinates):
    """Block function: stripes in the first row (z, x).

    Attributes
    ----------
    strength
        Their standard deviation.
    stds
        Of the smoothing in slices and pixels.
    seed
        The stripes are a hash of the seed, the slice and the column, smoothed.
    """

    strength: float
    stds: tuple[float, float]
    seed: int

    def compute(self, region: blocks.Region) -> np.ndarray:
        """Draw the stripes of a region."""
        start = [interval.start for interval in region]
        key = image_key((self.seed, _CURTAINS))
        deviates = smooth_deviates(key, start, blocks.lengths(region), self.stds)
        return np.asarray(np.float32(self.strength) * deviates)

    def working_bytes(self, region: blocks.Region) -> int:
        """Deviates before and after smoothing, and one term of its sum."""
        n_z, n_x = (
            n + 2 * smoothing_halo(std)
            for n, std in zip(blocks.lengths(region), self.stds, strict=True)
        )
        return 12 * n_z * n_x


@dataclass(frozen=True)
class AddedCurtains(InPlace):
    """Block function: grey values with stripes.

    Attributes
    ----------
    curtains
        The stripes in the first row.
    decay
        Logarithm by which they fall from row to row.
    """

    curtains: Curtains
    decay: float

    def compute(self, region: blocks.Region, intensity: np.ndarray) -> np.ndarray:
        """Add the stripes image by image."""
        _, slices, y, x = region
        # Drawn anew in every block, from their key: cheaper than to read them, and the same.
        stripes = self.curtains.compute((slices, x))
        fall = np.exp(-self.decay * np.arange(y.start, y.stop)).astype(np.float32)
        return _each_image(intensity, lambda signal, _, k: signal + fall[:, None] * stripes[k])

    def working_bytes(self, region: blocks.Region) -> int:
        """Stripes, and float images of one image."""
        _, slices, y, x = region
        stripes = (slices, x)
        kept = 4 * blocks.voxels(stripes) + self.curtains.working_bytes(stripes)
        return kept + 12 * blocks.voxels((y, x))


@dataclass(frozen=True, eq=False)
class DriftingBrightness(InPlace):
    """Block function: grey values with gain, offset and gradients.

    Attributes
    ----------
    drifts
        Gain, offset, gradient along y and along x, (4, voltage, z), float64.
    image
        Shape of an image (y, x).
    """

    drifts: np.ndarray
    image: tuple[int, ...]

    def compute(self, region: blocks.Region, intensity: np.ndarray) -> np.ndarray:
        """Change the brightness image by image."""
        voltages, slices, *part = region
        drifts = self.drifts[:, voltages, slices]
        y, x = (
            (np.arange(s.start, s.stop) + 0.5) / n - 0.5
            for s, n in zip(part, self.image, strict=True)
        )

        def change(signal: np.ndarray, v: int, k: int) -> np.ndarray:
            gain, offset, gradient_y, gradient_x = drifts[:, v, k]
            along_y = np.asarray(offset + gradient_y * y, np.float32)[:, np.newaxis]
            along_x = np.asarray(gradient_x * x, np.float32)
            return np.asarray(np.float32(gain) * signal + along_y + along_x)

        return _each_image(intensity, change)

    def working_bytes(self, region: blocks.Region) -> int:
        """Float images of one image."""
        return 16 * blocks.voxels(region[2:])


def _each_image(
    intensity: np.ndarray, change: Callable[[np.ndarray, int, int], np.ndarray]
) -> np.ndarray:
    """Return grey values after a change (signal, voltage, slice) of each image's signal."""
    out = np.empty_like(intensity)
    scale = np.float32(FULL_SCALE[intensity.dtype.name])
    for v, k in np.ndindex(intensity.shape[:2]):
        signal = intensity[v, k].astype(np.float32) / scale
        write_grey(change(signal, v, k), out[v, k])
    return out


@dataclass(frozen=True, eq=False)
class RecordedBrightness(InPlace):
    """Block function: grey values of another type, after contrast and brightness.

    Attributes
    ----------
    contrast, brightness
        Of each voltage (voltage), float32.
    dtype
        Of the result.
    """

    contrast: np.ndarray
    brightness: np.ndarray
    dtype: str

    def compute(self, region: blocks.Region, intensity: np.ndarray) -> np.ndarray:
        """Change the brightness image by image."""
        out = np.empty(intensity.shape, self.dtype)
        scale = np.float32(FULL_SCALE[intensity.dtype.name])
        knobs = self.contrast[region[0]], self.brightness[region[0]]
        for v, k in np.ndindex(intensity.shape[:2]):
            signal = intensity[v, k].astype(np.float32) / scale
            if out.dtype.kind == "u" and np.isnan(signal).any():
                number = region[1].start + k
                msg = f"pixels without data (NaN) are no {self.dtype}; slice {number} has some"
                raise ConventionError(msg)
            write_grey(knobs[0][v] * signal + knobs[1][v], out[v, k])
        return out

    def working_bytes(self, region: blocks.Region) -> int:
        """Float images of one image."""
        return 16 * blocks.voxels(region[2:])


@dataclass(frozen=True, eq=False)
class AddedNoise(InPlace):
    """Block function: grey values with noise; voltages in kV."""

    noise: Noise
    voltage: np.ndarray

    revision = 2

    def compute(self, region: blocks.Region, intensity: np.ndarray) -> np.ndarray:
        """Add noise image by image."""
        voltages, slices, y, x = region
        noisy = np.empty_like(intensity)
        scale = np.float32(FULL_SCALE[intensity.dtype.name])
        for v, k in np.ndindex(intensity.shape[:2]):
            signal = intensity[v, k].astype(np.float32) / scale
            if intensity.dtype.kind == "f":
                self._check(signal, slices.start + k)
            unknown = np.isnan(signal)
            image = (voltage_word(self.voltage[voltages.start + v]), slices.start + k, _ADDED)
            self.noise.add(signal, image, y.start, x.start)
            signal[unknown] = np.nan  # nothing is counted there
            write_grey(signal, noisy[v, k])
        return noisy

    def _check(self, signal: np.ndarray, number: int) -> None:
        """Refuse grey values of a slice (y, x) that cannot be signals from 0 to white, 1."""
        low, high = np.nanmin(signal, initial=0), np.nanmax(signal, initial=0)
        if high > _BRIGHT:
            msg = (
                f"float32 images are white at 1, of which noise is told; slice {number} has grey "
                f"values of up to {high:.4g}: divide them by that of white"
            )
            raise ConventionError(msg)
        if self.noise.electrons and low < -1:  # less is noise that is there
            msg = (
                f"counted electrons make no grey values below black, 0; slice {number} has "
                f"{low:.4g}: add Gaussian noise alone (electrons_per_pixel=None), or shift them"
            )
            raise ConventionError(msg)

    def working_bytes(self, region: blocks.Region) -> int:
        """Signal of one image and its grey values."""
        n_y, n_x = blocks.lengths(region)[2:]
        return 13 * n_y * n_x


@dataclass(frozen=True)
class BlurredEdges:
    """Block function: images blurred at the edges of the solid.

    Attributes
    ----------
    sigma
        Standard deviation in pixels (y, x).
    image
        Shape of an image (y, x).
    """

    sigma: tuple[float, ...]
    image: tuple[int, ...]
    revision = 2

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return the region widened in y and x by the cut-off and one pixel to find edges."""
        wide = self._widen(region)
        return wide, wide[1:]

    def compute(
        self, region: blocks.Region, intensity: np.ndarray, true_phase: np.ndarray
    ) -> np.ndarray:
        """Blur image by image."""
        inner = blocks.within(region, self._widen(region))[2:]
        blurred = np.empty(blocks.lengths(region), intensity.dtype)
        for k, phase in enumerate(true_phase):
            weight = self._edge_mask(phase)[inner]
            for v in range(len(intensity)):
                sharp = intensity[v, k].astype(np.float32)
                smooth = self._smooth(sharp)[inner]
                blend = sharp[inner] + weight * (smooth - sharp[inner])
                blurred[v, k] = np.rint(blend) if blurred.dtype.kind == "u" else blend
        return blurred

    def _smooth(self, sharp: np.ndarray) -> np.ndarray:
        """Return a blurred image (y, x), of the pixels with data alone; NaN stays where it is."""
        missing = np.isnan(sharp)
        if not missing.any():
            return np.asarray(ndimage.gaussian_filter(sharp, self.sigma, truncate=_STDS))
        known, weight = (
            ndimage.gaussian_filter(part, self.sigma, truncate=_STDS)
            for part in (np.where(missing, 0, sharp), (~missing).astype(np.float32))
        )
        return np.asarray(known / np.where(missing, np.nan, weight))

    def working_bytes(self, region: blocks.Region) -> int:
        """Return the bytes of a distance map with its indices, and of float images."""
        n_y, n_x = blocks.lengths(self._widen(region))[2:]
        return 64 * n_y * n_x

    def _widen(self, region: blocks.Region) -> blocks.Region:
        widened = [
            blocks.grow(interval, halo, halo, length)
            for interval, sigma, length in zip(region[2:], self.sigma, self.image, strict=True)
            for halo in [int(_STDS * sigma + 0.5) + 1]
        ]
        return (*region[:2], *widened)

    def _edge_mask(self, phase: np.ndarray) -> np.ndarray:
        """Return weights (y, x), float32: 1 on edges, falling to 0 with the distance."""
        # Both voxels of an interface are edges, so that the mask lies evenly about it.
        edges = np.zeros(phase.shape, bool)
        differs = phase[1:] != phase[:-1]
        edges[1:] |= differs
        edges[:-1] |= differs
        differs = phase[:, 1:] != phase[:, :-1]
        edges[:, 1:] |= differs
        edges[:, :-1] |= differs
        if not edges.any():
            return np.zeros(phase.shape, np.float32)
        sampling = [1 / sigma for sigma in self.sigma]
        distance = ndimage.distance_transform_edt(~edges, sampling=sampling)
        weight = np.exp(-0.5 * distance**2)
        weight[distance > _STDS] = 0
        return np.asarray(weight, np.float32)


@dataclass(frozen=True, eq=False)
class ShiftedImages:
    """Block function: images with their content moved.

    Attributes
    ----------
    shifts
        In pixels (axis, voltage, z), axes y, x.
    image
        Shape of an image (y, x).
    """

    shifts: np.ndarray
    image: tuple[int, ...]

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return the box that the images of the region are interpolated from."""
        voltages, slices, *part = region
        box = []
        for shifts, interval, length in zip(self.shifts, part, self.image, strict=True):
            whole = np.floor(-shifts[voltages, slices]).astype(np.int64)
            first = interval.start + int(whole.min()) + int(CUBIC_TAPS[0])
            last = interval.stop + int(whole.max()) + int(CUBIC_TAPS[-1])
            reached = mirrored(np.arange(first, min(last, first + 2 * length)), length)
            box.append(slice(int(reached.min()), int(reached.max()) + 1))
        return ((voltages, slices, *box),)

    def compute(self, region: blocks.Region, intensity: np.ndarray) -> np.ndarray:
        """Move the content image by image."""
        voltages, slices, *part = region
        corner = [interval.start for interval in self.needs(region)[0][2:]]
        out = np.empty(blocks.lengths(region), intensity.dtype)
        for v, k in np.ndindex(out.shape[:2]):
            shift = self.shifts[:, voltages.start + v, slices.start + k]
            moved = moved_image(intensity[v, k], corner, part, self.image, shift)
            if out.dtype.kind == "u":
                np.clip(np.rint(moved, out=moved), 0, np.iinfo(out.dtype).max, out=moved)
            out[v, k] = moved
        return out

    def working_bytes(self, region: blocks.Region) -> int:
        """Pixels that one image is interpolated from, its result in float32, and its rows."""
        n_y, n_x = (n + len(CUBIC_TAPS) for n in blocks.lengths(region)[2:])
        return 12 * n_y * n_x + 48 * max(self.image)
