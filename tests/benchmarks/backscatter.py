"""Backscatter coefficients of bulks against measured ones, and shine-through of gold under epoxy.

`python -m tests.benchmarks.backscatter [FOLDER]`: the folder holds `measured_low_energy.csv`
(element, source, E_keV, eta) and `heinrich_measured.csv` (Z, then a column for each energy).
"""

import csv
import sys
from pathlib import Path

import numpy as np

from fibdask.simulate import backscatter_coefficient
from fibdask.simulate._kernels_transport import draw_electrons, send_electrons
from fibdask.simulate.elements import ELEMENTS
from fibdask.simulate.materials import MATERIALS
from fibdask.simulate.records import Acceptance, Place
from fibdask.simulate.transport import Illumination, pack_structure

FOLDER = Path("../shared/data/backscatter")
SPREAD = {"Au": 0.05, "Cu": 0.15, "Si": 0.12, "C": 0.35}  # of laboratories at 1-6 keV
ELECTRONS = 100_000
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


def shine_through() -> None:
    """Print η of gold under epoxy, all energies and above 0.9 of the beam's."""
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
    sent = Illumination(1e3 * kev)
    materials = (MATERIALS["epoxy"], MATERIALS["Au"])
    size = (step, sent.reach(materials) / 8, sent.reach(materials) / 8)
    structure = pack_structure(labels, size, deepest=2**20)
    place = Place(np.uint64(1), 0, 0, 0, 0)
    electrons = np.empty((19, 19), np.int32)
    draw_electrons(place, 2 * ELECTRONS / 19**2, electrons)
    shares = []
    for least in (0, 900 * kev):
        counts = np.zeros_like(electrons)
        seen = Acceptance(np.float32(least), np.float32(-1))
        scene = structure, sent.tables(materials), sent.beam(size), seen, place
        send_electrons(*scene, electrons, counts, np.empty((0, 7), np.float32))
        shares.append(counts.sum() / electrons.sum())
    return shares[0], shares[1]


def main() -> None:
    """Print both tables."""
    compare(read_measured(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
    shine_through()


if __name__ == "__main__":
    main()
