"""Speed of the transport of electrons: in lockstep, and one after the other, on one core.

The structure is hierarchical gold in epoxy, in voxels of 2.5 nm. Rates are the best of a few
runs, timed in turn, so that a busy machine slows both alike.
"""

import time

import numpy as np

from fibdask.simulate import hierarchical_levelled_wave
from fibdask.simulate._kernels_transport import draw_electrons, send_electrons
from fibdask.simulate.materials import MATERIALS
from fibdask.simulate.records import Acceptance, Place
from fibdask.simulate.transport import Illumination, pack_structure
from tests.naive_simulate_transport import send_one_by_one

VOXEL = (2.5, 2.5, 2.5)
PIXELS = 192
RUNS = 3
ELECTRONS = {1: 20.0, 2: 12.0, 4: 6.0}  # on a pixel, by kV
PLACE = Place(np.uint64(1), 0, 0, 0, 0)
EVERYTHING = Acceptance(np.float32(0), np.float32(-1))
# Million electrons/s on one core of a program in C and its trial in numba, without its
# incoherent factor, on a sponge of 40 % gold in voxels of 5 nm; another machine, other noise.
REFERENCE = {
    "C, one after the other": (1.07, 0.50, 0.25),
    "numba, in lockstep": (3.6, 1.8, 0.77),
    "  and with range rejection": (5.9, 3.1, 1.25),
}


def rates(labels: np.ndarray, pore: str, kilovolts: float, mean: float) -> tuple[float, float]:
    """Return million electrons/s in lockstep and one after the other; the counts are equal."""
    illumination = Illumination(1e3 * kilovolts)
    materials = (MATERIALS[pore], MATERIALS["Au"])
    reach = illumination.reach(materials)
    depth = 500.0 if np.isinf(reach) else reach / 2
    planes = int(np.ceil(depth / VOXEL[0])) + 1
    structure = pack_structure(labels[:planes], VOXEL, deepest=planes)
    scene = structure, illumination.tables(materials), illumination.beam(VOXEL), EVERYTHING, PLACE
    electrons = np.empty((PIXELS, PIXELS), np.int32)
    draw_electrons(PLACE, mean, electrons)
    exits = np.empty((0, 7), np.float32)
    together = _rate(send_electrons, (*scene, electrons), (exits,))
    few = electrons // 4
    alone = _rate(send_one_by_one, (*scene, few), ())
    return together, alone


def _rate(function, arguments, rest) -> float:
    electrons = arguments[-1]
    best = np.inf
    for run in range(RUNS + 1):
        counts = np.zeros_like(electrons)
        started = time.perf_counter()
        function(*arguments, counts, *rest)
        if run:  # the first one compiles
            best = min(best, time.perf_counter() - started)
    return electrons.sum() / best / 1e6


def distance_rate(labels: np.ndarray) -> float:
    """Return million voxels/s of packing with distances."""
    pack_structure(labels[:2], VOXEL, deepest=1)
    started = time.perf_counter()
    pack_structure(labels, VOXEL, deepest=1)
    return labels.size / (time.perf_counter() - started) / 1e6


def main() -> None:
    """Print rates at 1, 2 and 4 kV."""
    labels = hierarchical_levelled_wave(
        (200, PIXELS, PIXELS),
        voxel_size=2.5,
        ligament_size=(110, 15),
        solid_fraction=(0.35, 0.35),
        seed=1,
    ).values
    print(f"{'million electrons/s on one core':<34}{'1 kV':>8}{'2 kV':>8}{'4 kV':>8}")
    for pore in ("epoxy", "vacuum"):
        found = [rates(labels, pore, kv, mean) for kv, mean in ELECTRONS.items()]
        together, alone = zip(*found, strict=True)
        _print_row(f"gold in {pore}, in lockstep", together)
        _print_row("  one after the other", alone)
        _print_row("  ratio", [a / b for a, b in found])
    for name, row in REFERENCE.items():
        _print_row(f"reference: {name.strip()}", row)
    print(f"distances: {distance_rate(labels):.0f} million voxels/s")


def _print_row(name: str, row) -> None:
    print(f"{name:<34}" + "".join(f"{value:8.2f}" for value in row))


if __name__ == "__main__":
    main()
