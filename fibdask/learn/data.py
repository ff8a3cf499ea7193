"""Simulated stacks as data of training: counts of electrons, and the structure that they show."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..blocks import fingerprint
from ..conventions import ConventionError, axis_spacing, recorded_steps
from ..io import open_stack
from ..simulate.images.imaging import WHITE

History = tuple[tuple[str, dict[str, Any]], ...]
_COUNTED = ("monte_carlo", "learned")  # models that count electrons
_LEARNT = {"white": WHITE, "acceptance_angle": 90.0, "tilt": 0.0}  # of the one that has no others
_WHOLE, _ROUNDING = 1e-3, 1e-6  # how far from whole numbers counts may be, and in their share
_MOST = 2**16 - 1


@dataclass(frozen=True, eq=False)
class SimulatedStack:
    """Images as counts of electrons, and the structure that they show.

    Attributes
    ----------
    counts
        Detected electrons, uint16 (voltage, z, y, x).
    electrons
        Mean number of them that each pixel was sent.
    voltage
        In kV.
    z
        Of the slices in nm.
    truth
        Phase of the structure (z, y, x) on planes of its own.
    depths
        Of those in nm.
    pixel_size
        Along y and x in nm.
    history
        Name and parameters of each step that made the images, the structure's first.
    name
        Of the folder that they lie in.
    """

    counts: np.ndarray
    electrons: float
    voltage: np.ndarray
    z: np.ndarray
    truth: np.ndarray
    depths: np.ndarray
    pixel_size: float
    history: History
    name: str = ""

    @classmethod
    def open(cls, folder: str | Path) -> "SimulatedStack":
        """Read what `fibdask simulate` has left in a folder.

        Raises
        ------
        ConventionError
            If the images are not such that electrons can be counted in them, or they may not be
            mirrored and turned, as samples are.
        """
        stack = open_stack(Path(folder) / "simulate.zarr")
        structure = open_stack(Path(folder) / "structure.zarr")
        history = tuple((step["step"], step["parameters"]) for step in recorded_steps(stack))
        simulation = _simulation(history, folder)
        electrons = float(simulation["electrons_per_pixel"])
        return cls(
            _counts(stack, simulation, folder),
            electrons,
            stack["voltage"].values,
            stack["z"].values,
            structure["phase"].values,
            structure["z"].values,
            _pixel_size(stack, folder),
            history,
            Path(folder).absolute().name,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all but its name: a folder may be renamed."""
        return fingerprint(*(getattr(self, one.name) for one in fields(self) if one.name != "name"))

    @cached_property
    def histograms(self) -> np.ndarray:
        """Share of pixels by their count (voltage, count)."""
        most = int(self.counts.max()) + 1
        return np.stack([np.bincount(c.ravel(), minlength=most) / c.size for c in self.counts])

    @property
    def materials(self) -> dict[str, str]:
        """Those of pore and solid."""
        return dict(_last(self.history, "simulate_images").get("materials", {}))

    @property
    def seeds(self) -> dict[str, int]:
        """Seeds of the steps that made it."""
        return {name: given["seed"] for name, given in self.history if "seed" in given}

    @property
    def ligament_sizes(self) -> list[float]:
        """Those that its structure was made with in nm; none where that is not known."""
        sizes = (given["ligament_size"] for _, given in self.history if "ligament_size" in given)
        return [float(size) for given in sizes for size in np.atleast_1d(given)]

    @property
    def told(self) -> list[dict[str, Any]]:
        """The history as JSON knows it."""
        return [{"step": name, **given} for name, given in self.history]

    @property
    def thickness(self) -> float:
        """Mean distance of slices in nm."""
        return float(np.diff(self.z).mean())


def _last(history: History, name: str) -> dict[str, Any]:
    """Return the parameters of the last step of a name."""
    return next((given for step, given in reversed(history) if step == name), {})


def _simulation(history: History, folder: str | Path) -> dict[str, Any]:
    given = _last(history, "simulate_images")
    if given.get("model") == "learned":
        given = _LEARNT | given
    if given.get("model") not in _COUNTED or given.get("gaussian_std") != 0:
        msg = (
            f"{folder} holds no images for training: they are simulated by Monte Carlo, or by a "
            "network that has learnt from it, with gaussian_std = 0 and dtype = 'float32'"
        )
        raise ConventionError(msg)
    if given["tilt"]:
        msg = (
            f"images for training must be of a beam that is not tilted, since samples are "
            f"mirrored and turned; {folder} has {given['tilt']:g}°"
        )
        raise ConventionError(msg)
    return given


def _counts(stack: xr.Dataset, simulation: dict[str, Any], folder: str | Path) -> np.ndarray:
    """Return the electrons of each pixel, of which its grey value is a share."""
    angle = np.deg2rad(simulation["acceptance_angle"])
    white = float(simulation["white"] * np.sin(angle) ** 2)
    counts = stack["intensity"].values * (float(simulation["electrons_per_pixel"]) * white)
    if (np.abs(counts - np.rint(counts)) > _WHOLE + _ROUNDING * counts).any():
        msg = (
            f"{folder} holds no counts of electrons; images for training are simulated by "
            "Monte Carlo, or by a network that has learnt from it, with gaussian_std = 0 and "
            "dtype = 'float32', without artefacts"
        )
        raise ConventionError(msg)
    if counts.max() > _MOST:
        msg = (
            f"images for training hold up to {_MOST:,} electrons in a pixel; {folder} has "
            f"{counts.max():,.0f}: simulate fewer electrons_per_pixel"
        )
        raise ConventionError(msg)
    return np.rint(counts).astype(np.uint16)


def _pixel_size(stack: xr.Dataset, folder: str | Path) -> float:
    y, x = axis_spacing(stack, "y"), axis_spacing(stack, "x")
    if not np.isclose(y, x):
        msg = f"images for training must have square pixels; {folder} has {y:g} × {x:g} nm"
        raise ConventionError(msg)
    return y


def check_data(
    training: Sequence[SimulatedStack], validation: Sequence[SimulatedStack], crop: int
) -> None:
    """Refuse stacks that no network can be trained on and judged by.

    Raises
    ------
    ConventionError
        If they differ in what must be the same, or are the same where they must differ.
    """
    stacks = [*training, *validation]
    for stack in stacks:
        _check_alike(stacks[0], stack)
        if len(stack.z) < 2:
            msg = f"a stack for training needs two slices; {stack.name} has {len(stack.z)}"
            raise ConventionError(msg)
        y, x = stack.counts.shape[-2:]
        if min(y, x) < crop:
            msg = f"images must not be smaller than crop, {crop} pixels; {stack.name} has {y} × {x}"
            raise ConventionError(msg)
    for learnt, other in product(training, validation):
        _check_unseen(learnt, other)


def _check_alike(first: SimulatedStack, stack: SimulatedStack) -> None:
    a, b = (one.voltage.tolist() for one in (first, stack))
    if a != b:
        msg = f"all stacks must have the same voltages; {first.name}: {a}, {stack.name}: {b}"
        raise ConventionError(msg)


def _check_unseen(learnt: SimulatedStack, other: SimulatedStack) -> None:
    """Refuse to judge a network by what it has learnt."""
    shared = learnt.seeds.items() & other.seeds.items()
    if shared:
        step, seed = min(shared)
        fault = f"have the same seed of {step}, {seed}"
    elif np.array_equal(learnt.truth, other.truth):
        fault = "show the same structure"
    else:
        return
    msg = (
        "networks are judged by what they have not learnt from; the data for training "
        f"{learnt.name} and those for validation {other.name} {fault}"
    )
    raise ConventionError(msg)
