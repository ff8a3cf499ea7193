"""What Monte Carlo images are made of: paths, backscatter, shine-through, and the images.

    python examples/monte_carlo.py [OUT.html] [--electrons 20000] [--size 96] [--measured ETA.csv]

ETA.csv holds measured backscatter coefficients: element, anything, energy in keV, coefficient.
"""

import argparse
from pathlib import Path

import numpy as np
import xarray as xr

import fibdask
from fibdask.report import write_simulation_report
from fibdask.simulate import electron_trajectories

MATERIALS = ("C", "Al", "Si", "Cu", "Ag", "Au")
ENERGIES = (0.5, 0.7, 1, 1.5, 2, 3, 5, 8, 12, 20, 30, 49)  # keV
VOLTAGES = (1, 2, 4)  # kV
DEPTHS = (0, 2.5, 5, 7.5, 10, 15, 20, 25, 30, 40, 50, 70, 90, 110, 150, 200)  # nm


def backscatter(electrons: int, measured: str | None) -> xr.Dataset:
    """Return coefficients against energy, with measured points if there are any."""
    eta = [
        [
            fibdask.backscatter_coefficient(m, beam_energy_kev=e, electrons=electrons, seed=1)
            for e in ENERGIES
        ]
        for m in MATERIALS
    ]
    coords = {"material": list(MATERIALS), "energy": list(ENERGIES)}
    found = xr.Dataset({"backscatter_coefficient": (("material", "energy"), eta)}, coords)
    if measured is None:
        return found
    lines = Path(measured).read_text(encoding="utf-8").splitlines()
    rows = [line.split(",") for line in lines if line.startswith(tuple(f"{m}," for m in MATERIALS))]
    found["measured_coefficient"] = ("point", [float(row[-1]) for row in rows])
    return found.assign_coords(
        measured_material=("point", [row[0] for row in rows]),
        measured_energy=("point", [float(row[-2]) for row in rows]),
    )


def images(size: int) -> xr.Dataset:
    """Return a slice of hierarchical nanoporous gold in epoxy at three voltages."""
    gold = fibdask.hierarchical_levelled_wave((100, size, size), voxel_size=2.5, seed=1)
    return fibdask.simulate_images(
        gold, model="monte_carlo", slices=[0.0], voltage=VOLTAGES, seed=1
    )


def shine_through(electrons: int) -> xr.DataArray:
    """Return the mean intensity of layers of epoxy over gold against their thickness."""
    bottom, side = max(DEPTHS), 16
    z = np.arange(0, bottom + 5, 2.5)
    phase = np.zeros((len(z), side, side), np.uint8)
    phase[z >= bottom] = 1
    axes = {"z": z, "y": 2.5 * np.arange(side), "x": 2.5 * np.arange(side)}
    coords = {name: (name, values, {"units": "nm"}) for name, values in axes.items()}
    attrs = {"flag_values": [0, 1], "flag_meanings": "pore solid"}
    layer = xr.DataArray(phase, coords, ("z", "y", "x"), "phase", attrs)
    stack = fibdask.simulate_images(
        layer,
        model="monte_carlo",
        slices=[bottom - depth for depth in reversed(DEPTHS)],
        voltage=VOLTAGES,
        electrons_per_pixel=electrons / side**2,
        gaussian_std=0,
        dtype="float32",
        seed=1,
    )
    mean = stack["intensity"].mean(("y", "x")).compute()
    return mean.assign_coords(z=bottom - mean["z"]).rename(z="depth").sortby("depth")


def main(
    out: str = "monte_carlo.html",
    *,
    electrons: int = 20_000,
    size: int = 96,
    measured: str | None = None,
) -> Path:
    """Simulate, print the figures and write the page."""
    paths = electron_trajectories("Au", beam_energy_kev=2, electrons=150, seed=1)
    print(f"{float(paths['backscattered'].mean()):.0%} of the electrons shown come back from gold")
    coefficients = backscatter(electrons, measured)
    print(coefficients["backscatter_coefficient"].to_pandas().round(3))
    signal = shine_through(electrons)
    print(signal.to_pandas().round(3).T)
    return write_simulation_report(
        out,
        trajectories=paths,
        backscatter=coefficients,
        images=images(size),
        shine_through=signal,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", default="monte_carlo.html")
    parser.add_argument("--electrons", type=int, default=20_000, help="for each coefficient")
    parser.add_argument("--size", type=int, default=96, help="of the image in pixels")
    parser.add_argument("--measured", help="table of measured backscatter coefficients")
    print(main(**vars(parser.parse_args())))
