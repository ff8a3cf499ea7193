"""How wrong a network is on stacks that it has not learnt from, and how sure it may be."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from ..pieces.windows import SliceWindow
from .data import SimulatedStack
from .networks import Network, Windowed
from .samples import Sample, Variation, draw_images
from .training import Batch

ELECTRONS = (50.0, 20.0)
"""On each pixel of images that networks are judged by; the first is what their names promise."""
_BINS = 15  # of probabilities, as calibration is usually judged
_VOXELS = 2**15  # of a window that tell how sure a network may be, about: neighbours are alike
_DIGITS = 4


@dataclass(frozen=True)
class Condition:
    """What images show of an unseen stack.

    Attributes
    ----------
    voltages
        In kV; the others of the network are not given to it.
    electrons_per_pixel
        As many as were simulated at most.
    """

    voltages: tuple[float, ...]
    electrons_per_pixel: float


def conditions(stacks: Sequence[SimulatedStack]) -> list[Condition]:
    """Return all that networks are judged under: the first is that of all voltages."""
    voltages = tuple(float(v) for v in stacks[0].voltage)
    shown = dict.fromkeys([voltages, *((v,) for v in voltages)])
    most = min(stack.electrons for stack in stacks)
    electrons = dict.fromkeys(min(e, most) for e in ELECTRONS)
    return [Condition(kv, e) for e in electrons for kv in shown]


@dataclass(frozen=True, eq=False)
class Windows:
    """All windows of a stack, whole, each with all planes below its slice.

    Attributes
    ----------
    stack
        Of which they are.
    architecture
        Of the network that they are for.
    condition
        What they show.
    seed
        Of the electrons.
    """

    stack: SimulatedStack
    architecture: Windowed
    condition: Condition
    seed: int

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.stack.z)

    def __iter__(self) -> Iterator[Sample]:
        """Iterate over windows along z."""
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> Sample:
        """Return the window of a slice."""
        stack, stride = self.stack, self.architecture.stride
        y, x = (slice(0, n // stride * stride) for n in stack.counts.shape[-2:])
        window = SliceWindow(self.architecture.above, self.architecture.below)
        slices = window.slices(i, len(self))
        present = np.isin(stack.voltage, self.condition.voltages)
        electrons = self.condition.electrons_per_pixel
        clean = Variation((electrons, electrons), 0.0, 0.0, 0.0, 0.0, 0.0)
        rng = np.random.default_rng((self.seed, i))
        images = draw_images(stack, slices, (y, x), present, clean, rng)
        planes = self._planes(i)
        return Sample(
            images,
            present.astype(np.float32),
            window.distances(i, stack.z).astype(np.float32),
            (stack.depths[planes] - stack.z[i]).astype(np.float32),
            np.ascontiguousarray(stack.truth[planes, y, x], np.float32),
        )

    def _planes(self, i: int) -> slice:
        """Return the planes of the structure from a slice to the next; of the last, its own."""
        ends = self.stack.z[i : i + 2] - 1e-6
        first, *last = np.searchsorted(self.stack.depths, ends)
        return slice(first, last[0] if last else first + 1)


@dataclass(frozen=True, eq=False)
class Validation:
    """What a network says of windows, and what is there.

    Attributes
    ----------
    wrong, voxels
        Number of wrong ones, and of all, on slices and between.
    logits, truth
        Of some voxels of each window, float32 (window)(voxel); 1 where solid.
    """

    wrong: np.ndarray
    voxels: np.ndarray
    logits: list[torch.Tensor]
    truth: list[torch.Tensor]

    @property
    def misplaced(self) -> float:
        """Wrong voxels in %."""
        return float(100 * self.wrong.sum() / self.voxels.sum())

    @property
    def on_slices(self) -> float:
        """Wrong voxels of planes that are imaged in %."""
        return float(100 * self.wrong[0] / self.voxels[0])

    @property
    def between(self) -> float:
        """Wrong voxels of planes between slices in %; NaN without such planes."""
        return float(100 * self.wrong[1] / self.voxels[1]) if self.voxels[1] else float("nan")

    @classmethod
    def joined(cls, parts: Sequence["Validation"]) -> "Validation":
        """Put windows together."""
        return cls(
            np.sum([part.wrong for part in parts], axis=0),
            np.sum([part.voxels for part in parts], axis=0),
            [window for part in parts for window in part.logits],
            [window for part in parts for window in part.truth],
        )

    def temperature(self) -> float:
        """Return what logits must be divided by for the least cross-entropy, by every other window.

        Their others tell the `calibration_error` that is left. 1 where these know nothing.
        """
        logits, truth = torch.cat(self.logits[::2]), torch.cat(self.truth[::2])
        if not len(truth):
            return 1.0
        grid = np.geomspace(0.5, 3.0, 60)
        losses = [float(binary_cross_entropy_with_logits(logits / t, truth)) for t in grid]
        return float(grid[int(np.argmin(losses))])

    def calibration_error(self, temperature: float) -> float:
        """Return by how much probabilities differ from frequencies, on average over voxels.

        NaN where nothing is known of windows that tell it.
        """
        first = min(1, len(self.logits) - 1)
        logits, truth = torch.cat(self.logits[first::2]), torch.cat(self.truth[first::2])
        if not len(truth):
            return float("nan")
        solid = (logits / temperature).sigmoid()
        bins = (solid * _BINS).long().clamp(max=_BINS - 1)
        sums = [torch.zeros(_BINS).index_add_(0, bins, v) for v in (solid, truth)]
        return float((sums[0] - sums[1]).abs().sum() / len(solid))


@torch.inference_mode()
def validate(network: Network, windows: Iterable[Sample]) -> Validation:
    """Let a network predict windows; where their truth is NaN, it is not known."""
    network.eval()
    device = next(network.parameters()).device
    wrong, voxels = np.zeros(2, np.int64), np.zeros(2, np.int64)
    logits, truth = [], []
    for window in windows:
        batch = Batch.of([window], device)
        said, there = batch.logits(network)[0].cpu(), batch.truth[0].cpu()
        known = there.isfinite()
        mistaken = (((said > 0) != (there > 0.5)) & known).sum((1, 2)).numpy()
        between = (window.offsets > 0).astype(int)  # 0 of a slice
        np.add.at(wrong, between, mistaken)
        np.add.at(voxels, between, known.sum((1, 2)).numpy())
        every = int(known.sum()) // _VOXELS | 1  # odd, so that they lie in all columns
        logits.append(said[known][::every])
        truth.append(there[known][::every])
    return Validation(wrong, voxels, logits, truth)


def validate_stacks(
    network: Network, stacks: Sequence[SimulatedStack], seed: int
) -> dict[Condition, Validation]:
    """Let a network predict all of some stacks under all `conditions`."""
    return {
        condition: Validation.joined(
            [
                validate(network, Windows(stack, network.architecture, condition, seed))
                for stack in stacks
            ]
        )
        for condition in conditions(stacks)
    }


def errors_of(found: dict[Condition, Validation], temperature: float) -> dict[str, Any]:
    """Return what a card says of errors: under the first condition, and under each."""
    rows = [
        {
            "voltages": list(condition.voltages),
            "electrons_per_pixel": condition.electrons_per_pixel,
            "misplaced": told_error(part.misplaced),
            "on_slices": told_error(part.on_slices),
            "between": told_error(part.between),
            "calibration_error": told_error(part.calibration_error(temperature)),
        }
        for condition, part in found.items()
    ]
    return rows[0] | {"conditions": rows}


def told_error(error: float) -> float | None:
    """Return an error as cards tell it; None where it is not known."""
    return round(error, _DIGITS) if np.isfinite(error) else None
