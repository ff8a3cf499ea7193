"""Whether painting more helps: painted slices are judged by forests that have not seen them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from ...blocks import reduce_blocks
from ...conventions import ConventionError
from ...pieces.labels import APART, UNLABELLED, Painted, read_painted
from ._functions import samples_of
from .segmentation import SAMPLES, Shown, painted_features
from .trees import Growth, Trees, scikit_learn

_FOLDS = 5
_PIXELS = 40_000  # of a forest; it grows for a second


@dataclass(frozen=True, eq=False)
class Fold:
    """Painted slices that are judged, and those apart from all of them, by their places.

    Attributes
    ----------
    judged, others
        Places among the painted slices, increasing.
    """

    judged: np.ndarray
    others: np.ndarray

    def learnt(self, count: int) -> np.ndarray:
        """Return so many of the others, evenly."""
        return self.others[((2 * np.arange(count) + 1) * len(self.others)) // (2 * count)]


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Finish `PaintedFeatures` (slice, integer) with errors (count, slice) in %.

    Attributes
    ----------
    growth
        How trees grow.
    painted
        Classes of the samples (slice, sample); `UNLABELLED` where there is none.
    shares
        Of the painted pixels of each slice, those of each class (slice, class): samples hold more
        of rare ones.
    features
        Number of features.
    folds
        Which slices are judged, and what of the others may be learnt from.
    counts
        Numbers of slices that are learnt from, increasing.
    """

    growth: Growth
    painted: np.ndarray
    shares: np.ndarray
    features: int
    folds: tuple[Fold, ...]
    counts: np.ndarray

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the misplaced pixels in %; NaN where nothing can be learnt."""
        samples = samples_of(counts, self.painted.shape, self.features)
        misplaced = np.full((len(self.counts), len(self.painted)), np.nan)
        for row, count in zip(misplaced, self.counts, strict=True):
            for fold in self.folds:
                trees = self._grown(samples, fold.learnt(int(count)))
                if trees is not None:
                    row[fold.judged] = [self._misplaced(trees, samples[k], k) for k in fold.judged]
        return misplaced

    def _grown(self, samples: np.ndarray, slices: np.ndarray) -> Trees | None:
        """Return trees that have learnt from some slices; None where a class is not painted."""
        parts = [(samples[k], self.painted[k]) for k in slices]
        each = max(_PIXELS // int(self.counts[-1]), 1)
        kept = [(s[known], c[known]) for s, c in parts for known in [_thinned(c, each)]]
        shown, classes = (np.concatenate(part) for part in zip(*kept, strict=True))
        count = self.shares.shape[1]
        if len(np.unique(classes)) < count:
            return None
        return Trees.of(self.growth.grow(shown, classes, count), count)

    def _misplaced(self, trees: Trees, samples: np.ndarray, k: int) -> float:
        """Return the share of the painted pixels of a slice in % that trees get wrong."""
        painted = self.painted[k]
        known = painted != UNLABELLED
        probability = trees.probabilities(np.ascontiguousarray(samples[known].T))
        two = self.shares.shape[1] == 2
        said = probability[:, 0] > 0.5 if two else probability.argmax(axis=1)
        wrong = said != painted[known]
        each = [
            share * wrong[painted[known] == label].mean()
            for label, share in enumerate(self.shares[k])
            if share
        ]
        return float(100 * np.sum(each))


def curve_of_forests(
    shown: Shown, whole: xr.Dataset, used: slice, labels: str, unlabelled: int | None
) -> xr.Dataset:
    """Return the errors of forests by the number of slices that they have learnt from, lazily.

    Parameters
    ----------
    shown
        The images.
    whole
        The stack that was painted, which may have more rows.
    used
        Which of its voltages the images are.
    labels, unlabelled
        What is painted, and the value of what is not.

    Raises
    ------
    ConventionError
        If the labels do not fit, or no slices lie apart.
    StackReadError
        If labels cannot be read.
    """
    scikit_learn("sklearn")
    painted = read_painted(labels, whole, unlabelled=unlabelled)
    painted = painted.shown(used, shown.image.shape[2]).check()
    folds = _folds(painted.slices)
    counts = _doubled(min(len(fold.others) for fold in folds))
    growth = Growth()
    _, classes = painted.drawn(SAMPLES, growth.seed)
    finish = CrossValidation(growth, classes, _shares(painted), shown.features.count, folds, counts)
    function, grid = painted_features(shown, painted, growth)
    misplaced = reduce_blocks(
        function,
        (shown.image,),
        grid=grid,
        finish=finish,
        shape=(len(counts), len(painted.slices)),
        parameters=shown.ranges,
    )
    attrs = {"long_name": "painted pixels that are misplaced", "units": "%"}
    z = shown.stack["z"].isel(z=painted.slices)
    coords = {
        "learnt": ("learnt", counts, {"long_name": "painted slices that were learnt from"}),
        "judged": ("judged", painted.slices, {"long_name": "painted slice"}),
        "z": ("judged", z.values, z.attrs),
    }
    return xr.Dataset({"misplaced": (("learnt", "judged"), misplaced, attrs)}, coords)


def _folds(slices: np.ndarray) -> tuple[Fold, ...]:
    """Part painted slices: every fifth one is judged, or those that follow each other.

    Raises
    ------
    ConventionError
        If none lies apart from others.
    """
    number = np.arange(len(slices))
    parts = min(_FOLDS, len(slices))
    ways = (number % parts, number * parts // max(len(slices), 1))
    found = [[*_apart(slices, way)] for way in ways]
    least = [min((len(fold.others) for fold in folds), default=0) for folds in found]
    chosen = found[int(np.argmax(least))]
    if not chosen:
        msg = (
            "forests are judged by painted slices that they have not seen, which lie more than "
            f"{APART} slices from those that they have; painted are {slices.tolist()}: paint "
            "another one farther away"
        )
        raise ConventionError(msg)
    return tuple(chosen)


def _apart(slices: np.ndarray, fold: np.ndarray) -> Iterator[Fold]:
    """Iterate over the folds that leave others to learn from."""
    for number in np.unique(fold):
        judged = np.flatnonzero(fold == number)
        distance = np.abs(slices[:, np.newaxis] - slices[judged]).min(axis=1)
        others = np.flatnonzero(distance > APART)
        if len(others):
            yield Fold(judged, others)


def _doubled(most: int) -> np.ndarray:
    """Return 1, 2, 4, … and the most."""
    return np.unique([*(2 ** np.arange(int(np.log2(most)) + 1)), most]).astype(np.int64)


def _shares(painted: Painted) -> np.ndarray:
    """Return of the painted pixels of each slice those of each class (slice, class)."""
    count = len(painted.names)
    pixels = np.array([np.bincount(c.ravel(), minlength=UNLABELLED + 1) for c in painted.classes])
    return np.asarray(pixels[:, :count] / pixels[:, :count].sum(axis=1, keepdims=True))


def _thinned(classes: np.ndarray, most: int) -> np.ndarray:
    """Return so many of the samples (sample) at most that hold a class, evenly."""
    known = np.flatnonzero(classes != UNLABELLED)
    if len(known) <= most:
        return known
    return known[(np.arange(most) * len(known)) // most]
