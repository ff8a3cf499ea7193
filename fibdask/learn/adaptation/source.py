"""What a model has learnt from, made again: simulated images at a stack's pixels, and their truth.

A translation needs images of both looks, whose structures are alike. So the structure is a wave of
the model's ligament sizes, with as much solid as the model finds in the stack.
"""

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from ...conventions import ConventionError
from ...pieces.grey import QUANTILES
from ...simulate import hierarchical_levelled_wave, simulate_images
from ...simulate.images.layers import half_contrast_depth
from ..models import Model
from .target import Target

SIDE = 160
"""Most pixels along y and x."""
_SLICES = 24
_PLANE = 2.5  # nm, about the distance of planes
_BELOW = 2.0  # half-contrast depths that lie below the last slice
_LIGAMENTS = (110.0, 15.0)  # nm, where a card says none
_FRACTIONS = (0.05, 0.6)


@dataclass(frozen=True, eq=False)
class Source:
    """Simulated images and what they show.

    Attributes
    ----------
    images
        As those of a target, of slices that are even.
    truth
        Of each slice, and half way to the next, 1 where solid, float32 (z, plane, y, x).
    """

    images: Target
    truth: np.ndarray

    @classmethod
    def simulated(cls, model: Model, target: Target, solid_fraction: float, seed: int) -> "Source":
        """Simulate images of the model's materials at the voltages and pixels of a target.

        Parameters
        ----------
        solid_fraction
            About that of the target.
        seed
            Of structure and noise.

        Raises
        ------
        ConventionError
            If the network of images knows no such images.
        """
        _check_simulated(model)
        step = float(target.step[:-1].mean())
        each = 2 * max(round(step / _PLANE / 2), 1)  # planes of a slice: one lies half way
        below = _BELOW * half_contrast_depth(max(model.card["voltages"])) / (step / each)
        shape = (_SLICES * each + int(np.ceil(below)), *_sides(target))
        phase = _structure(model, shape, (step / each, target.pixel), solid_fraction, seed)
        slices = phase["z"].values[: _SLICES * each : each]
        stack = _images(model, phase, slices, seed)
        planes = np.arange(_SLICES)[:, np.newaxis] * each + np.array([0, each // 2])
        truth = phase.values[planes].astype(np.float32)
        grey = stack["intensity"].values.astype(np.float32)
        images = _normalised(grey, model.card.get("grey", {}).get("quantiles", QUANTILES))
        return cls(replace(target, images=images, z=slices), truth)


def _check_simulated(model: Model) -> None:
    """Refuse a model whose images cannot be made again: it has learnt from painted slices."""
    for key in ("materials", "electrons_per_pixel"):
        if not model.card[key]:
            msg = (
                f"a translation begins with simulated images like those that a model has learnt "
                f"from; the card of {model.name} says no {key}, as it learnt from painted slices: "
                "take the method 'statistics' or 'self_training'"
            )
            raise ConventionError(msg)


def _sides(target: Target) -> tuple[int, int]:
    y, x = (min(n, SIDE) for n in target.images.shape[-2:])
    return y, x


def _structure(
    model: Model,
    shape: tuple[int, int, int],
    voxel: tuple[float, float],
    solid_fraction: float,
    seed: int,
) -> xr.DataArray:
    """Return ligaments made of ligaments, voxels of one size along z and one along y and x."""
    fine, coarse = sorted(model.card.get("ligament_size") or _LIGAMENTS)
    level = float(np.sqrt(np.clip(solid_fraction, *_FRACTIONS)))
    phase: xr.DataArray = hierarchical_levelled_wave(
        shape,
        voxel_size=(voxel[0], voxel[1], voxel[1]),
        ligament_size=(coarse, fine) if coarse > 2 * fine else (3 * fine, fine),
        solid_fraction=(level, level),
        seed=seed,
    ).compute()
    return phase


def _images(model: Model, phase: xr.DataArray, slices: np.ndarray, seed: int) -> xr.Dataset:
    """Return images by the network that ships, of as many electrons as the model's on average."""
    card = model.card
    try:
        stack = simulate_images(
            phase,
            voltage=card["voltages"],
            slices=slices.tolist(),
            materials=card["materials"],
            model="learned",
            electrons_per_pixel=float(np.sqrt(np.prod(card["electrons_per_pixel"]))),
            gaussian_std=0.0,
            dtype="float32",
            seed=seed,
        )
    except ConventionError as error:
        msg = f"images like those that {model.name} has learnt from cannot be simulated: {error}"
        raise ConventionError(msg) from None
    return stack.compute()


def _normalised(grey: np.ndarray, quantiles: tuple[float, float]) -> np.ndarray:
    """Return images (voltage, z, y, x) whose quantiles are 0 and 1 at each voltage."""
    low, high = np.quantile(grey, quantiles, axis=(1, 2, 3), keepdims=True)
    return np.asarray((grey - low) / (high - low), np.float32)
