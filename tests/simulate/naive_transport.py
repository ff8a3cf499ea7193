"""Slow, obvious versions of the transport of electrons, compiled so that tests end."""

import math

import numpy as np
from numba import njit
from scipy import ndimage

from fibdask.simulate.electrons._kernels.transport import ESCAPED, FLYING, accepted, event, launch
from fibdask.simulate.electrons.elements import ELEMENTS


@njit
def send_one_by_one(structure, tables, beam, acceptance, place, electrons, counts, ends):
    """Count electrons as `send_electrons` does, following one after the other to its end.

    Added to `ends` are those that come out, reach the deepest plane, or end in between, and last
    the events of all.
    """
    for y in range(len(counts)):
        for x in range(counts.shape[1]):
            for number in range(electrons[y, x]):
                electron = launch(structure, beam, place, y, x, number)
                status = FLYING
                while status == FLYING:
                    electron, status = event(structure, tables, electron)
                    ends[3] += 1
                if status == ESCAPED:
                    ends[0] += 1
                    counts[y, x] += accepted(
                        acceptance, beam, electron[0], electron[7], electron[8]
                    )
                else:
                    ends[1 if electron[1] >= structure.deepest else 2] += 1


@njit
def browning_cross_section(z, kev):
    """Total cross-section in nm² of Browning et al. (1994)."""
    root = math.sqrt(kev)
    return 3e-4 * z**1.7 / (kev + 0.005 * z**1.7 * root + 0.0007 * z**2 / root)


@njit
def browning_cosine(z, kev, rng):
    """Draw the cosine of a scattering angle: screened Rutherford or isotropic."""
    odds = 300 * kev ** (1 - z / 2000) / z + z**3 / (3e5 * kev)
    u = rng.random()
    if rng.random() * (1 + odds) > odds:
        return 1 - 2 * u
    screening = 0.007 / kev
    return 1 - 2 * screening * u / (1 + screening - u)


@njit
def joy_luo_loss(atoms, kev):
    """Energy loss in eV/nm of rows (Z, J in keV, atoms/nm³)."""
    loss = 0.0
    for z, potential, density in atoms:
        k = 0.731 + 0.0688 * math.log10(z)
        loss += density * z * math.log(1.166 * (kev + k * potential) / potential)
    return 7.85 / 602.214076 * loss / kev


@njit
def random_direction_change(direction, cosine, rng):
    """Turn a unit vector by an angle, at any azimuth, by means of two vectors across it."""
    helper = np.array([1.0, 0.0, 0.0]) if abs(direction[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    first = np.cross(direction, helper)
    first /= math.sqrt((first**2).sum())
    second = np.cross(direction, first)
    azimuth = 2 * math.pi * rng.random()
    sine = math.sqrt(1 - cosine**2)
    across = math.cos(azimuth) * first + math.sin(azimuth) * second
    return cosine * direction + sine * across


@njit
def electron_comes_out(labels, size, materials, kev, rng):
    """Follow one electron by steps of at most a tenth of a voxel, in double precision.

    It enters a random place; the structure is repeated along y and x by mirror images.
    """
    n_z, n_y, n_x = labels.shape
    place = np.array([1e-9, rng.random() * n_y, rng.random() * n_x]) * size
    direction = np.array([1.0, 0.0, 0.0])
    free = -math.log(rng.random())
    longest = size.min() / 10
    while kev > 0.05:
        z = min(int(place[0] / size[0]), n_z - 1)
        y = math.floor(place[1] / size[1]) % (2 * n_y)
        x = math.floor(place[2] / size[2]) % (2 * n_x)
        atoms = materials[labels[z, min(y, 2 * n_y - 1 - y), min(x, 2 * n_x - 1 - x)]]
        sections = np.array([row[2] * browning_cross_section(row[0], kev) for row in atoms])
        step = min(free / sections.sum(), longest)
        kev -= joy_luo_loss(atoms, kev) * step / 1000
        place += step * direction
        if place[0] < 0:
            return kev > 0.05
        free -= step * sections.sum()
        if free < 1e-12:
            free = -math.log(rng.random())
            which = np.searchsorted(np.cumsum(sections[:-1]), rng.random() * sections.sum())
            cosine = browning_cosine(atoms[which, 0], kev, rng)
            direction = random_direction_change(direction, cosine, rng)
    return False


@njit
def share_that_comes_out(labels, size, materials, kev, electrons, rng):
    """Share of electrons on a structure (z, y, x) that come out; voxel sizes in nm."""
    count = 0
    for _ in range(electrons):
        count += electron_comes_out(labels, size, materials, kev, rng)
    return count / electrons


def atoms_of(material):
    """Rows (Z, J in keV, atoms/nm³) of a material."""
    elements = [ELEMENTS[symbol] for symbol in material.composition]
    numbers = [(e.number, e.mean_ionisation_potential / 1000) for e in elements]
    return np.column_stack([numbers, list(material.atom_densities.values())])


def distances_to_other_labels(labels, cap):
    """Chessboard distance in voxels to the nearest voxel of another label, capped."""
    distances = np.full(labels.shape, cap)
    for label in np.unique(labels):
        inside = labels == label
        if not inside.all():
            distance = ndimage.distance_transform_cdt(inside, metric="chessboard")
            distances[inside] = np.minimum(distance, cap)[inside]
    return distances
