"""Block functions of forests: features of painted pixels, and what trees say of all others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...blocks import Grid, Region, lengths, load_once, unpacked, voxels, whole
from ...conventions import ConventionError
from ...pieces.functions import InPlace
from ...pieces.grey import range_values, require_finite
from ...pieces.labels import UNLABELLED, check_probes
from ...pieces.windows import STEPS, in_steps
from .features import Features
from .saved import Forest
from .trees import Growth, Trees

_LABEL = STEPS + 1  # of a code: this many times the label, and the steps of its probability


@dataclass(frozen=True, eq=False)
class PaintedSlices:
    """Numbered blocks of a stack: its painted slices, whole, each a group of its own.

    Attributes
    ----------
    slices
        Their numbers.
    plane
        Shape of the images (y, x).
    """

    slices: np.ndarray
    plane: tuple[int, int]

    @property
    def size(self) -> int:
        """Number of painted slices."""
        return len(self.slices)

    @property
    def parts(self) -> Sequence[tuple[int, ...]]:
        """One part."""
        return ((self.size,),)

    def numbered(self, number: int) -> Region:
        """Return a slice by its place among those that are painted."""
        k = int(self.slices[number])
        return (slice(k, k + 1), *whole(self.plane))

    @property
    def groups(self) -> int:
        """Number of groups: each slice is one."""
        return self.size

    def group(self, number: int) -> int:
        """Return the group of a slice."""
        return number


@dataclass(frozen=True, eq=False)
class PaintedFeatures:
    """Count nothing, but return features of painted pixels: pairs of float32 as an integer each.

    So they are kept, resumed and given to one computation as counts are, to the last bit.

    Attributes
    ----------
    features
        Of a pixel.
    slices
        That are painted.
    pixels
        Their painted pixels that are taken (slice, sample).
    probes
        Grey values of the slices that were painted (slice, voltage, probe); NaN if not known.
    tile
        Pixels along y and x that are looked at together.
    """

    features: Features
    slices: np.ndarray
    pixels: np.ndarray
    probes: np.ndarray
    tile: tuple[int, int]

    revision = 3

    @property
    def size(self) -> int:
        """Number of integers for each slice."""
        return int(self.pixels.shape[1]) * (-(-self.features.count // 2))

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the slice and those around it, of every voltage."""
        return ((slice(0, self.features.voltages), *self.features.needs(region)),)

    def compute(self, region: Region, image: np.ndarray, *ranges: np.ndarray) -> np.ndarray:
        """Return the features of the samples of a slice."""
        number = int(np.searchsorted(self.slices, region[0].start))
        start = self.features.needs(region)[0].start
        own = image[:, region[0].start - start]
        check_probes(own, self.probes[number], region[0].start)
        features = self.features
        made = np.zeros((self.pixels.shape[1], 2 * (-(-features.count // 2))), np.float32)
        y, x = np.divmod(self.pixels[number], region[2].stop)
        tiles = Grid(lengths(region[1:]), self.tile)
        for position in tiles.indices():
            tile = tiles.region(position)
            inside = np.flatnonzero(
                (y >= tile[0].start)
                & (y < tile[0].stop)
                & (x >= tile[1].start)
                & (x < tile[1].stop)
            )
            if not len(inside):
                continue
            part = (region[0], *tile)
            needed = features.needs(part)
            read = image[(slice(None), *_within(needed, start))]
            require_finite(read, features.measured[needed[0]], (slice(0, len(read)), *needed))
            rows, columns = y[inside] - tile[0].start, x[inside] - tile[1].start
            for _, shown in features.planes(read, part, range_values(*ranges)):
                made[inside, : features.count] = shown[:, rows, columns].T
        return made.view(np.int64).ravel()

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of temporaries for one tile, and of the samples."""
        tile = tuple(
            slice(0, min(n, length))
            for n, length in zip(lengths(region[1:]), self.tile, strict=True)
        )
        return self.features.working_bytes((region[0], *tile)) + 8 * self.size


def _within(needed: Region, start: int) -> Region:
    """Express what a part of whole slices needs in the slices that are read."""
    planes, *plane = needed
    return (slice(planes.start - start, planes.stop - start), *plane)


def samples_of(counts: np.ndarray, shape: tuple[int, ...], features: int) -> np.ndarray:
    """Return what `PaintedFeatures` has packed (slice, integer), (slice, sample, feature)."""
    packed = np.ascontiguousarray(counts).view(np.float32).reshape(*shape, -1)
    return packed[..., :features]


@dataclass(frozen=True, eq=False)
class GrowTrees:
    """Finish `PaintedFeatures` (slice, integer) with trees (tree, node, column).

    Attributes
    ----------
    growth
        How they grow.
    painted
        Classes of the samples (slice, sample); `UNLABELLED` where there is none.
    classes
        Number of classes.
    features
        Number of features.
    """

    growth: Growth
    painted: np.ndarray
    classes: int
    features: int

    revision = 2

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the packed nodes."""
        samples = samples_of(counts, self.painted.shape, self.features)
        known = self.painted != UNLABELLED
        shown = np.ascontiguousarray(samples[known])
        return self.growth.grow(shown, self.painted[known], self.classes)


@dataclass(frozen=True)
class KeptForest:
    """A forest on the disk: what is pickled of it is this, and no nodes.

    Attributes
    ----------
    folder
        That holds it.
    fingerprint
        Hash of its nodes.
    """

    folder: str
    fingerprint: str

    def nodes(self) -> np.ndarray:
        """Return its packed nodes, which each process reads once."""
        return load_once(self.fingerprint, self._read)

    def _read(self) -> np.ndarray:
        forest = Forest.load(self.folder)
        if forest.card["sha256"] != self.fingerprint:
            msg = f"the forest {self.folder} has changed since it was chosen; choose it again"
            raise ConventionError(msg)
        return forest.packed


@dataclass(frozen=True, eq=False)
class _FromFeatures:
    """Reads what the features of a block need, of every voltage.

    Attributes
    ----------
    features
        Of a pixel.
    classes
        Number of classes.
    kept
        A forest from the disk; by default the first result of what comes before.
    """

    features: Features
    classes: int
    kept: "KeptForest | None" = None

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block and its surroundings, of every voltage."""
        return ((slice(0, self.features.voltages), *self.features.needs(region)),)

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of features of one plane, and of votes."""
        plane = voxels(region[1:])
        return self.features.working_bytes(region) + 8 * plane * (1 + 3 * self.classes)

    def _planes(
        self, region: Region, image: np.ndarray, *results: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Iterate over the planes of a block, and probabilities (pixel, class)."""
        needed = self.needs(region)[0]
        require_finite(image, self.features.measured[needed[1]], needed)
        packed, *ranges = results if self.kept is None else (self.kept.nodes(), *results)
        trees = Trees.of(packed, self.classes)
        for k, shown in self.features.planes(image, region, range_values(*ranges)):
            yield k, trees.probabilities(shown.reshape(len(shown), -1))


@dataclass(frozen=True, eq=False)
class SolidProbability(_FromFeatures):
    """Block function: the probability of solid (z, y, x), 0 in planes that are not measured."""

    scale_factor = 1 / STEPS

    revision = 4

    def compute(self, region: Region, image: np.ndarray, *results: np.ndarray) -> np.ndarray:
        """Return the float32 probability of a block."""
        made = np.zeros(lengths(region), np.float32)
        for k, probability in self._planes(region, image, *results):
            made[k] = in_steps(probability).reshape(made.shape[1:])
        return made


@dataclass(frozen=True, eq=False)
class CodedLabels(_FromFeatures):
    """Block function: the likeliest label (z, y, x) and its probability, as one number, uint16.

    That is 256 times the label, and the probability in steps.
    """

    revision = 4

    def compute(self, region: Region, image: np.ndarray, *results: np.ndarray) -> np.ndarray:
        """Return the codes of a block."""
        made = np.zeros(lengths(region), np.uint16)
        for k, probability in self._planes(region, image, *results):
            label = probability.argmax(axis=1)
            steps = np.rint(STEPS * probability.max(axis=1)).astype(np.int64)
            made[k] = (_LABEL * label + steps).reshape(made.shape[1:])
        return made


@dataclass(frozen=True)
class LabelOf(InPlace):
    """Block function: the label of a code (z, y, x), uint8."""

    def compute(self, region: Region, codes: np.ndarray) -> np.ndarray:
        """Return the labels of a block."""
        return (codes // _LABEL).astype(np.uint8)


@dataclass(frozen=True)
class IsLabel(InPlace):
    """Block function: 1 where a label (z, y, x) is a certain one, else 0, as uint8.

    Attributes
    ----------
    label
        Which.
    """

    label: int

    def compute(self, region: Region, labels: np.ndarray) -> np.ndarray:
        """Return the phase of a block."""
        phase: np.ndarray = np.equal(labels, self.label).view(np.uint8)
        return phase


@dataclass(frozen=True)
class ProbabilityOf(InPlace):
    """Block function: the probability of the label of a code (z, y, x), float32."""

    scale_factor = 1 / STEPS

    def compute(self, region: Region, codes: np.ndarray) -> np.ndarray:
        """Return the probabilities of a block."""
        return unpacked(codes % _LABEL, 1 / STEPS)
