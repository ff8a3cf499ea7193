"""What a model is fitted to: a part of the images of a stack, as the model is shown them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import xarray as xr

from ...blocks import fingerprint, shift
from ...conventions import AXES, ConventionError, check_spacing, measured_slices, require
from ...pieces.grey import QUANTILES, computed_ranges, without_filled
from ...pieces.slant import Slant
from ...pieces.validity import IMAGES, misfits, resampled
from ...pieces.windows import SliceWindow
from ..models import Model
from ..samples import Sample

_MOST_SLICES = 32
_MOST_PIXELS = 192  # along y and x
_HALF = 0.5  # of the way to the next slice, where the second plane of a window lies


@dataclass(frozen=True, eq=False)
class Target:
    """Normalised images of neighbouring slices.

    Attributes
    ----------
    images
        Float32 (voltage, z, y, x); 0 and 1 are the quantiles that the model's card says.
    z
        Depths of the slices in nm.
    window
        Slices that the model is shown at once.
    pixel
        Size of a pixel in nm.
    """

    images: np.ndarray
    z: np.ndarray
    window: SliceWindow
    pixel: float

    @classmethod
    def of(cls, model: Model, stack: xr.Dataset, tilt: float = 0.0) -> "Target":
        """Read the middle of a stack, up to 32 slices of 192 x 192 pixels.

        Parameters
        ----------
        model
            That is shown it.
        stack
            With `intensity`.
        tilt
            Of the beam in degrees; slices are moved along y to where it meets them, and depths are
            those along it.

        Raises
        ------
        ConventionError
            If the model is not for it, or it is too small to fit anything.
        """
        stack = require(stack, "intensity")
        _check_fit(model, stack, tilt)
        whole = {axis: slice(0, stack.sizes[axis]) for axis in AXES}
        counted = without_filled(stack, whole)
        slices = np.flatnonzero(measured_slices(stack))
        slices = slices[_middle(slice(0, len(slices)), _MOST_SLICES, 1)]
        slant = Slant.of(tilt, check_spacing(stack, "y"))
        z = stack["z"].values[slices]
        moved = [slant.rows(depth - z[len(z) // 2]) for depth in z]
        counted["y"] = slice(counted["y"].start - min(moved), counted["y"].stop - max(moved))
        _check_size(counted, 8 * int(model.card["stride"]), tilt)
        low, high = model.card.get("grey", {}).get("quantiles", QUANTILES)
        ends = computed_ranges(stack, (float(low), float(high)))
        stride = int(model.card["stride"])
        y, x = (_middle(counted[axis], _MOST_PIXELS, stride) for axis in ("y", "x"))
        met = slice(y.start + min(moved), y.stop + max(moved))
        read = stack["intensity"].isel(z=slices, y=met, x=x).values.astype(np.float32)
        rows = (shift(y, rows - met.start) for rows in moved)
        part = np.stack([read[:, k, of_slice] for k, of_slice in enumerate(rows)], axis=1)
        low_of, high_of = (end[:, None, None, None].astype(np.float32) for end in ends.T)
        window = SliceWindow(
            model.card["architecture"]["above"], model.card["architecture"]["below"]
        )
        images = (part - low_of) / (high_of - low_of)
        return cls(images, slant.stretch * z, window, check_spacing(stack, "x"))

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.z)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what the images are."""
        return fingerprint(self.images, self.z, self.window, self.pixel)

    def middle(self, most: int) -> "Target":
        """Return the middle of the images, of at most so many pixels along y and x."""
        y, x = (_middle(slice(0, n), most, 1) for n in self.images.shape[-2:])
        return replace(self, images=self.images[..., y, x])

    @property
    def step(self) -> np.ndarray:
        """Distance of each slice to the next in nm (z); of the last one, 0."""
        return np.append(np.diff(self.z), 0.0)

    def sample(self, i: int) -> Sample:
        """Return the window of a slice, with two planes: the slice, and one half way to the next.

        Nothing is known of the truth, which is 0.
        """
        slots = self.window.slices(i, len(self))
        shape = self.images.shape[-2:]
        images = np.zeros((len(self.images), len(slots), *shape), np.float32)
        known = slots >= 0
        images[:, known] = self.images[:, slots[known]]
        offsets = np.array([0.0, _HALF * self.step[i]], np.float32)
        return Sample(
            images,
            np.ones(len(images), np.float32),
            self.window.distances(i, self.z).astype(np.float32),
            offsets,
            np.zeros((len(offsets), *shape), np.float32),
        )

    def samples(self) -> Iterator[Sample]:
        """Iterate over the windows of all slices."""
        return (self.sample(i) for i in range(len(self)))


def _middle(part: slice, most: int, step: int) -> slice:
    """Return the middle of a part, of at most so many places and in whole steps."""
    length = min(part.stop - part.start, most) // step * step
    start = part.start + (part.stop - part.start - length) // 2
    return slice(start, start + length)


def _check_fit(model: Model, stack: xr.Dataset, tilt: float) -> None:
    """Refuse a stack that a model cannot be fitted to."""
    card = model.card
    if card["task"] != IMAGES:
        msg = f"models of images are adapted; {model.name} is for {card['task']}"
        raise ConventionError(msg)
    for misfit in misfits(card, stack, tilt):
        msg = f"model {model.name} {misfit}"
        raise ConventionError(msg)
    for text in resampled(card, stack, tilt):
        msg = f"model {model.name} {text}; it is adapted to images that need no resampling"
        raise ConventionError(msg)
    found, needed = stack.sizes["voltage"], len(card["voltages"])
    if found < needed:
        known = ", ".join(f"{v:g}" for v in card["voltages"])
        msg = (
            f"model {model.name} is adapted by what its voltages agree on, {known} kV; the stack "
            f"has {found} of these {needed}"
        )
        raise ConventionError(msg)
    least = card["architecture"]["above"] + card["architecture"]["below"]
    if (slices := int(measured_slices(stack).sum())) < least:
        msg = (
            f"model {model.name} is shown {least} slices at once, so it is adapted to at least as "
            f"many; the stack has {slices} that are measured"
        )
        raise ConventionError(msg)


def _check_size(counted: Mapping[str, slice], least: int, tilt: float) -> None:
    """Refuse images of which too little is covered by every slice, by axis."""
    along = " along a beam of that tilt" if tilt else ""
    for axis in ("y", "x"):
        if (size := counted[axis].stop - counted[axis].start) < least:
            msg = (
                f"a model is adapted to at least {least} pixels along {axis} that every slice "
                f"covers{along}; images have {max(size, 0)}"
            )
            raise ConventionError(msg)
