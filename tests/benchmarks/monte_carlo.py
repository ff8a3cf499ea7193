"""Speed of the transport of electrons: in lockstep, one after the other, and by two workers.

The structure is hierarchical gold in epoxy, in voxels of 2.5 nm. Rates are the best of a few
runs, timed in turn, so that a busy machine slows both alike. The limit is that of the compiled
loop over the lanes alone, of electrons that keep to the first plane with all their energy: none
is started, and none is looked at to see whether it has ended.
"""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import lru_cache
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from fibdask.simulate import hierarchical_levelled_wave
from fibdask.simulate.electrons._kernels.transport import (
    advance,
    draw_electrons,
    empty_lanes,
    launch,
    put,
    send_electrons,
)
from fibdask.simulate.electrons.materials import MATERIALS
from fibdask.simulate.electrons.records import LANES, Acceptance, Place
from fibdask.simulate.electrons.transport import Illumination, Losses, pack_structure
from tests.simulate.naive_transport import send_one_by_one

VOXEL = (2.5, 2.5, 2.5)
PIXELS = 192
RUNS = 3
EVENTS_OF_LIMIT = 20_000  # of each lane
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


class Rates(NamedTuple):
    """Of one core."""

    together: float
    """Million electrons/s in lockstep."""
    alone: float
    """One after the other; the counts are equal."""
    events: float
    """Million events/s in lockstep."""
    limit: float
    """Million events/s of the loop over the lanes alone."""


@lru_cache
def labels() -> np.ndarray:
    """Return the structure."""
    return hierarchical_levelled_wave(
        (200, PIXELS, PIXELS),
        voxel_size=2.5,
        ligament_size=(110, 15),
        solid_fraction=(0.35, 0.35),
        seed=1,
    ).values


@lru_cache
def scene(pore: str, kilovolts: int, losses: Losses) -> tuple[Any, ...]:
    """Return the arguments of `send_electrons` up to the electrons, and these."""
    illumination = Illumination(1e3 * kilovolts, losses=losses)
    materials = (MATERIALS[pore], MATERIALS["Au"])
    reach = illumination.reach(materials)
    depth = 500.0 if np.isinf(reach) else reach / 2
    planes = int(np.ceil(depth / VOXEL[0])) + 1
    structure = pack_structure(labels()[:planes], VOXEL, deepest=planes)
    electrons = np.empty((PIXELS, PIXELS), np.int32)
    draw_electrons(PLACE, ELECTRONS[kilovolts], electrons)
    tables, beam = illumination.tables(materials), illumination.beam(VOXEL)
    return structure, tables, beam, EVERYTHING, PLACE, electrons


@njit
def fly_for_ever(structure, tables, beam, place, events):
    """Take the electrons of all lanes through events, from the first plane at full energy."""
    lanes = empty_lanes()
    for i in range(LANES):
        put(lanes, i, launch(structure, beam, place, i, i, 0))
    for _ in range(events):
        advance(structure, tables, lanes)
        lanes.energy[:] = beam.energy
        lanes.voxel_z[:] = 0


def rates(pore: str, kilovolts: int, losses: Losses = "continuous") -> Rates:
    """Return the rates at one voltage."""
    *setting, electrons = scene(pore, kilovolts, losses)
    few, counts = electrons // 4, np.zeros_like(electrons)
    ends, exits = np.zeros(4, int), np.empty((0, 7), np.float32)
    structure, tables, beam, _, place = setting
    seconds = _best_times(
        lambda: send_electrons(*setting, electrons, counts, exits),
        lambda: send_one_by_one(*setting, few, counts, ends),
        lambda: fly_for_ever(structure, tables, beam, place, EVENTS_OF_LIMIT),
    )
    events = ends[3] / ends[:3].sum()
    together = electrons.sum() / seconds[0] / 1e6
    limit = LANES * EVENTS_OF_LIMIT / seconds[2] / 1e6
    return Rates(together, few.sum() / seconds[1] / 1e6, together * events, limit)


def _best_times(*functions: Callable[[], object]) -> list[float]:
    """Return the shortest times of functions that are called in turn; the first call compiles."""
    times = np.empty((RUNS + 1, len(functions)))
    for run, k in np.ndindex(times.shape):
        started = time.perf_counter()
        functions[k]()
        times[run, k] = time.perf_counter() - started
    return [float(best) for best in times[1:].min(axis=0)]


def fly(kilovolts: int) -> None:
    """Send all electrons once, in a worker."""
    *setting, electrons = scene("epoxy", kilovolts, "continuous")
    send_electrons(*setting, electrons, np.zeros_like(electrons), np.empty((0, 7), np.float32))


def speed_up(kilovolts: int) -> float:
    """Return how many times as much two processes do as one, in the same time, of equal work."""
    with ExitStack() as stack:
        workers = [
            stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
            for _ in range(2)
        ]

        def on(some: list[ProcessPoolExecutor]) -> None:
            for flown in [worker.submit(fly, kilovolts) for worker in some for _ in range(2)]:
                flown.result()

        on(workers)  # compiles
        one, two = _best_times(lambda: on(workers[:1]), lambda: on(workers))
    return 2 * one / two


def distance_rate() -> float:
    """Return million voxels/s of packing with distances."""
    (seconds,) = _best_times(lambda: pack_structure(labels(), VOXEL, deepest=1))
    return labels().size / seconds / 1e6


def main() -> None:
    """Print rates at 1, 2 and 4 kV."""
    _print_row("on one core at kV", list(ELECTRONS))
    for pore, losses in (("epoxy", "continuous"), ("vacuum", "continuous"), ("epoxy", "discrete")):
        found = [rates(pore, kilovolts, losses) for kilovolts in ELECTRONS]
        _print_row(f"gold in {pore}, {losses} losses: million electrons/s", [r[0] for r in found])
        _print_row("  one after the other", [r.alone for r in found])
        _print_row("  ratio", [r.together / r.alone for r in found])
        _print_row("  million events/s", [r.events for r in found])
        _print_row("  share of the limit", [r.events / r.limit for r in found])
    for name, row in REFERENCE.items():
        _print_row(f"reference: {name.strip()}", row)
    print(f"distances: {distance_rate():.0f} million voxels/s")
    _print_row("two workers to one", [speed_up(kilovolts) for kilovolts in ELECTRONS])


def _print_row(name: str, row) -> None:
    print(f"{name:<58}" + "".join(f"{value:8.2f}" for value in row))


if __name__ == "__main__":
    main()
