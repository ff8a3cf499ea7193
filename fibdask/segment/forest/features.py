"""What trees are shown of each pixel: what several scales make of its surroundings.

At each scale, in its slice: the Gaussian, the gradient's magnitude, the eigenvalues of the Hessian
and of the structure tensor, and the difference of Gaussians to the next scale. Along z: what the
Gaussian is as far above and below, and the first and second differences of these, since what lies
deeper shines through. Scales are lengths in nm, along z too: slices count by their depths.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...blocks import Region, grow, lengths, within
from ...conventions import ConventionError
from . import _kernels as kernels

SCALES = (1.0, 2.0, 4.0, 8.0)
"""Standard deviations in pixels, where no others are given."""
_TRUNCATE = 3.0  # standard deviations, at which a Gaussian ends
_MOST_SLICES = 16  # that are looked across along z, however thin they are
_OF_SCALE = 10  # features: 1 Gaussian, 3 of derivatives, 2 of the tensor, 4 along z
_SMALLEST = 0.2  # pixels of a standard deviation: nothing is smoothed by less
_LARGEST = 64.0  # pixels of a standard deviation


@dataclass(frozen=True, eq=False)
class Features:
    """Features of all voltages, on the measured slices of a stack.

    Attributes
    ----------
    sigmas
        Standard deviations in pixels (scale, 2) along y and x.
    slices
        Of each plane, the two measured ones that lie around the depth one scale above it, and
        below it (scale, 2, z, 2).
    shares
        Of the second of these, float32 (scale, 2, z); the first has the rest.
    measured
        Which planes (z) have features.
    shape
        Of the images (y, x).
    voltages
        Number of images of each slice.
    """

    sigmas: np.ndarray
    slices: np.ndarray
    shares: np.ndarray
    measured: np.ndarray
    shape: tuple[int, int]
    voltages: int

    @classmethod
    def of(
        cls,
        scales: Sequence[float],
        pixel_size: tuple[float, float],
        z: np.ndarray,
        measured: np.ndarray,
        shape: tuple[int, ...],
    ) -> "Features":
        """Return the features of images of a shape (voltage, z, y, x).

        Parameters
        ----------
        scales
            Standard deviations in nm, increasing.
        pixel_size
            Along y and x in nm.
        z, measured
            Depths of the slices in nm, and which of them are.
        """
        given = np.asarray(scales, float)
        sigmas = given[:, np.newaxis] / np.asarray(pixel_size, float)
        _check_scales(given, sigmas)
        known = np.flatnonzero(measured)
        thickness = float(np.diff(z[known]).mean()) if len(known) > 1 else 1.0
        reach = np.minimum(given, _MOST_SLICES * thickness)
        depths = z + np.array([-1.0, 1.0])[:, np.newaxis] * reach[:, np.newaxis, np.newaxis]
        position = np.interp(depths, z[known], np.arange(len(known)))
        first = np.floor(position).astype(np.int64)
        pair = np.stack([first, np.minimum(first + 1, len(known) - 1)], axis=-1)
        shares = (position - first).astype(np.float32)
        return cls(sigmas, known[pair], shares, measured, (shape[2], shape[3]), shape[0])

    @property
    def count(self) -> int:
        """Number of features of a pixel."""
        scales = len(self.sigmas)
        return self.voltages * (1 + _OF_SCALE * scales + scales - 1)

    @cached_property
    def taps(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weights of each scale along y and x, of a pixel and of those on one side."""
        return [(_gaussian(y), _gaussian(x)) for y, x in self.sigmas]

    @cached_property
    def halo(self) -> tuple[int, int]:
        """Pixels along y and x that a feature looks in either direction."""
        first, last = self.taps[0], self.taps[-1]
        # Derivatives of the finest scale, which the coarsest one smoothes.
        y, x = (len(one) + len(other) - 1 for one, other in zip(first, last, strict=True))
        return y, x

    def needs(self, region: Region) -> Region:
        """Return what is read of each voltage for a region (z, y, x)."""
        planes, y, x = region
        looked_at = self.slices[:, :, planes]
        first = min(int(looked_at.min()), planes.start)
        last = max(int(looked_at.max()) + 1, planes.stop)
        plane = [
            grow(part, halo, halo, n)
            for part, halo, n in zip((y, x), self.halo, self.shape, strict=True)
        ]
        return (slice(first, last), *plane)

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of temporaries for a region (z, y, x)."""
        y, x = lengths(region[1:])
        padded = (y + 2 * self.halo[0]) * (x + 2 * self.halo[1])
        span = self.slices[:, :, region[0]]
        # Of each scale, all slices from that above a plane to that below it are kept.
        kept = int((span.max(axis=(1, 3)) - span.min(axis=(1, 3))).max(axis=1).sum())
        smoothed = self.voltages * (kept + 2 * len(self.sigmas)) * (y + 2) * (x + 2)
        return 4 * (padded * (self.voltages + 12) + smoothed + y * x * (self.count + 8))

    def planes(
        self, image: np.ndarray, region: Region, ranges: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Iterate over the measured planes of a region (z, y, x), and features (feature, y, x).

        Those of one plane are overwritten by the next.

        Parameters
        ----------
        image
            Grey values (voltage, z, y, x) of what the region needs.
        ranges
            Which of them are 0 and 1 (voltage, 2).
        """
        place = self.needs(region)
        images = [
            _Smoothed(self, image[v], place, region[1:], ranges[v]) for v in range(self.voltages)
        ]
        made = np.empty((self.count, *lengths(region[1:])), np.float32)
        parts = np.split(made, self.voltages)
        for k in range(region[0].start, region[0].stop):
            if not self.measured[k]:
                continue
            for smoothed, part in zip(images, parts, strict=True):
                self._make(smoothed, k, part)
                smoothed.forget(self.slices[:, 0, k].min(axis=1))
            yield k - region[0].start, made

    def _make(self, smoothed: "_Smoothed", k: int, made: np.ndarray) -> None:
        """Fill the features (feature, y, x) that one voltage has on a plane."""
        made[0] = smoothed.inner(smoothed.padded(k), 0)
        scales = len(self.sigmas)
        products = smoothed.products(k)
        for i in range(scales):
            own = smoothed.at(k, i)
            part = made[1 + _OF_SCALE * i :]
            part[0] = own[1:-1, 1:-1]
            kernels.curvatures(own, part[1:4])
            kernels.tensor_eigenvalues(smoothed.tensor(products, i), part[4:6])
            over, under = (self._across(smoothed, k, i, side) for side in (0, 1))
            kernels.between_slices(part[0], over, under, part[6:10])
        for i in range(scales - 1):
            fine, coarse = (1 + _OF_SCALE * j for j in (i, i + 1))
            np.subtract(made[fine], made[coarse], out=made[1 + _OF_SCALE * scales + i])

    def _across(self, smoothed: "_Smoothed", k: int, i: int, side: int) -> np.ndarray:
        """Return what a scale makes of the depth one scale above a plane (side 0), or below."""
        first, second = self.slices[i, side, k]
        share = self.shares[i, side, k]
        near = smoothed.at(int(first), i)[1:-1, 1:-1]
        if share == 0 or first == second:
            return np.ascontiguousarray(near)
        far = smoothed.at(int(second), i)[1:-1, 1:-1]
        return np.asarray((np.float32(1) - share) * near + share * far)


class _Smoothed:
    """Slices of one voltage, normalised and mirrored at the edges, and what scales make of them."""

    def __init__(
        self, features: Features, image: np.ndarray, place: Region, plane: Region, ends: np.ndarray
    ) -> None:
        self._features, self._image, self._ends = features, image, ends
        self._start, self._shape = place[0].start, lengths(plane)
        part = within(plane, place[1:])
        halo = features.halo
        self._pad = [
            (h - s.start, h - (n - s.stop))
            for h, s, n in zip(halo, part, image.shape[1:], strict=True)
        ]
        self._known: dict[tuple[int, int], np.ndarray] = {}

    def padded(self, k: int) -> np.ndarray:
        """Return a slice with its halo (y, x), float32."""
        grey = self._image[k - self._start]
        low, high = self._ends
        shown: np.ndarray = ((grey - low) / (high - low)).astype(np.float32)
        if not any(map(any, self._pad)):
            return shown
        return np.pad(shown, self._pad, mode="symmetric")

    def inner(self, padded: np.ndarray, beside: int) -> np.ndarray:
        """Return the part of a padded slice that is wanted, and some pixels beside it."""
        y, x = (
            slice(halo - beside, halo + n + beside)
            for halo, n in zip(self._features.halo, self._shape, strict=True)
        )
        return padded[y, x]

    def at(self, k: int, i: int) -> np.ndarray:
        """Return a slice at a scale, with one pixel beside on each side."""
        if (k, i) not in self._known:
            self._known[k, i] = self._filtered(self.padded(k), i, beside=1)
        return self._known[k, i]

    def forget(self, before: np.ndarray) -> None:
        """Let go of slices before the first that later planes look at, by scale."""
        for k, i in [*self._known]:
            if k < before[i]:
                del self._known[k, i]

    def products(self, k: int) -> np.ndarray:
        """Return products of gradients of the finest scale (3, y, x), as far as tensors look."""
        taps = self._features.taps[-1]
        beside = [len(along) for along in taps]
        fine = self._filtered(self.padded(k), 0, beside=beside)
        made = np.empty((3, fine.shape[0] - 2, fine.shape[1] - 2), np.float32)
        kernels.gradient_products(fine, made)
        return made

    def tensor(self, products: np.ndarray, i: int) -> np.ndarray:
        """Return the structure tensor (3, y, x) of a scale."""
        result = np.empty((3, *self._shape), np.float32)
        taps, widest = self._features.taps[i], self._features.taps[-1]
        y, x = (
            slice(len(wide) - len(own), len(wide) + len(own) - 2 + n)
            for own, wide, n in zip(taps, widest, self._shape, strict=True)
        )
        for product, smoothed in zip(products, result, strict=True):
            kernels.smooth(np.ascontiguousarray(product[y, x]), *taps, smoothed)
        return result

    def _filtered(self, padded: np.ndarray, i: int, beside: int | Sequence[int]) -> np.ndarray:
        """Return a padded slice at a scale, with some pixels beside it along y and x."""
        taps = self._features.taps[i]
        more = np.broadcast_to(beside, 2)
        result = np.empty([n + 2 * m for n, m in zip(self._shape, more, strict=True)], np.float32)
        y, x = (
            slice(halo - m - len(own) + 1, halo + n + m + len(own) - 1)
            for halo, m, own, n in zip(self._features.halo, more, taps, self._shape, strict=True)
        )
        kernels.smooth(np.ascontiguousarray(padded[y, x]), *taps, result)
        return result


def _gaussian(sigma: float) -> np.ndarray:
    """Return the weights of a pixel and of those on one side, which sum to one, float32."""
    radius = max(int(np.ceil(_TRUNCATE * sigma)), 1)
    weights = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    return np.asarray(weights / (2 * weights.sum() - weights[0]), np.float32)


def _check_scales(scales: np.ndarray, sigmas: np.ndarray) -> None:
    if not len(scales) or not (np.isfinite(scales).all() and (scales > 0).all()):
        msg = f"scales must be lengths in nm, finite and > 0; got {scales.tolist()}"
        raise ConventionError(msg)
    if (np.diff(scales) <= 0).any():
        msg = f"scales must increase; got {scales.tolist()} nm"
        raise ConventionError(msg)
    if sigmas.max(axis=1).min() < _SMALLEST:
        msg = (
            f"scales must be at least {_SMALLEST:g} pixels long; {scales[0]:g} nm are "
            f"{sigmas[0].max():.3g} pixels"
        )
        raise ConventionError(msg)
    if sigmas.max() > _LARGEST:
        msg = (
            f"scales may be up to {_LARGEST:g} pixels long; {scales[-1]:g} nm are "
            f"{sigmas.max():.4g} pixels"
        )
        raise ConventionError(msg)
