"""Networks that learn from images by the network that ships, and from as many by Monte Carlo.

make bench-learned_data simulates the same structures of hierarchical gold in epoxy twice, by Monte
Carlo and by the network, and trains a small network of windows on either, of the same first
weights, samples and steps. It prints misplaced voxels and solid (MP, MGP, %) and mean Dice scores
(MDS) of both on slices by Monte Carlo that neither has seen, at all voltages and at each, and the
ratio of MP; then how alike both are, as a mean Dice score, on images of a third kind, by the
attenuation model, and on those by Monte Carlo. Data and networks are kept in --out.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import fibdask
from fibdask import save_stack, segment_phases, segmentation_errors, simulate_images, train

VOLTAGES = (1.0, 2.0, 4.0)
MODELS = ("monte_carlo", "learned")
LEARNT = {11: ((110, 15), (0.35, 0.35)), 12: ((70, 18), (0.5, 0.4)), 13: ((110, 17), (0.35, 0.4))}
"""Ligament sizes in nm and solid fractions of structures to learn from, by their seeds."""
UNSEEN, THIRD = 14, 15
"""Seeds of those that are judged by."""
VOXEL = 2.5  # nm
EVERY = 4  # planes of a slice
BELOW = 60  # planes below the last slice
PUBLISHED = "published, of another learned simulator: MDS 0.83 between both on recorded images"


def structure(seed: int, side: int, slices: int) -> xr.DataArray:
    """Return hierarchical gold."""
    sizes, fractions = LEARNT.get(seed, ((110, 15), (0.35, 0.35)))
    phase: xr.DataArray = fibdask.hierarchical_levelled_wave(
        (EVERY * slices + BELOW, side, side),
        voxel_size=VOXEL,
        ligament_size=sizes,
        solid_fraction=fractions,
        seed=seed,
    ).compute()
    return phase


def images(seed: int, model: str, folder: Path, size: tuple[int, int]) -> Path:
    """Simulate images of a structure, unless they are there, as `fibdask simulate` leaves them."""
    made = folder / f"{seed}-{model}"
    if not (made / "simulate.zarr").exists():
        phase = structure(seed, *size)
        options: dict[str, Any] = {"electrons_per_pixel": 60.0, "gaussian_std": 0.0}
        options |= {"dtype": "float32", "seed": 100 + seed}
        slices = phase["z"].values[: EVERY * size[1] : EVERY].tolist()
        began = time.perf_counter()
        stack = simulate_images(phase, voltage=VOLTAGES, slices=slices, model=model, **options)
        save_stack(phase.to_dataset(name="phase"), made / "structure.zarr")
        save_stack(stack, made / "simulate.zarr")
        print(f"{made.name}: {time.perf_counter() - began:.0f} s", flush=True)
    return made


def taught(model: str, folder: Path, size: tuple[int, int], steps: int) -> Path:
    """Train a network on images by a model; both are judged, when trained, by Monte Carlo."""
    began = time.perf_counter()
    path = train(
        {
            "data": {
                "train": [str(images(seed, model, folder, size)) for seed in LEARNT],
                "validation": [str(images(UNSEEN, "monte_carlo", folder, size))],
            },
            "network": {"above": 3, "below": 6, "widths": [24, 32, 48], "detail": 12},
            "samples": {"electrons_per_pixel": [30, 60], "crop": 64, "seed": 1},
            "training": {"steps": steps, "batch": 4, "learning_rate": 3e-3, "seed": 1},
            "output": {"name": model.replace("_", "-")},
        },
        output_path=folder / f"network-{model}",
    )
    print(f"network of {model}: {time.perf_counter() - began:.0f} s", flush=True)
    return Path(path)


def segmented(stack: xr.Dataset, path: Path) -> xr.Dataset:
    """Return what a network finds on slices."""
    found: xr.Dataset = segment_phases(stack, method="network", model=str(path)).compute()
    return found


def errors(stack: xr.Dataset, path: Path) -> list[float]:
    """Return MP, MGP and MDS of a network on slices."""
    found = segmentation_errors(segmented(stack, path)["phase"], stack["true_phase"]).compute()
    return [float(found[name]) for name in ("misplaced", "misplaced_solid", "mean_dice")]


def compared(networks: dict[str, Path], stack: xr.Dataset) -> Iterator[str]:
    """Iterate over lines of a table of errors on slices by Monte Carlo."""
    yield f"{'MP %, MGP %, MDS':20}" + "".join(f"{model:>26}" for model in MODELS) + f"{'ratio':>8}"
    for shown in (VOLTAGES, *((kilovolts,) for kilovolts in VOLTAGES)):
        part = stack.sel(voltage=list(shown))
        rows = {model: errors(part, networks[model]) for model in MODELS}
        cells = (f"{mp:12.3f}{mgp:7.2f}{mds:7.4f}" for mp, mgp, mds in rows.values())
        ratio = rows["learned"][0] / rows["monte_carlo"][0]
        name = "/".join(f"{kilovolts:g}" for kilovolts in shown) + " kV"
        yield f"{name:20}" + "".join(cells) + f"{ratio:8.2f}"


def alike(networks: dict[str, Path], stack: xr.Dataset) -> float:
    """Return the mean Dice score of what both networks find."""
    first, second = (segmented(stack, networks[model])["phase"] for model in MODELS)
    return float(segmentation_errors(first, second)["mean_dice"])


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench-learned-data"))
    parser.add_argument("--side", type=int, default=128, help="Pixels along y and x.")
    parser.add_argument("--slices", type=int, default=20)
    parser.add_argument("--steps", type=int, default=1500)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    size = given.side, given.slices
    networks = {model: taught(model, given.out, size, given.steps) for model in MODELS}
    unseen, third = (
        fibdask.open_stack(images(seed, model, given.out, size) / "simulate.zarr").compute()
        for seed, model in ((UNSEEN, "monte_carlo"), (THIRD, "analytic"))
    )
    print("\n".join(compared(networks, unseen)))
    fraction = float(np.mean(unseen["true_phase"].values))
    print(f"solid fraction {fraction:.3f}")
    for name, stack in (("Monte Carlo", unseen), ("attenuation model", third)):
        print(f"MDS between both on images by {name}: {alike(networks, stack):.4f}")
    print(PUBLISHED)


if __name__ == "__main__":
    main()
