"""What lies between simulated films: Gaussian processes through their counts of electrons."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from .grids import FilmGrid

_STEPS = 150  # of the search for lengths
_WIDEST = 20.0  # logarithm of how far a length may be from where the search begins
_ROUNDING = 1e-10  # of variances, so that matrices can be inverted


@dataclass(frozen=True, eq=False)
class FilmFit:
    """Logarithms of backscatter coefficients as a Gaussian process [1]_.

    Their covariance falls with the distance d as the product of exp(−d²/2l²) of the logarithm of
    the energy and of each thickness.

    Attributes
    ----------
    grid
        Of the films.
    lengths
        Logarithms: of the variance, then of the length l along each axis.
    mean
        Of the logarithms.
    weights
        Of the films (energy, layer 1, …).
    error
        Root mean square of the relative standard error of the coefficients, at the films.

    References
    ----------
    .. [1] Rasmussen, C. E., Williams, C. K. I. (2006), Gaussian Processes for Machine Learning,
       MIT Press, chapter 2.
    """

    grid: FilmGrid
    lengths: np.ndarray
    mean: float
    weights: np.ndarray
    error: float

    @classmethod
    def of(cls, grid: FilmGrid, counts: np.ndarray, lengths: np.ndarray) -> "FilmFit":
        """Return the process through counts (energy, layer 1, …)."""
        logarithms, variances = _observed(grid, counts)
        prior = _covariance(grid, lengths)
        factor = cho_factor(prior + np.diag(variances))
        mean = float(logarithms.mean())
        weights = cho_solve(factor, logarithms - mean)
        # What the films themselves do not know, because few electrons were counted.
        left = np.diag(prior) - np.einsum("ij,ji->i", prior, cho_solve(factor, prior))
        error = float(np.sqrt(np.maximum(left, 0).mean()))
        return cls(grid, lengths, mean, weights.reshape(grid.shape), error)

    def coefficients(self, thickness: np.ndarray, energies: np.ndarray) -> np.ndarray:
        """Return backscatter coefficients (energy, film) of films of a thickness (layer, film)."""
        first, *others = _axes(self.grid)
        lengths = np.exp(self.lengths)
        near = _nearness(np.log(energies), first, lengths[1])
        weights = np.tensordot(near, self.weights, 1) * lengths[0]
        sums = weights.reshape(len(energies), -1)
        films = np.ones((1, thickness.shape[1]))
        for depth, axis, length in zip(thickness, others, lengths[2:], strict=True):
            beside = _nearness(depth, axis, length).T
            films = (films[:, np.newaxis] * beside).reshape(-1, thickness.shape[1])
        return np.asarray(np.exp(self.mean + sums @ films))


def counting_covariance(
    grid: FilmGrid,
    counts: np.ndarray,
    lengths: np.ndarray,
    thickness: np.ndarray,
    energies: np.ndarray,
) -> np.ndarray:
    """Return how errors of counts go together in signals of films, float64 (energy, energy).

    It is the covariance of the logarithms of backscatter relative to that of the bare substrate,
    on average over films of a thickness (layer, film).
    """
    _, variances = _observed(grid, counts)
    factor = cho_factor(_covariance(grid, lengths) + np.diag(variances))
    first, *others = _axes(grid)
    scale, *along = np.exp(lengths)
    near = scale * _nearness(np.log(energies), first, along[0])

    def beside(films: np.ndarray) -> np.ndarray:
        """Return how near films (layer, film) are to those of the grid (film, node)."""
        parts = [_nearness(*part) for part in zip(films, others, along[1:], strict=True)]
        return reduce(
            lambda a, b: (a[:, :, np.newaxis] * b[:, np.newaxis]).reshape(len(a), -1), parts
        )

    apart = beside(thickness) - beside(np.zeros((len(thickness), 1)))
    rows = near[np.newaxis, :, :, np.newaxis] * apart[:, np.newaxis, np.newaxis]
    counted = cho_solve(factor, rows.reshape(-1, counts.size).T) * np.sqrt(variances)[:, np.newaxis]
    spread = counted.reshape(counts.size, len(apart), len(energies))
    return np.asarray(np.einsum("nfe,nfg->eg", spread, spread, optimize=True) / len(apart))


def fitting_lengths(grid: FilmGrid, counts: np.ndarray) -> np.ndarray:
    """Return the `lengths` of a fit under which the counts are most likely."""
    logarithms, variances = _observed(grid, counts)
    centred = logarithms - logarithms.mean()

    def unlikeliness(lengths: np.ndarray) -> float:
        factor = cho_factor(_covariance(grid, lengths) + np.diag(variances))
        return float(centred @ cho_solve(factor, centred) / 2 + np.log(np.diag(factor[0])).sum())

    begin = np.array([0.0, *(np.log(np.ptp(axis) / 2) for axis in _axes(grid))])
    # Along layers that change nothing, any length is as likely as a longer one.
    bounds = [(length - _WIDEST, length + _WIDEST) for length in begin]
    options = {"maxiter": _STEPS}
    found = minimize(unlikeliness, begin, method="Nelder-Mead", bounds=bounds, options=options)
    return np.asarray(found.x)


def _observed(grid: FilmGrid, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the logarithms of the shares that were counted, and their variances."""
    found = np.maximum(counts.ravel().astype(np.float64), 1)
    share = found / grid.electrons
    return np.log(share), (1 - share) / found + _ROUNDING


def _axes(grid: FilmGrid) -> list[np.ndarray]:
    energies, *depths = grid.axes()
    return [np.log(energies), *depths]


def _covariance(grid: FilmGrid, lengths: np.ndarray) -> np.ndarray:
    """Return the covariance of all films (film, film)."""
    variance, *along = np.exp(lengths)
    axes: Sequence[np.ndarray] = _axes(grid)
    parts = [_nearness(axis, axis, length) for axis, length in zip(axes, along, strict=True)]
    return np.asarray(variance * reduce(np.kron, parts))


def _nearness(places: np.ndarray, nodes: np.ndarray, length: float) -> np.ndarray:
    """Return how near places are to nodes (place, node), from 0 to 1."""
    return np.asarray(np.exp(-(((places[:, np.newaxis] - nodes) / length) ** 2) / 2))
