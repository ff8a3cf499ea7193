"""Painted slices of a stack: classes by pixel, and which pixels are taken as samples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...conventions import ConventionError

UNLABELLED = 255
"""Value of pixels that nothing is said of."""
APART = 2
"""Slices that lie at least between what is learnt from and what is judged by."""
MOST_CLASSES = 32
COLOURS = ("#000000", "#d55e00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#cc79a7", "#e69f00")
"""Of classes that have been given none."""


@dataclass(frozen=True, eq=False)
class Painted:
    """Classes that are painted in some slices.

    Attributes
    ----------
    slices
        Numbers of the slices, increasing (slice).
    classes
        From 0, uint8 (slice, y, x); `UNLABELLED` where nothing is painted.
    names, colours
        Of the classes; colours as "#rrggbb".
    probes
        Grey values where the slices were cut, float64 (slice, voltage, probe); NaN if not known.
    """

    slices: np.ndarray
    classes: np.ndarray
    names: tuple[str, ...]
    colours: tuple[str, ...]
    probes: np.ndarray

    def shown(self, voltages: slice, rows: int) -> "Painted":
        """Return what is painted in the first rows, with probes of some voltages.

        Probes lie on whole images; where rows are left out, there are none.
        """
        probes = self.probes[:, voltages]
        if rows < self.classes.shape[1]:
            probes = probes[..., :0]
        return replace(self, classes=self.classes[:, :rows], probes=probes)

    def of_slices(self, chosen: Sequence[int] | np.ndarray) -> "Painted":
        """Return what is painted in some of the slices, by their place."""
        return replace(
            self,
            slices=self.slices[chosen],
            classes=self.classes[chosen],
            probes=self.probes[chosen],
        )

    def labelled(self) -> "Painted":
        """Return the slices in which something is painted."""
        return self.of_slices(np.flatnonzero((self.classes != UNLABELLED).any(axis=(1, 2))))

    def drawn(self, total: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw painted pixels, about as many of each slice.

        Parameters
        ----------
        total
            Of all slices at most, if there are so many.
        seed
            Of the choice.

        Returns
        -------
        tuple
            Numbers of pixels, int64 (slice, sample), in an image from its first row on, and
            their classes, uint8 (slice, sample): `UNLABELLED` behind the last one of a slice.
        """
        each = max(total // len(self.slices), 1)
        places = np.zeros((len(self.slices), each), np.int64)
        classes = np.full(places.shape, UNLABELLED, np.uint8)
        for number, painted in enumerate(self.classes):
            rng = np.random.default_rng((seed, int(self.slices[number])))
            chosen = _drawn(painted.ravel(), each, len(self.names), rng)
            places[number, : len(chosen)] = chosen
            classes[number, : len(chosen)] = painted.ravel()[chosen]
        most = int((classes != UNLABELLED).sum(axis=1).max())
        return places[:, :most], classes[:, :most]

    def check(self) -> "Painted":
        """Return this, which must hold every class.

        Raises
        ------
        ConventionError
            Naming those that are painted, and one that is not.
        """
        counts = np.bincount(self.classes.ravel(), minlength=UNLABELLED + 1)
        missing = [name for k, name in enumerate(self.names) if not counts[k]]
        if missing or len(self.names) < 2:
            held = [name for k, name in enumerate(self.names) if counts[k]]
            other = missing[0] if missing else "of another class"
            msg = (
                f"every class must be painted somewhere; of {', '.join(self.names)} the labels "
                f"hold {', '.join(held) or 'none'} only: paint some {other}"
            )
            raise ConventionError(msg)
        return self


def label_attributes(names: Sequence[str], colours: Sequence[str]) -> dict[str, object]:
    """Return attributes of a volume of labels, as CF has them, and `flag_colors`."""
    return {
        "long_name": "label",
        "flag_values": list(range(len(names))),
        "flag_meanings": " ".join("_".join(name.split()) for name in names),
        "flag_colors": " ".join(colours),
    }


def _drawn(painted: np.ndarray, most: int, classes: int, rng: np.random.Generator) -> np.ndarray:
    """Return painted pixels: of each class at least a part of its fair share, if there are any."""
    known = np.flatnonzero(painted != UNLABELLED)
    if len(known) <= most:
        return known
    shuffled = rng.permutation(known)
    least = most // (4 * classes)
    first = [shuffled[painted[shuffled] == k][:least] for k in range(classes)]
    rest = np.setdiff1d(shuffled, np.concatenate(first), assume_unique=True)
    wanted = most - sum(map(len, first))
    return np.sort(np.concatenate([*first, rng.choice(rest, wanted, replace=False)]))
