"""Shine-through: voxels of hierarchical gold that k-means misplaces, beside published shares.

First the conditions of an independent program, whose images are counts without further noise:
with as many electrons on each pixel, as there, and with Poisson-distributed numbers, as under a
real beam. Then those of the published study, with noise and in 8 bit, at several settings that
it leaves open, the nearest one first.

K-means of three clusters has optima that are nearly equal, at 2 kV above all: either the bright
cluster is that of the solid, or two clusters share the solid. So the solid fraction jumps where
the misplaced share does not.
"""

import time
from collections.abc import Iterator
from itertools import product

import numpy as np
import xarray as xr

from fibdask.conventions import build_stack
from fibdask.segment import segment_phases
from fibdask.simulate import hierarchical_levelled_wave, simulate_images
from fibdask.simulate.electrons._kernels.transport import draw_electrons, send_electrons
from fibdask.simulate.electrons.materials import MATERIALS
from fibdask.simulate.electrons.records import Acceptance, Place
from fibdask.simulate.electrons.transport import Illumination, pack_structure

VOXEL = 2.5
PIXELS = 400
PLANES = 120  # the last one goes on below
VOLTAGES = (1, 2, 4)
ELECTRONS = 50
EVERYTHING = Acceptance(np.float32(0), np.float32(-1))
PLACE = Place(np.uint64(1), 0, 0, 0, 0)
GAUSSIAN = 0.001**0.5
# Misplaced in %, and the solid fraction, at 1, 2 and 4 kV; the true one is 0.122 and 0.123.
PROGRAM = (2.0, 6.0, 12.7), (0.127, 0.142, 0.189)
STUDY = (4.455, 9.490, 18.626), (0.147, 0.180, 0.258)


def structure() -> xr.DataArray:
    """Return hierarchical gold; the seed is one whose first plane has the mean solid fraction."""
    return hierarchical_levelled_wave(
        (PLANES, PIXELS, PIXELS),
        voxel_size=VOXEL,
        ligament_size=(110, 15),
        solid_fraction=(0.35, 0.35),
        seed=3,
    ).compute()


def counted(labels: np.ndarray, kilovolts: float, *, poisson: bool) -> np.ndarray:
    """Return the electrons that come back from epoxy and gold, by pixel of the first plane."""
    illumination = Illumination(1e3 * kilovolts)
    materials = (MATERIALS["epoxy"], MATERIALS["Au"])
    deepest = int(illumination.reach(materials) / 2 / VOXEL) + 2
    scene = pack_structure(labels[:deepest], (VOXEL,) * 3, deepest=deepest)
    electrons = np.full(labels.shape[1:], ELECTRONS, np.int32)
    if poisson:
        draw_electrons(PLACE, ELECTRONS, electrons)
    counts = np.zeros_like(electrons)
    beam = illumination.beam((VOXEL,) * 3)
    sent = illumination.tables(materials), beam, EVERYTHING, PLACE, electrons
    send_electrons(scene, *sent, counts, np.empty((0, 7), np.float32))
    return counts


def errors(stack: xr.Dataset, truth: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """Return misplaced shares in % and solid fractions of k-means at each voltage alone."""
    solid = [segment_phases(stack, voltage=kv)["phase"].values for kv in VOLTAGES]
    found = [(100 * float((phase != truth).mean()), float(phase.mean())) for phase in solid]
    return tuple(zip(*found, strict=True))


def as_the_program(phase: xr.DataArray) -> None:
    """Print counts and errors under the conditions of the independent program."""
    truth = phase.values[0] > 0
    print(f"counts of {ELECTRONS} electrons, true solid fraction {truth.mean():.4f}")
    print(f"  {'':<24}{'gold':>16}{'pore':>16}{'misplaced/%':>22}{'solid fraction':>24}")
    for name, poisson in (("as many on each pixel", False), ("Poisson-distributed", True)):
        images = [counted(phase.values, kv, poisson=poisson) for kv in VOLTAGES]
        gold, pore = ([image[where].mean() for image in images] for where in (truth, ~truth))
        stack = build_stack(
            {"intensity": np.stack(images)[:, np.newaxis].astype(np.uint16)},
            z=[0.0],
            pixel_size=(VOXEL, VOXEL),
            nominal_thickness=VOXEL,
            voltage=VOLTAGES,
        )
        _print_row(name, *errors(stack, truth), gold, pore)
    _print_row("independent program", *PROGRAM, (21, 23, 23), (4.1, 5.2, 8.4))


def _print_row(name, misplaced, fraction, *means) -> None:
    parts = [" ".join(f"{value:4.1f}" for value in row) for row in means]
    parts.append(" ".join(f"{value:6.2f}" for value in misplaced))
    parts.append(" ".join(f"{value:6.3f}" for value in fraction))
    print(f"  {name:<24}" + "".join(f"  {part}" for part in parts))


def settings() -> Iterator[dict[str, object]]:
    """Yield what the study leaves open: detector, filling of pores, electrons, beam."""
    for electrons, diameter in product((20, 30, 50), (0.0, 5.0)):
        yield {"electrons_per_pixel": electrons, "beam_diameter": diameter}
    yield {"electrons_per_pixel": 20, "detector": "icd"}
    yield {"electrons_per_pixel": 20, "acceptance_angle": 30.0}
    yield {"electrons_per_pixel": 20, "materials": {"pore": "vacuum", "solid": "Au"}}


def segmented(phase: xr.DataArray, options: dict[str, object], gaussian_std: float):
    """Return misplaced shares and solid fractions of simulated images."""
    stack = simulate_images(
        phase,
        voltage=VOLTAGES,
        model="monte_carlo",
        slices=[0.0],
        gaussian_std=gaussian_std,
        seed=1,
        **options,
    ).compute()
    return errors(stack, stack["true_phase"].values)


def deviation(found) -> float:
    """Return the mean factor by which errors and solid fractions differ from the study's."""
    logarithms = np.log(np.array(found) / np.array(STUDY))
    return float(np.exp(np.abs(logarithms).mean()))


def as_the_study(phase: xr.DataArray) -> None:
    """Print errors with noise, in 8 bit, at settings in the order of their deviation."""
    rows = []
    for options, gaussian_std in product(settings(), (0.0, GAUSSIAN)):
        found = segmented(phase, options, gaussian_std)
        rows.append((deviation(found), {**options, "gaussian_std": gaussian_std}, found))
    rows.sort(key=lambda row: row[0])
    print("8-bit images; mean factor to the study, misplaced/%, solid fraction")
    _print_row("published study", *STUDY)
    for factor, options, found in rows:
        _print_row(f"factor {factor:.2f}", *found)
        named = (f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in options.items())
        print(f"      {', '.join(named)}")


def main() -> None:
    """Print both comparisons."""
    started = time.perf_counter()
    phase = structure()
    as_the_program(phase)
    as_the_study(phase)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
