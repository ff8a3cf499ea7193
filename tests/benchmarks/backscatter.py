"""Backscattered electrons: of bulks against measured ones, their energies, gold under epoxy.

`python -m tests.benchmarks.backscatter [FOLDER]`: the folder holds `measured_low_energy.csv`
(element, source, E_keV, eta) and `heinrich_measured.csv` (Z, then a column for each energy).
"""

import csv
import sys
from pathlib import Path

import numpy as np

from fibdask.simulate import backscatter_coefficient, backscattered_electrons
from fibdask.simulate.electrons._kernels.transport import draw_electrons, send_electrons
from fibdask.simulate.electrons.elements import ELEMENTS
from fibdask.simulate.electrons.materials import MATERIALS
from fibdask.simulate.electrons.records import Acceptance, Place
from fibdask.simulate.electrons.transport import CUTOFF_EV, Illumination, pack_structure

FOLDER = Path("../shared/data/backscatter")
SPREAD = {"Au": 0.05, "Cu": 0.15, "Si": 0.12, "C": 0.35}  # of laboratories at 1-6 keV
ELECTRONS = 100_000
EVERYTHING = Acceptance(np.float32(0), np.float32(-1))
PARTS = (0.99, 0.98, 0.95, 0.90, 0.80, 0.50)
# Shares above these parts of the energy by independent programs: continuous losses, discrete ones
# as here, and those of a dielectric function.
ENERGIES = {
    ("Au", 1): (
        (0.030, 0.060, 0.141, 0.256, 0.440, 0.771),
        (0.157, 0.175, 0.243, 0.342, 0.494, 0.786),
        (0.206, 0.223, 0.295, 0.401, 0.551, 0.808),
    ),
    ("Au", 2): (
        (0.037, 0.072, 0.166, 0.299, 0.496, 0.819),
        (0.117, 0.150, 0.238, 0.355, 0.528, 0.825),
        (0.169, 0.207, 0.313, 0.435, 0.594, 0.847),
    ),
    ("Au", 4): (
        (0.038, 0.074, 0.171, 0.311, 0.524, 0.856),
        (0.085, 0.121, 0.217, 0.346, 0.542, 0.856),
        (0.138, 0.192, 0.308, 0.438, 0.609, 0.872),
    ),
    ("epoxy", 1): (
        (0.010, 0.020, 0.052, 0.105, 0.223, 0.604),
        (0.041, 0.053, 0.088, 0.144, 0.266, 0.642),
        (0.041, 0.051, 0.097, 0.162, 0.293, 0.673),
    ),
}
LAYERS = {  # keV: thickness of epoxy over gold in nm
    1: (0, 2.5, 5, 7.5, 10, 15, 20),
    2: (0, 5, 10, 20, 30, 40, 50),
    4: (0, 20, 50, 90, 110, 150, 200),
}


def read_measured(folder: Path) -> list[tuple[str, str, float, float]]:
    """Return rows (element, source, keV, η) of both tables, for named materials."""
    lines = (folder / "measured_low_energy.csv").read_text().splitlines()
    fields = [line.split(",") for line in lines if not line.startswith("#")][1:]
    # Names of sources may hold commas.
    rows = [(row[0], row[1], float(row[-2]), float(row[-1])) for row in fields]
    by_number = {str(ELEMENTS[name].number): name for name in MATERIALS if name in ELEMENTS}
    with (folder / "heinrich_measured.csv").open() as file:
        for row in csv.DictReader(file):
            element = by_number.get(row.pop("Z"))
            if element is not None:
                energies = {float(key.split()[0]): value for key, value in row.items() if value}
                rows += [(element, "Heinrich", kev, float(eta)) for kev, eta in energies.items()]
    return [row for row in rows if row[0] in MATERIALS and 1 <= row[2] <= 50]


def eta(element: str, kev: float, elastic: str = "mott") -> float:
    """Return the simulated coefficient."""
    return backscatter_coefficient(
        element, beam_energy_kev=kev, electrons=ELECTRONS, seed=1, elastic=elastic
    )


def compare(rows: list[tuple[str, str, float, float]]) -> None:
    """Print, for each element and energy, what is measured and simulated."""
    print(f"{'':<4}{'keV':>6}{'mott':>8}{'browning':>10}{'measured':>18}{'':>4}")
    places = sorted({(row[0], round(row[2])) for row in rows})
    for element, kev in places:
        measured = [row[3] for row in rows if row[0] == element and abs(row[2] - kev) < 0.1]
        if not measured:
            continue
        found, low, high = eta(element, kev), min(measured), max(measured)
        inside = low <= found <= high
        nearest = min(measured, key=lambda value: abs(value - found))
        allowed = SPREAD.get(element, 0.05) * nearest if kev <= 6 else max(0.02, 0.08 * nearest)
        verdict = "ok" if inside or abs(found - nearest) <= allowed else "OUT"
        browning = eta(element, kev, "browning")
        span = f"{low:.3f} … {high:.3f} ({len(measured)})"
        print(f"{element:<4}{kev:>6}{found:>8.3f}{browning:>10.3f}{span:>20} {verdict}")


def energies() -> None:
    """Print shares above parts of the energy of the beam, with both kinds of losses."""
    print(f"{'':<26}{'η':>8}" + "".join(f"{f'> {part}':>8}" for part in PARTS))
    for (material, kev), (continuous, discrete, dielectric) in ENERGIES.items():
        for losses, published in (("continuous", continuous), ("discrete", discrete)):
            options = {"beam_energy_kev": kev, "electrons": 4 * ELECTRONS, "seed": 1}
            exits = backscattered_electrons(material, losses=losses, **options)
            shares = [float((exits.energy > 1e3 * kev * part).mean()) for part in PARTS]
            share = exits.sizes["electron"] / (4 * ELECTRONS)
            _print_shares(f"{material} {kev} keV, {losses}", share, shares)
            _print_shares("  published", None, published)
        _print_shares("  dielectric", None, dielectric)


def _print_shares(name, share, shares) -> None:
    eta = "" if share is None else f"{share:.4f}"
    print(f"{name:<26}{eta:>8}" + "".join(f"{value:8.3f}" for value in shares))


def shine_through() -> None:
    """Print η of gold under epoxy, all energies and, with discrete losses, above 0.9."""
    for kev, thicknesses in LAYERS.items():
        row = [layered(kev, thickness) for thickness in thicknesses]
        print(f"{kev} keV, epoxy over gold in nm: {', '.join(map(str, thicknesses))}")
        for name, values in zip(("all", "E > 0.9"), zip(*row, strict=True), strict=True):
            print(f"  {name:<8}" + "".join(f"{value:8.4f}" for value in values))


def layered(kev: float, thickness: float) -> tuple[float, float]:
    """Return η and its part above 0.9 of the energy of gold under a layer of epoxy."""
    planes, step = (20, thickness / 20) if thickness else (0, 1.0)
    labels = np.zeros((planes + 1, 19, 19), np.uint8)
    labels[planes:] = 1
    materials = (MATERIALS["epoxy"], MATERIALS["Au"])
    place = Place(np.uint64(1), 0, 0, 0, 0)
    electrons = np.empty((19, 19), np.int32)
    draw_electrons(place, 2 * ELECTRONS / 19**2, electrons)
    shares = []
    for least, losses in ((CUTOFF_EV, "continuous"), (900 * kev, "discrete")):
        sent = Illumination(1e3 * kev, cutoff_ev=least, losses=losses)
        size = (step, sent.reach(materials) / 8, sent.reach(materials) / 8)
        structure = pack_structure(labels, size, deepest=2**20)
        counts = np.zeros_like(electrons)
        scene = structure, sent.tables(materials), sent.beam(size), EVERYTHING, place
        send_electrons(*scene, electrons, counts, np.empty((0, 7), np.float32))
        shares.append(counts.sum() / electrons.sum())
    return shares[0], shares[1]


def main() -> None:
    """Print all tables."""
    compare(read_measured(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
    energies()
    shine_through()


if __name__ == "__main__":
    main()
