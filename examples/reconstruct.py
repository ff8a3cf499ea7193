"""The volume between the slices by a network, held against k-means and interpolation.

    python examples/reconstruct.py [MODEL]

A small stack of hierarchical nanoporous gold is simulated at three voltages, electron by electron.
MODEL is the folder of a trained network; without it, it is the best that ships for such a stack.
"""

import sys

import xarray as xr

import fibdask

SPACING = 2.5  # nm, of the structure and of what is reconstructed


def simulated(size: int) -> tuple[xr.DataArray, xr.Dataset]:
    """Return a structure, and images of its slices, which are 10 nm apart on average."""
    gold = fibdask.hierarchical_levelled_wave((size, size, size), voxel_size=SPACING, seed=7)
    slices = fibdask.mimic_milling(gold, mean_thickness=10, std_thickness=3, seed=7)
    images = fibdask.simulate_images(
        gold, model="monte_carlo", slices=slices, voltage=(1, 2, 4), electrons_per_pixel=40, seed=7
    )
    return gold.compute(), images.compute()


def by_thresholds(images: xr.Dataset) -> xr.Dataset:
    """Segment slices by joint k-means, and fill the gaps between them by distance maps."""
    slices = fibdask.segment_phases(images, method="kmeans")
    on_grid = fibdask.reposition_slices(slices[["phase"]], spacing=SPACING)
    return fibdask.inpaint_gaps(on_grid, method="distance")


def errors(volume: xr.Dataset, truth: xr.DataArray) -> dict[str, float]:
    """Return the misplaced voxels in %, of planes that hold a slice and of those between."""
    truth = truth.sel(z=volume["z"], method="nearest")
    measured = volume["measured"]
    found = {
        name: fibdask.segmentation_errors(volume["phase"], truth, mask=planes)["misplaced"]
        for name, planes in {"on slices": measured, "between": ~measured}.items()
    }
    return {name: float(error) for name, error in found.items()}


def main(model: str = "auto", size: int = 96) -> dict[str, dict[str, float]]:
    """Reconstruct twice, print what is wrong, and return it."""
    truth, images = simulated(size)

    # One step from images to a regular volume. It is lazy: saved, it is made block by block.
    volume = fibdask.reconstruct_volume(images, spacing=SPACING, model=model).compute()
    sure = abs(volume["solid_probability"] - 0.5) > 0.4
    print(f"{int(volume['measured'].sum())} of {volume.sizes['z']} planes hold a slice")
    print(f"{float(sure.mean()):.1%} of the voxels are one phase by 90 % or more")

    found = {
        "k-means and distance": errors(by_thresholds(images).compute(), truth),
        "network": errors(volume, truth),
    }
    for name, wrong in found.items():
        print(f"{name:22}", *(f"{part}: {value:5.2f} % wrong  " for part, value in wrong.items()))
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
