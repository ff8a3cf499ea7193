"""The networks of the articles, trained for a benchmark on what fibdask simulates, resumably.

All learn for the same time from the same stacks, which models/gold-*.toml make, at the same number
of electrons that ours learn at: either from the images as they are simulated, or with the noise and
blur that ours learn with.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from fibdask.blocks import Region, fingerprint
from fibdask.conventions import AXES, measured_slices
from fibdask.learn.data import SimulatedStack
from fibdask.learn.published import (
    RESIDUAL,
    RESIDUAL_3D,
    UNET_3D,
    VNET,
    LateFusion,
    LateNetwork,
    Published,
    Trained,
)
from fibdask.learn.samples import Samples, Variation
from fibdask.learn.training import Schedule, Training, best_device
from fibdask.learn.weights import LoadedNetwork
from fibdask.pieces.models import predict_solid
from fibdask.pieces.windows import PlacedPlanes, SliceWindow

MODELS = Path(__file__).parents[2] / "models"
CROP = 64  # pixels, as the articles' patches
STACK = 8  # slices of 3D networks
BATCH = {2: 16, 3: 2}
LATE = "2.5D residual, 7 slices"  # what late fusion joins, as in Article III
VARIATIONS = {
    "as simulated": Variation((1e6, 1e6), 0.0, 0.0, 0.0, 0.0, 0.0),
    "noise and blur": Variation((15.0, 100.0), lacking=0.0, fewer_voltages=0.0),
}
ENSEMBLE = {"steps": 60, "learning_rate": 0.1, "batch": 8}


@dataclass(frozen=True)
class Member:
    """A network that is compared: what it is, what it sees, and what it learns from."""

    kind: str
    design: Published
    voltages: tuple[float, ...]
    variation: str
    joined: str = ""

    @property
    def name(self) -> str:
        """As the table says."""
        return f"{self.kind}, {named(self.voltages)}, {self.variation}"

    @property
    def alone(self) -> Iterator["Member"]:
        """Iterate over the members that a late fusion joins."""
        return (
            replace(self, kind=LATE, voltages=(kilovolts,), joined="")
            for kilovolts in self.voltages
        )


def named(voltages: Sequence[float]) -> str:
    """Return voltages as a text."""
    return "/".join(f"{kilovolts:g}" for kilovolts in voltages) + " kV"


def members(voltages: tuple[float, ...], width: int, patterns: Sequence[str]) -> list[Member]:
    """Return the networks whose names fit one of some patterns."""
    late = Published(RESIDUAL, slices=7, width=width)
    single = {
        "2D": Published(width=width),
        **{f"2.5D, {n} slices": Published(slices=n, width=width) for n in (3, 5, 7, 9)},
        LATE: late,
        "3D": Published(UNET_3D, 3, STACK, width=width),
        "3D residual": Published(RESIDUAL_3D, 3, STACK, width=width),
        "V-Net": Published(VNET, 3, STACK, width=max(width // 2, 2)),
    }
    all_of = len(voltages)
    fused = {
        "early fusion": (replace(late, voltages=all_of), ""),
        "intermediate fusion": (replace(late, voltages=all_of, fusion="intermediate"), ""),
        "late fusion": (late, "ensemble"),
        "voting": (late, "voting"),
    }
    found = [
        Member(kind, design, (kilovolts,), variation)
        for variation in VARIATIONS
        for kind, design in single.items()
        for kilovolts in voltages
    ] + [
        Member(kind, design, voltages, variation, joined)
        for variation in VARIATIONS
        for kind, (design, joined) in fused.items()
    ]
    return [one for one in found if any(fnmatch(one.name, pattern) for pattern in patterns)]


@dataclass(frozen=True)
class Compared:
    """A network as stages know models, which predicts slices of all of a stack's voltages."""

    network: Any
    fingerprint: str
    voltages: tuple[float, ...]

    @property
    def name(self) -> str:
        """How it is called where it doubts."""
        return "of an article"

    @property
    def card(self) -> dict[str, Any]:
        """What stages look up: it is shown slices and pixels as they are."""
        ends = [0.0, np.inf]
        return {"voltages": list(self.voltages), "pixel_size": ends, "thickness": ends}

    def predictor(self) -> "SlicePredictor":
        """Return what predicts windows."""
        return SlicePredictor(self.network, self.fingerprint, len(self.voltages))

    def segment(self, stack: xr.Dataset) -> xr.Dataset:
        """Add the phase of the slices, by the voltages that it knows."""
        shown = stack.sel(voltage=list(self.voltages))
        measured = measured_slices(stack)
        planes = PlacedPlanes.of_slices(stack["z"].values, measured)
        whole = {axis: slice(0, stack.sizes[axis]) for axis in AXES}
        return stack.assign(predict_solid(shown, self, planes, whole))


@dataclass(frozen=True)
class SlicePredictor:
    """A network in memory, as a `WindowPredictor`."""

    network: Any
    fingerprint: str
    voltages: int

    @property
    def window(self) -> SliceWindow:
        """The slices that it is shown."""
        return SliceWindow(self.network.architecture.above, self.network.architecture.below)

    @property
    def halo(self) -> tuple[int, int]:
        """Along y and x."""
        return (self.network.architecture.halo,) * 2

    @property
    def stride(self) -> tuple[int, int]:
        """Along y and x."""
        return (self.network.architecture.stride,) * 2

    def bytes(self, shape: tuple[int, int], planes: int) -> tuple[int, int]:
        """Return about what features of a level take, three times."""
        design = self.network.architecture
        deep = design.slices if design.dimensions == 3 else 1
        return 12 * shape[0] * shape[1] * design.width * deep, 0

    def __call__(
        self,
        images: np.ndarray,
        present: np.ndarray,
        distances: np.ndarray,
        offsets: np.ndarray,
        pixels: Region,
    ) -> np.ndarray:
        """Return probabilities (plane, y, x)."""
        return LoadedNetwork(self.network, 1.0).predict(images, present, distances, offsets, pixels)


@dataclass(frozen=True)
class School:
    """Where networks of the articles learn.

    Attributes
    ----------
    stacks
        What from.
    folder
        Of the states of their trainings.
    minutes
        That each one learns.
    """

    stacks: list[SimulatedStack]
    folder: Path
    minutes: float

    @cached_property
    def voltages(self) -> tuple[float, ...]:
        """Those that the stacks show, in kV."""
        return tuple(float(v) for v in self.stacks[0].voltage)

    def trained(self, member: Member) -> Compared:
        """Return a network that has learnt; it goes on where it was."""
        design: Any = member.design
        options: dict[str, Any] = {"minutes": self.minutes, "batch": BATCH[design.dimensions]}
        if member.joined:
            parts = [self.trained(one) for one in member.alone]
            joined = tuple(Trained(part.network, part.fingerprint) for part in parts)
            design, options = LateFusion(joined, member.joined), ENSEMBLE
        samples = self._samples(member)
        folder = self.folder / "".join(c if c.isalnum() or c in "-." else "_" for c in member.name)
        schedule = Schedule(**options)
        training = Training(design, samples, schedule, folder, device=best_device())
        training.take_up()
        if not training.is_done:
            training.run(_silent)
            told = f"{training.steps} steps in {training.seconds / 60:.1f} minutes"
            print(f"  learnt: {member.name}: {told}, loss {training.loss:.4f}", flush=True)
        network = training.averaged.cpu().eval()
        if isinstance(network, LateNetwork) and member.joined == "voting":
            shares = "/".join(f"{share:.2f}" for share in network.shares)
            print(f"  votes of {named(member.voltages)}: {shares} (Article III: 0.5/0.3/0.2)")
        return Compared(network, fingerprint(training.fingerprint), member.voltages)

    def _samples(self, member: Member) -> Samples:
        numbers = [self.voltages.index(kilovolts) for kilovolts in member.voltages]
        shown = [
            replace(stack, counts=stack.counts[numbers], voltage=stack.voltage[numbers])
            for stack in self.stacks
        ]
        window = SliceWindow(member.design.above, member.design.below)
        variation = VARIATIONS[member.variation]
        return Samples(shown, variation, window=window, crop=CROP, planes=1, seed=1)


def _silent(*figures: float) -> None:
    """Tell nothing of a training's steps."""
