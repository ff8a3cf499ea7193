"""How good a network is for images without labels: a score that needs no truth.

Lower is better. It adds up shares of voxels in %: those that the network expects to be wrong, half
of those that it sees otherwise in one voltage alone, those that the given network was sure of and
it contradicts, and how far what it finds is from isotropic:
what shines through is found in several slices, so that they are too much alike.

Networks that are shown the same grey values are compared by a test instead, where there is one:
images that are simulated like those of the stack, whose truth is known.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

import numpy as np

_DISAGREEMENT = 0.5  # weight of voltages: one alone may be wrong where all are right
_ISOTROPY = 1.0
_SURE = 0.95  # of the likelier phase


@dataclass(frozen=True)
class Score:
    """What is known of a network on images without labels, all in % of voxels.

    Attributes
    ----------
    doubt
        Expected wrong ones, if its probabilities are frequencies.
    disagreement
        Those that it takes for another phase in images of one voltage alone, on average.
    anisotropy
        Size of the mean difference of the two-point correlation along z from that in the plane,
        at the distances of neighbouring slices, relative to the solid fraction.
    departure
        Those that the given network was sure of, and that it takes for the other phase.
    unevenness
        Standard deviation of the solid fraction along z, relative to it.
    solid_fraction
        Of the slices.
    total
        What candidates are compared by; doubt and disagreement count as if the solid fraction were
        that of the given network.
    error
        Standard error of the total, from the scatter of slices.
    tested
        Those that are wrong in simulated images like those of the stack; None without any.
    """

    doubt: float
    disagreement: float
    anisotropy: float
    departure: float
    unevenness: float
    solid_fraction: float
    total: float
    error: float
    tested: float | None = None

    def told(self) -> dict[str, float | None]:
        """Return the numbers as JSON knows them."""
        return {
            name: None if value is None else float(f"{value:.4g}")
            for name, value in asdict(self).items()
        }

    def compared(self, root: "Score", tested: float) -> "Score":
        """Return what it is of a network that a simulated test compares with another.

        Who gets half as many simulated voxels wrong has half the total.

        Parameters
        ----------
        root
            Of the other, which was shown the same grey values.
        tested
            Wrong voxels in % of this one in the test.
        """
        total = root.total * tested / max(root.tested or 0.0, 1e-6)
        return replace(self, total=total, tested=tested)


def score(
    together: np.ndarray,
    alone: Sequence[np.ndarray],
    steps: np.ndarray,
    parent: np.ndarray | None = None,
) -> Score:
    """Score probabilities of solid on slices.

    Parameters
    ----------
    together
        From all voltages (z, y, x).
    alone
        From each of them (voltage)(z, y, x).
    steps
        Distance of each slice to the next in pixels (z).
    parent
        What the given network says (z, y, x): one that is sure of nonsense must not win.
    """
    solid = together > 0.5
    sure = np.zeros(solid.shape, bool) if parent is None else np.abs(parent - 0.5) > _SURE - 0.5
    departed = 0.0 if parent is None else 100 * float((sure & (solid != (parent > 0.5))).mean())
    doubt = 100 * np.minimum(together, 1 - together).mean(axis=(1, 2))
    apart = [100 * ((one > 0.5) != solid).mean(axis=(1, 2)) for one in alone]
    disagreement = np.mean(apart, axis=0) if len(alone) > 1 else np.zeros(len(together))
    fractions = solid.mean(axis=(1, 2))
    mean = float(fractions.mean())
    # Who finds less solid has less of it to be in doubt of, and to disagree on.
    known = mean if parent is None else float((parent > 0.5).mean())
    each = (doubt + _DISAGREEMENT * disagreement) * known / max(mean, 1e-6)
    anisotropy = 100 * _anisotropy(solid, steps) / max(mean, 1e-6)
    return Score(
        float(doubt.mean()),
        float(disagreement.mean()),
        anisotropy,
        departed,
        100 * float(fractions.std()) / max(mean, 1e-6),
        mean,
        float(each.mean()) + _ISOTROPY * anisotropy + departed,
        float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else 0.0,
    )


def _anisotropy(solid: np.ndarray, steps: np.ndarray) -> float:
    """Return how far correlations of neighbouring slices are from those in their plane."""
    most = int(np.ceil(steps.max())) + 1
    if len(solid) < 2 or most >= min(solid.shape[1:]) // 2:
        return 0.0
    flat = [
        np.array([(a[lag:] & a[: len(a) - lag]).mean() for lag in range(most + 1)])
        for a in (solid.transpose(1, 0, 2), solid.transpose(2, 0, 1))
    ]
    inside = np.mean(flat, axis=0)
    across = np.array([(a & b).mean() for a, b in pairwise(solid)])
    away = across - np.interp(steps[:-1], np.arange(most + 1), inside)
    return float(abs(away.mean()))
