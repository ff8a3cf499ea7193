"""Samples simulated like a stack: structures as a network sees them, images as they look there.

What a network sees in the stack is mirrored and turned, images of it are simulated, and look as
those of the stack do. It need not be what is really there: that only tells what structures are
like; what the network learns from are the simulated images, whose truth is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..models import Model
from ..networks import WindowNetwork
from ..samples import Drawing, Sample, oriented
from .explaining import Explanation, Look
from .fitting import probability
from .seen import Simulator, Structure, planes_below

_VOLUMES = 4  # of simulated images
_SIDE = 128  # most pixels of those along y and x
_SLICES = 16
_TURNS = ((0, 1, 2), (1, 0, 2), (2, 1, 0))  # each axis comes to lie along z
_UNSURE = 0.15  # standard deviation of the logarithm of blur and noise
_GAIN, _OFFSET = 0.02, 0.01  # standard deviations, of slices
_ALL = 0.75  # share of the samples that show all voltages
_TESTED = 24  # samples


@dataclass(frozen=True, eq=False)
class Volume:
    """Simulated images without noise, and their structure.

    Attributes
    ----------
    signal
        Float32 (voltage, slice, y, x).
    phase
        1 where solid, uint8 (z, y, x).
    faces
        Numbers of the planes that are slices (slice), and one more.
    """

    signal: np.ndarray
    phase: np.ndarray
    faces: np.ndarray


def volumes(model: Model, seen: Structure, simulator: Simulator, seed: int) -> list[Volume]:
    """Simulate images of what is seen, mirrored and turned, in slices as far apart."""
    rng = np.random.default_rng(seed)
    return [
        _volume(model, seen, simulator, _TURNS[number % len(_TURNS)], rng)
        for number in range(_VOLUMES)
    ]


def _volume(
    model: Model,
    seen: Structure,
    simulator: Simulator,
    turn: tuple[int, int, int],
    rng: np.random.Generator,
) -> Volume:
    steps = np.diff(seen.faces, append=seen.faces[-1] + round(np.diff(seen.faces).mean()))
    steps = np.resize(np.roll(steps, int(rng.integers(len(steps)))), _SLICES)
    faces = np.cumsum([0, *steps])
    side = min(max(seen.phase.shape[1:]), _SIDE)
    shape = (int(faces[-1]) + planes_below(model.card["voltages"], seen.pixel), side, side)
    phase = seen.phase.transpose(turn)
    for axis, n in enumerate(shape):
        if rng.random() < 0.5:
            phase = np.flip(phase, axis)
        start = int(rng.integers(max(phase.shape[axis] - n, 0) + 1))
        phase = np.take(phase, range(start, min(start + n, phase.shape[axis])), axis)
    missing = [(0, n - have) for n, have in zip(shape, phase.shape, strict=True)]
    phase = np.pad(phase, missing, mode="symmetric")
    whole = Structure(phase, seen.pixel * np.arange(shape[0]), faces[:-1], seen.pixel)
    return Volume(whole.images(model, simulator), phase[: faces[-1]].astype(np.uint8), faces)


@dataclass(frozen=True, eq=False)
class SimulatedSamples(Drawing):
    """Samples of volumes, as the images of a stack look.

    Attributes
    ----------
    volumes
        Drawn from alike.
    looks
        Of the voltages.
    pixel
        Distance of planes in nm.
    whole
        Share of the samples that show all voltages.
    """

    volumes: Sequence[Volume]
    looks: Sequence[Look]
    pixel: float
    whole: float = _ALL

    @classmethod
    def like(
        cls, model: Model, seen: Structure, told: Explanation, *, seed: int, **drawn: Any
    ) -> "SimulatedSamples":
        """Return samples like what an explanation tells of."""
        made = volumes(model, seen, told.simulator, seed)
        return cls(volumes=made, looks=told.looks, pixel=seen.pixel, seed=seed, **drawn)

    def __getitem__(self, number: int) -> Sample:
        """Return a sample."""
        rng = self.rng(number)
        volume = self.volumes[int(rng.integers(len(self.volumes)))]
        faces = volume.faces
        i = int(rng.integers(len(faces) - 1))
        slots = self.window.slices(i, len(faces) - 1)
        y, x = self.part(volume.phase.shape[1:], rng)
        shown = slots >= 0
        images = np.zeros((len(self.looks), len(slots), self.crop, self.crop), np.float32)
        images[:, shown] = self._images(volume.signal[:, slots[shown], y, x], rng)
        present = self._present(len(images), rng)
        images *= present[:, None, None, None]
        others = rng.integers(faces[i], faces[i + 1], self.planes - 1)
        planes = np.append(faces[i], others)
        truth = volume.phase[planes][:, y, x].astype(np.float32)
        images, truth = oriented(images, truth, rng)
        return Sample(
            images,
            present.astype(np.float32),
            self.window.distances(i, self.pixel * faces[:-1]).astype(np.float32),
            (self.pixel * (planes - faces[i])).astype(np.float32),
            truth,
        )

    def _images(self, signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return images of signals (voltage, slice, y, x)."""
        blur, noise = np.exp(_UNSURE * rng.standard_normal(2))
        slices, (y, x) = signal.shape[1], signal.shape[2:]
        # Voltages image the same face: they share what milling has left on it.
        chosen = rng.integers(len(self.looks[0].across), size=slices)
        starts = rng.integers(1 << 30, size=2)
        made = []
        for look, one in zip(self.looks, signal, strict=True):
            grey = look.noisy(look.expected(one, blur * look.blur), noise, rng)
            grey += _cut(look.across[chosen], x, starts[0])[:, None, :]
            grey += _cut(look.along[chosen], y, starts[1])[:, :, None]
            gain, offset = rng.standard_normal((2, slices, 1, 1))
            made.append(grey * (1 + _GAIN * gain) + _OFFSET * offset)
        return np.asarray(made, np.float32)

    def _present(self, voltages: int, rng: np.random.Generator) -> np.ndarray:
        if rng.random() < self.whole or voltages == 1:
            return np.ones(voltages, bool)
        present = rng.random(voltages) < 0.5
        return present if present.any() else ~present


def wrong_voxels(folded: WindowNetwork, samples: SimulatedSamples, temperature: float) -> float:
    """Return the wrong ones in % of what a network says of the faces of some samples."""
    every = np.ones(len(samples.looks), bool)
    shares = []
    for number in range(_TESTED):
        face = samples[number].face
        said = probability(folded, face, every, temperature)
        shares.append(((said > 0.5) != (face.truth > 0.5)).mean())
    return 100 * float(np.mean(shares))


def _cut(profiles: np.ndarray, length: int, start: int) -> np.ndarray:
    """Return a part of profiles (slice, place), which go on as a mirror would show them."""
    both = np.concatenate([profiles, profiles[:, ::-1]], axis=1)
    return both[:, (start + np.arange(length)) % both.shape[1]]
