"""What networks of images are shown of a structure: solid in layers below a face, and where first.

Layers are as thick as things are told apart at their depth. Their depths count in units of the
voltage's half-contrast depth, so that voltages look alike. Where pores are empty, it matters more
how far a pixel sees, and how far its neighbours do: depth and thickness of the first solid.
"""

from dataclasses import dataclass

import numpy as np

from ..electrons.attenuation import DETECTORS
from . import _kernels as kernels

RUNS = 3
"""Things that are shown of the first solid below each pixel, after the layers."""
_DEEPEST = 1000.0  # nm; as deep as electrons are followed in vacuum
_LOGARITHM = 6.0  # more than that of the deepest in half-contrast depths of the lowest voltage
_WIDE = 32.0  # pixels: how far away walls still hide the bottom of a pore


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

    def look(
        self,
        phase: np.ndarray,
        depths: np.ndarray,
        weights: np.ndarray,
        voltage: float,
        pixel_size: tuple[float, float],
        *,
        vacuum: bool,
    ) -> np.ndarray:
        """Return what is seen below a face, from 0 to 1, float32 (layer + `RUNS`, y, x).

        Of each layer, the share of solid; of the first solid, its depth, as a logarithm and beside
        the size of pixels, and its thickness beside the half-contrast depth.

        Parameters
        ----------
        phase
            Of the planes from the face down, uint8 (plane, y, x).
        depths
            Of the tops of these planes in nm (plane).
        weights
            As `weights` returns them, of as many planes.
        voltage
            In kV.
        pixel_size
            Along y and x in nm.
        vacuum
            Whether pores are empty.
        """
        seen = np.zeros((weights.shape[1] + RUNS, *phase.shape[1:]), np.float32)
        kernels.add_planes(phase, weights, seen[:-RUNS])
        deepest = self.depths(voltage, vacuum=vacuum)[-1]
        runs = np.empty((2, *phase.shape[1:]), np.float32)
        kernels.find_first_runs(phase, np.append(depths, deepest).astype(np.float32), runs)
        begin, thickness = runs[0], runs[1] - runs[0]
        unit = np.float32(half_contrast_depth(voltage))
        wide = np.float32(_WIDE * np.sqrt(np.prod(pixel_size)))
        seen[-3] = np.log1p(begin / unit) / np.float32(_LOGARITHM)
        seen[-2] = begin / (begin + wide)
        seen[-1] = thickness / (thickness + unit)
        return seen


def half_contrast_depth(voltage: float) -> float:
    """Return the depth in nm of gold under epoxy that shows with half its contrast."""
    return float(DETECTORS["tld"].attenuation_length(np.array(voltage)) * np.log(2))


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
    seen: np.ndarray, pixels: tuple[np.ndarray, np.ndarray], window: tuple[slice, slice]
) -> np.ndarray:
    """Return what a network is shown of a window, float32 (layer + 1, y, x).

    At last stands 1 where the structure is known, 0 elsewhere.

    Parameters
    ----------
    seen
        As `Layers.look` returns it (layer, y, x).
    pixels
        Of it that are shown along y and x, as far as they are known.
    window
        Place along y and x.
    """
    y, x = pixels
    shape = (len(seen) + 1, *(part.stop - part.start for part in window))
    shown = np.zeros(shape, np.float32)
    # Rows first, which are whole: both at once would take three times as long.
    shown[:-1, : len(y), : len(x)] = seen.take(y, axis=1).take(x, axis=2)
    shown[-1, : len(y), : len(x)] = 1
    return shown
