"""Slow, obvious local thickness: every ball around every voxel of the solid."""

import numpy as np
from scipy.ndimage import distance_transform_edt


def local_thickness(phase, spacing, max_thickness):
    places = np.argwhere(np.ones_like(phase)) * spacing
    solid = phase.ravel() == 1
    squares = ((places[:, None] - places) ** 2).sum(axis=2)
    limit = (max_thickness / 2) ** 2
    nearest_pore = squares[:, ~solid].min(axis=1, initial=limit)
    thickness = np.zeros(len(places))
    for centre in np.flatnonzero(solid):
        ball = squares[centre] < nearest_pore[centre] * (1 - 1e-9)  # ties are no rounding
        thickness[ball] = np.maximum(thickness[ball], 2 * np.sqrt(nearest_pore[centre]))
    return thickness.reshape(phase.shape)


def thickness_by_sizes(phase):
    """Return it as PoreSpy defines it, of cubic voxels: distances to all voxels of a radius."""
    radii = distance_transform_edt(phase)
    thickness = np.zeros(phase.shape)
    for radius in np.unique(radii[radii > 0]):
        thickness[distance_transform_edt(radii < radius) < radius] = 2 * radius
    return thickness
