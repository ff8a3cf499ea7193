"""Tables that the compiled loops of layers read, and what they find in them."""

from dataclasses import dataclass

import numpy as np

from ._kernels import fitting, posterior

LAYERS = fitting.LAYERS
"""Of all tables; those that are not there have one node."""
_COARSE = {1: 61, 2: 21, 3: 9}  # nodes of a layer, by the number of layers
_GAIN = 1e-3  # of the variance: a step that makes the sum of squares smaller by less is the last


@dataclass(frozen=True, eq=False)
class Basis:
    """Directions along which values are compared.

    Attributes
    ----------
    mean
        That they are counted from, float64 (energy).
    directions
        Unit vectors, float64 (component, energy).
    errors
        Variances of the components of entries, float32 (component).
    """

    mean: np.ndarray
    directions: np.ndarray
    errors: np.ndarray

    @classmethod
    def whole(cls, energies: int) -> "Basis":
        """Return that of values as they are, of no error."""
        return cls(np.zeros(energies), np.eye(energies), np.zeros(energies, np.float32))


@dataclass(frozen=True, eq=False)
class Fits:
    """Places in a table that are nearest to what is observed.

    Attributes
    ----------
    places
        In nodes, float64 (pixel, layer).
    squares
        Of differences, in variances, float64 (pixel).
    shares
        Of the table that are as likely (pixel).
    """

    places: np.ndarray
    squares: np.ndarray
    shares: np.ndarray


@dataclass(frozen=True, eq=False)
class Table:
    """Components of signals where some of the layers are, and the others are not.

    Attributes
    ----------
    present
        Which layers are, bool (layer).
    tangents
        Values and their derivatives from node to node, as of `expand`; of absent layers one node.
    coarse, nodes
        Values at some nodes (component, node), and their places (node, layer).
    inner
        How many of these, the first ones, lack none of the layers that are present.
    errors
        Variances of components, float32 (component).
    """

    present: np.ndarray
    tangents: np.ndarray
    coarse: np.ndarray
    nodes: np.ndarray
    inner: int
    errors: np.ndarray

    @classmethod
    def of(cls, present: np.ndarray, values: np.ndarray, basis: Basis) -> "Table":
        """Return the table of values (layer 1, layer 2, layer 3, energy)."""
        components = (values - basis.mean) @ basis.directions.T
        rows = 3 + (values.shape[2] > 1)
        tangents = np.zeros((*values.shape[:-1], rows, len(basis.directions)), np.float32)
        tangents[..., 0, :] = components
        for layer in np.flatnonzero(present):
            tangents[..., 1 + layer, :] = np.gradient(components, axis=layer, edge_order=2)
        few = _COARSE.get(int((np.array(values.shape) > 1)[:-1].sum()), 1)
        axes = [np.rint(np.linspace(0, n - 1, min(n, few))) for n in values.shape[:-1]]
        nodes = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)
        lacking = ((nodes == 0) & present).any(axis=1)
        nodes = nodes[np.argsort(lacking, kind="stable")]
        coarse = np.ascontiguousarray(components[tuple(nodes.astype(int).T)].T, np.float32)
        return cls(present, tangents, coarse, nodes, int((~lacking).sum()), basis.errors)

    def fit(
        self, values: np.ndarray, variance: np.ndarray, ridge: np.ndarray, least: float = _GAIN
    ) -> Fits:
        """Return the places that fit best."""
        found = Fits(np.empty((len(values), LAYERS)), np.empty(len(values)), np.empty(len(values)))
        fitting.fit_pixels(
            values, variance, self.errors, self.tangents, self.coarse, self.nodes, self.inner,
            ridge, least, found.places, found.squares, found.shares,
        )  # fmt: skip
        return found

    def curve(
        self,
        values: np.ndarray,
        variance: np.ndarray,
        fits: Fits,
        layer: int,
        wanted: np.ndarray,
        widths: np.ndarray,
    ) -> None:
        """Fill in standard errors of a layer by the curvature at fits; see `curved_widths`."""
        given = values, variance, self.errors, self.tangents, fits.places, layer, wanted
        posterior.curved_widths(*given, widths)

    def walk(
        self,
        values: np.ndarray,
        variance: np.ndarray,
        fits: Fits,
        layer: int,
        worth: np.ndarray,
        room: tuple[np.ndarray, np.ndarray, np.ndarray],
    ) -> None:
        """Fill in how likely thicknesses of a layer are about fits; see `walk_pixels`."""
        given = values, variance, self.errors, self.tangents, fits.places, layer, worth
        posterior.walk_pixels(*given, *room)
