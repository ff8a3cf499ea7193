"""Samples and judges of painted slices: networks learn from a few slices of the stack itself.

What is not painted counts neither in the loss nor in errors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from ..blocks import Region, even_part, fingerprint, tile_window, touched_tiles, within
from ..conventions import ConventionError, check_not_negative, measured_slices, recorded_steps
from ..pieces.grey import QUANTILES, computed_ranges, require_finite
from ..pieces.labels import APART, UNLABELLED, Painted, check_probes
from ..pieces.validity import IMAGES
from ..pieces.windows import NO_SLICE, SliceWindow
from ..segment import segment_phases
from .cards import image_hashes, near_ranges, told_samples
from .making import Judged
from .networks import Network
from .samples import Drawing, Sample, oriented
from .validation import told_error, validate

_JUDGED = 5  # one of so many painted slices is judged by
_TILE = 256  # pixels along y and x, at most, that are judged at once
_SURE = 0.9  # probability from which on what a forest says is learnt from


@dataclass(frozen=True)
class LabelVariation:
    """What differs between samples of the same painted slices.

    Attributes
    ----------
    gaussian_std
        Largest standard deviation of Gaussian noise, relative to the range of grey values.
    drift
        Standard deviation of gain and of offset between slices, relative to the range.
    tilted
        Whether the beam was tilted about x: samples are then mirrored along x only.
    """

    gaussian_std: float = 0.05
    drift: float = 0.05
    tilted: bool = False

    def __post_init__(self) -> None:
        for name in ("gaussian_std", "drift"):
            check_not_negative(name, getattr(self, name))


@dataclass(frozen=True, eq=False)
class LabelledStack:
    """The windows of painted slices of a stack, and what is painted.

    Attributes
    ----------
    images
        Normalised grey values, float32 (slice, voltage, slot, y, x); 0 where there is none.
    distances
        Of the slots from the window's slice in nm, float32 (slice, slot); NaN where there is none.
    truth
        1 where solid is painted, 0 where pore, NaN elsewhere, float32 (slice, y, x).
    slices
        Numbers of the slices.
    card
        What stacks must be like for a network that has learnt from these.
    told
        What a card says of the data.
    """

    images: np.ndarray
    distances: np.ndarray
    truth: np.ndarray
    slices: np.ndarray
    card: dict[str, Any]
    told: dict[str, Any]

    @classmethod
    def of(cls, stack: xr.Dataset, painted: Painted, window: SliceWindow) -> "LabelledStack":
        """Read the windows of painted slices; of those in which nothing is, none.

        Raises
        ------
        ConventionError
            If more than two classes are painted, or one of them nowhere in these slices, grey
            values are NaN or infinite, or the slices were cut from another stack.
        """
        if len(painted.names) != 2:
            msg = (
                f"networks tell two classes apart; {len(painted.names)} are painted: "
                f"{', '.join(painted.names)}; a forest tells more (method 'random_forest')"
            )
            raise ConventionError(msg)
        painted = painted.labelled()
        held = np.isin((0, 1), painted.classes)
        if not held.all():
            msg = (
                "what a network learns from, and what it is judged by, must each show both classes;"
                f" in slices {painted.slices.tolist()} no {painted.names[int(held.argmin())]} is "
                "painted: paint some, or name other slices for validation"
            )
            raise ConventionError(msg)
        for k, probes in zip(painted.slices, painted.probes, strict=True):
            check_probes(stack["intensity"].isel(z=int(k)).values, probes, int(k))
        known = np.flatnonzero(measured_slices(stack))
        z = stack["z"].values[known]
        ranges = computed_ranges(stack, QUANTILES)
        shown = [
            _window(stack, window, int(np.searchsorted(known, k)), known, ranges)
            for k in painted.slices
        ]
        places = np.searchsorted(known, painted.slices)
        distances = np.stack([window.distances(int(i), z) for i in places])
        blank = painted.classes == UNLABELLED
        truth = np.where(blank, np.nan, painted.classes).astype(np.float32)
        told = {
            "slices": painted.slices.tolist(),
            "images": image_hashes(stack, painted.slices),
            "painted_pixels": int((~blank).sum()),
            "classes": list(painted.names),
            "labels_fingerprint": fingerprint(painted.slices, painted.classes),
            "steps": recorded_steps(stack),
        }
        return cls(
            np.stack(shown),
            distances.astype(np.float32),
            truth,
            painted.slices,
            near_ranges(stack),
            told,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that networks see of it."""
        return fingerprint(self.images, self.distances, self.truth)

    @cached_property
    def pixels(self) -> list[np.ndarray]:
        """Numbers of the painted pixels of each slice."""
        return [np.flatnonzero(np.isfinite(truth)) for truth in self.truth]

    def __len__(self) -> int:
        """Return the number of painted slices."""
        return len(self.slices)

    def sample(self, k: int, part: tuple[slice, slice]) -> Sample:
        """Return a part (y, x) of the window of a painted slice."""
        images = self.images[k][..., *part]
        present = np.ones(len(images), np.float32)
        truth = self.truth[k][np.newaxis, *part]
        return Sample(images, present, self.distances[k], np.zeros(1, np.float32), truth)


@dataclass(frozen=True, eq=False)
class LabelSamples(Drawing):
    """Samples of painted slices, around painted pixels.

    Attributes
    ----------
    stack
        Where they come from, each slice as often as any other.
    variation
        What differs.
    """

    stack: LabelledStack
    variation: LabelVariation

    def __getitem__(self, number: int) -> Sample:
        """Return a sample."""
        rng = self.rng(number)
        k = int(rng.integers(len(self.stack)))
        sample = self.stack.sample(k, self._around(k, rng))
        images = self._varied(sample.images, rng)
        tilted = self.variation.tilted
        mirrored = (-1,) if tilted else (-2, -1)
        images, truth = oriented(images, sample.truth, rng, mirrored=mirrored, swapped=not tilted)
        return replace(sample, images=images, truth=truth)

    def _around(self, k: int, rng: np.random.Generator) -> tuple[slice, slice]:
        """Draw a part of an image that holds a painted pixel."""
        shape = self.stack.truth.shape[1:]
        pixel = np.unravel_index(int(rng.choice(self.stack.pixels[k])), shape)
        parts = []
        for place, n in zip(pixel, shape, strict=True):
            first = int(place) - int(rng.integers(self.crop))
            start = min(max(first, 0), n - self.crop)
            parts.append(slice(start, start + self.crop))
        return parts[0], parts[1]

    def _varied(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return images (voltage, slot, y, x) of other noise and brightness."""
        voltages, slots = images.shape[:2]
        gain, offset = self.variation.drift * rng.standard_normal(
            (2, voltages, slots, 1, 1), np.float32
        )
        noise = np.float32(self.variation.gaussian_std * rng.random() * (rng.random() < 0.5))
        # Images that do not exist stay 0.
        exist = images.any(axis=(2, 3), keepdims=True)
        varied = images * (1 + gain) + offset * exist
        if noise:
            varied += noise * exist * rng.standard_normal(images.shape, np.float32)
        return np.asarray(varied, np.float32)


@dataclass(frozen=True, eq=False)
class LabelJudge:
    """Judges networks by painted slices that they have not learnt from.

    Attributes
    ----------
    samples
        That they learn from.
    unseen
        Painted slices of the same stack.
    stride, halo
        Of the network, along y and x.
    """

    samples: LabelSamples
    unseen: LabelledStack
    stride: int
    halo: int

    def __call__(self, network: Network) -> Judged:
        """Judge a network by all that is painted."""
        found = validate(network, self._windows())
        temperature = found.temperature()
        row = {
            "voltages": self.unseen.card["voltages"],
            "electrons_per_pixel": None,
            "misplaced": told_error(found.misplaced),
            "on_slices": told_error(found.on_slices),
            "voxels": int(found.voxels.sum()),
            "between": None,
            "calibration_error": told_error(found.calibration_error(temperature)),
        }
        known = {name: value for name, value in row.items() if value is not None}
        errors = known | {"conditions": [row]}
        card = {
            "task": IMAGES,
            **self.samples.stack.card,
            "temperature": temperature,
            "errors": errors,
        }
        return Judged.by_window(card, next(self._windows()))

    def drawn(self) -> LabelSamples:
        """Return samples of the unseen slices, as they are."""
        variation = LabelVariation(0.0, 0.0, self.samples.variation.tilted)
        return replace(self.samples, stack=self.unseen, variation=variation)

    def told(self) -> dict[str, Any]:
        """Return which slices were painted, and how samples are drawn of them."""
        return {
            "data": [self.samples.stack.told],
            "validation": [self.unseen.told],
            "samples": told_samples(self.samples, self.samples.variation),
        }

    def _windows(self) -> Iterator[Sample]:
        """Iterate over tiles of slices in which something is painted: networks take much memory."""
        plane = self.unseen.truth.shape[1:]
        tile = [even_part(n, _TILE, self.stride) for n in plane]
        tiles = touched_tiles(tuple(slice(0, n) for n in plane), tile, plane)
        for k, part in product(range(len(self.unseen)), tiles):
            if np.isfinite(self.unseen.truth[k][part]).any():
                yield self._window(k, part)

    def _window(self, k: int, tile: Region) -> Sample:
        """Return a tile of a slice with all that is seen for it, where nothing else is known."""
        y, x = tile_window(tile, (self.halo,) * 2, (self.stride,) * 2, self.unseen.truth.shape[1:])
        sample, inside = self.unseen.sample(k, (y, x)), (slice(None), *within(tile, (y, x)))
        truth = np.full_like(sample.truth, np.nan)
        truth[inside] = sample.truth[inside]
        # As where stacks are segmented, the last pixels are repeated up to the next stride.
        beyond = [(0, -(s.stop - s.start) % self.stride) for s in (y, x)]
        images = np.pad(sample.images, [(0, 0), (0, 0), *beyond], "edge")
        truth = np.pad(truth, [(0, 0), *beyond], constant_values=np.nan)
        return replace(sample, images=images, truth=truth)


def parted(
    painted: Painted, judged: Sequence[int] | None = None, seen: Sequence[int] = ()
) -> tuple[Painted, Painted]:
    """Return what is learnt from, and what networks are judged by.

    Parameters
    ----------
    painted
        Slices.
    judged
        Numbers of those that are judged by; by default one of five, evenly, if enough of the
        others lie more than `APART` slices away from them, or else the last ones.
    seen
        Numbers of slices that the network has learnt from before: it is judged by others, as far
        away from them.

    Raises
    ------
    ConventionError
        If nothing is left on one side, or networks were to be judged by what they have learnt from.
    """
    painted = painted.labelled()
    fresh = _apart(painted, np.array(seen, int))
    if judged is not None:
        missing = sorted(set(judged) - set(painted.slices.tolist()))
        if missing or not judged:
            msg = f"validation must name painted slices; got {list(judged)}"
            raise ConventionError(msg)
        held = np.isin(painted.slices, judged)
    else:
        held = _chosen(painted, fresh)
    known = painted.slices[held & ~fresh] if fresh.any() else painted.slices
    if len(known):
        msg = (
            f"networks are judged by painted slices more than {APART} slices away from what they "
            f"have learnt from; the training begins with a model that has learnt from slices "
            f"{list(seen)} of this stack; got {known.tolist()}: "
            "name others for validation, or paint some more"
        )
        raise ConventionError(msg)
    learnt = _apart(painted, painted.slices[held])
    if not learnt.any() or not held.any():
        msg = (
            "a network learns from painted slices and is judged by others that lie more than "
            f"{APART} slices away; got slices {painted.slices.tolist()}: paint some more"
        )
        raise ConventionError(msg)
    return painted.of_slices(np.flatnonzero(learnt)), painted.of_slices(np.flatnonzero(held))


def _chosen(painted: Painted, fresh: np.ndarray) -> np.ndarray:
    """Return which slices are judged by, of those that have not been learnt from before.

    They show both classes, where there are such.
    """
    both = np.array([np.isin((0, 1), one).all() for one in painted.classes])
    count, places = len(painted.slices), np.flatnonzero(fresh & (both | ~(fresh & both).any()))
    some = min(max(count // _JUDGED, 1), len(places))
    held = np.zeros(count, bool)
    held[places[((2 * np.arange(some) + 1) * len(places)) // (2 * max(some, 1))]] = True
    if _apart(painted, painted.slices[held]).sum() < count // 2:
        held[:] = False
        held[places[len(places) - some :]] = True
    return held


def taught(
    stack: xr.Dataset, painted: Painted, forest: str, count: int, *, away_from: Painted
) -> Painted:
    """Return slices that a forest has labelled where it is sure, and what is painted by hand.

    Parameters
    ----------
    stack
        Of the images.
    painted
        By hand, which holds where it differs.
    forest
        Folder of the forest.
    count
        Of slices, evenly over the depth.
    away_from
        Slices that the network is judged by, whose neighbours are left out.
    """
    found = segment_phases(stack, method="random_forest", model=forest)["solid_probability"]
    known = np.flatnonzero(measured_slices(stack))
    even = known[((2 * np.arange(count) + 1) * len(known)) // (2 * count)]
    even = even[np.abs(even[:, np.newaxis] - away_from.slices).min(axis=1) > APART]
    numbers = np.union1d(even, painted.slices)
    # One computation, in which what the forest needs of the whole stack is counted once.
    parts = [found.isel(z=slice(int(k), int(k) + 1)) for k in numbers]
    probability = xr.concat(parts, "z").values
    classes = np.full(probability.shape, UNLABELLED, np.uint8)
    classes[probability >= _SURE], classes[probability <= 1 - _SURE] = 1, 0
    by_hand = np.searchsorted(numbers, painted.slices)
    classes[by_hand] = np.where(painted.classes == UNLABELLED, classes[by_hand], painted.classes)
    probes = np.full((len(numbers), len(painted.probes[0]), 0), np.nan)
    return replace(painted, slices=numbers, classes=classes, probes=probes)


def _apart(painted: Painted, slices: np.ndarray) -> np.ndarray:
    """Return which slices are painted far enough from others."""
    apart = np.abs(painted.slices[:, np.newaxis] - slices).min(axis=1, initial=10**9)
    return np.asarray(apart > APART)


def _window(
    stack: xr.Dataset, window: SliceWindow, i: int, known: np.ndarray, ranges: np.ndarray
) -> np.ndarray:
    """Return the normalised images (voltage, slot, y, x) of the window of a slice."""
    slots = window.slices(i, len(known))
    there = np.flatnonzero(slots != NO_SLICE)
    first, last = known[slots[there[0]]], known[slots[there[-1]]]
    grey = stack["intensity"].isel(z=slice(int(first), int(last) + 1)).values
    measured = np.isin(np.arange(first, last + 1), known)
    whole = (slice(0, n) for n in grey.shape[2:])
    require_finite(grey, measured, (slice(0, len(grey)), slice(int(first), int(last) + 1), *whole))
    shown = np.zeros((len(grey), len(slots), *grey.shape[2:]), np.float32)
    for slot in there:
        for v, ends in enumerate(ranges):
            low, high = ends
            shown[v, slot] = (grey[v, known[slots[slot]] - first] - low) / (high - low)
    return shown
