"""What networks of images are shown of a structure: how much solid is in layers below a face.

Layers are as thick as things are told apart at their depth. Their depths count in units of the
voltage's half-contrast depth, so that voltages look alike.
"""

from dataclasses import dataclass

import numpy as np

from ..electrons.attenuation import DETECTORS
from . import _kernels as kernels

_DEEPEST = 1000.0  # nm; as deep as electrons are followed in vacuum


@dataclass(frozen=True)
class Layers:
    """Layers below a face.

    Attributes
    ----------
    edges
        Depths at which a layer ends and the next begins, in units of the half-contrast depth of
        gold under epoxy; the first layer begins at the face.
    filled
        How many of them are looked at where pores hold a solid, too: electrons do not come back
        from below. Others are empty then.
    """

    edges: tuple[float, ...] = (
        0.03, 0.08, 0.15, 0.25, 0.37, 0.5, 0.65, 0.82, 1.0, 1.25, 1.55, 1.9, 2.35, 2.9,
        4.2, 6.5, 11.0, 20.0, 45.0, 250.0,
    )  # fmt: skip
    filled: int = 14

    def depths(self, voltage: float, *, vacuum: bool) -> np.ndarray:
        """Return the edges in nm, that of the face first (edge)."""
        edges = np.append(0.0, self.edges) * half_contrast_depth(voltage)
        return np.minimum(edges, _DEEPEST if vacuum else edges[self.filled])

    def weights(self, z: np.ndarray, plane: int, voltage: float, *, vacuum: bool) -> np.ndarray:
        """Return the share of each layer that lies in each plane, float32 (plane, layer).

        Parameters
        ----------
        z
            Of the planes of a structure in nm (plane); the last one goes on for ever.
        plane
            The imaged one, with which the weights begin; they end with the deepest that is seen.
        voltage
            In kV.
        vacuum
            Whether pores are empty.
        """
        depths = self.depths(voltage, vacuum=vacuum)
        seen = int(np.searchsorted(z, z[plane] + depths[-1], side="left"))
        tops = z[plane : max(seen, plane + 1)] - z[plane]
        ends = np.append(tops[1:], np.inf if seen == len(z) else z[seen] - z[plane])
        inside = np.minimum(ends[:, np.newaxis], depths[1:])
        inside -= np.maximum(tops[:, np.newaxis], depths[:-1])
        thickness = np.diff(depths)
        shares = np.maximum(inside, 0) / np.where(thickness > 0, thickness, 1)
        return np.ascontiguousarray(np.where(thickness > 0, shares, 0), np.float32)


def half_contrast_depth(voltage: float) -> float:
    """Return the depth in nm of gold under epoxy that shows with half its contrast."""
    return float(DETECTORS["tld"].attenuation_length(np.array(voltage)) * np.log(2))


def fill_layers(phase: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the share of solid in layers, float32 (layer, y, x).

    Parameters
    ----------
    phase
        Of the planes from the face down, uint8 (plane, y, x).
    weights
        As `Layers.weights` returns them, of as many planes.
    """
    shares = np.zeros((weights.shape[1], *phase.shape[1:]), np.float32)
    kernels.add_planes(phase, weights, shares)
    return shares


def window_of(tile: slice, length: int, *, halo: int, margin: int, stride: int) -> slice:
    """Return what is shown for a tile along an axis of an image: it may begin below 0.

    Parameters
    ----------
    tile
        Pixels that are wanted; they begin at a multiple of the stride.
    length
        Of the image.
    halo
        Pixels on each side that matter, a multiple of the stride.
    margin
        Pixels beyond the sides in which the structure is mirrored, another one.
    stride
        That lengths of windows are multiples of.
    """
    end = -(-(length + margin) // stride) * stride
    stop = -(-(tile.stop + halo) // stride) * stride
    return slice(max(tile.start - halo, -margin), min(stop, end))


def mirrored(window: slice, length: int, margin: int) -> np.ndarray:
    """Return the pixels of an image that a window shows, until nothing is known any more."""
    places = np.arange(window.start, min(window.stop, length + margin)) % (2 * length)
    return np.where(places < length, places, 2 * length - 1 - places)


def show_layers(
    shares: np.ndarray, pixels: tuple[np.ndarray, np.ndarray], window: tuple[slice, slice]
) -> np.ndarray:
    """Return what a network is shown of a window, float32 (layer + 1, y, x).

    At last stands 1 where the structure is known, 0 elsewhere.

    Parameters
    ----------
    shares
        Of solid in layers (layer, y, x).
    pixels
        Of these that are shown along y and x, as far as they are known.
    window
        Place along y and x.
    """
    y, x = pixels
    shape = (len(shares) + 1, *(part.stop - part.start for part in window))
    shown = np.zeros(shape, np.float32)
    # Rows first, which are whole: both at once would take three times as long.
    shown[:-1, : len(y), : len(x)] = shares.take(y, axis=1).take(x, axis=2)
    shown[-1, : len(y), : len(x)] = 1
    return shown
