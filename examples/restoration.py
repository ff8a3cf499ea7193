"""The steps of `restoration.toml` one by one, on xarray datasets, held against the truth.

    python examples/restoration.py

A stack is simulated whose slices are shifted, milled unevenly, striped and of changing brightness.
It is segmented, repositioned and filled twice: as it is, at the thickness that was aimed at, and
after it is aligned, rid of stripes, equalised and put at the depth that its images show.
"""

import numpy as np
import xarray as xr

import fibdask

NOMINAL, SPACING = 10.0, 4.0  # nm: the thickness that was aimed at, and the grid


STRUCTURE = {"voxel_size": (2, 4, 4), "ligament_size": (40,), "solid_fraction": (0.35,), "seed": 1}


def simulated_images(shape: tuple[int, int, int]) -> xr.Dataset:
    """Return images of ligaments at two voltages, with all that goes wrong in a microscope."""
    stack = fibdask.simulate_stack(
        shape=shape,
        mean_thickness=NOMINAL,
        std_thickness=3,
        voltage=(0.5, 2),  # little shines through at the lowest, which slices are placed by
        model="analytic",
        shift_std=8,
        gain_std=0.1,
        curtaining=0.05,
        **STRUCTURE,
    )
    return stack.compute()


def reconstructed(stack: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the slices with their phase, and the phase on a grid without gaps."""
    slices = fibdask.segment_phases(stack, method="kmeans")
    on_grid = fibdask.reposition_slices(slices[["phase"]], spacing=SPACING)
    return slices, fibdask.inpaint_gaps(on_grid, method="distance")


def misalignment(stack: xr.Dataset) -> float:
    """Return how far slices lie from where they belong, rms in pixels."""
    apart = []
    for axis in ("y", "x"):
        left = stack[f"true_shift_{axis}"]
        if f"shift_{axis}" in stack:
            left = left + stack[f"shift_{axis}"]
        apart.append((left - left.isel(voltage=0, z=0)) / float(stack[axis].diff(axis)[0]))
    return rms(np.stack(apart))


def thickness_errors(z: np.ndarray, true_z: np.ndarray) -> tuple[float, float]:
    """Return the scale of thicknesses, and what they are wrong by apart from it, rms in nm."""
    scale = np.ptp(z) / np.ptp(true_z)
    return float(scale), rms(np.diff(z) / scale - np.diff(true_z))


def rms(values: np.ndarray) -> float:
    """Return the root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def isotropy(phase: xr.DataArray) -> dict[str, float]:
    """Return how far statistics along z differ from those in the plane of the slices."""
    errors = fibdask.isotropy_errors(phase, max_lag=48).compute()
    names = ("two_point_correlation", "lineal_path", "ligament_diameter")
    return {f"isotropy error, {name.replace('_', ' ')}": float(errors[name]) for name in names}


def figures(stack: xr.Dataset, true_z: np.ndarray) -> dict[str, float]:
    """Return what is wrong with a stack and with the volume that is made of it."""
    slices, volume = reconstructed(stack)
    scale, error = thickness_errors(stack["z"].values, true_z)
    misplaced = fibdask.segmentation_errors(slices["phase"], slices["true_phase"])["misplaced"]
    return {
        "misalignment, pixels rms": misalignment(stack),
        "scale of the thickness": scale,
        "its error apart from scale, nm rms": error,
        "misplaced voxels, %": float(misplaced),
        **isotropy(volume["phase"]),
    }


def main(shape: tuple[int, int, int] = (160, 384, 384)) -> dict[str, dict[str, float]]:
    """Repair, and compare; return the figures before and after, and those of the structure."""
    simulated = simulated_images(shape)
    true_z = simulated["z"].values

    # What a microscope knows of the depth is how much it was told to mill.
    raw = fibdask.apply_slice_thickness(simulated, [NOMINAL] * len(true_z))

    # Two stages first estimate a few numbers of all slices; these are small, and can be looked at.
    shifts = fibdask.estimate_shifts(raw)
    aligned = fibdask.apply_shifts(raw, shifts)
    clean = fibdask.equalize_brightness(fibdask.remove_curtaining(aligned))
    # A warning says that the texture of the images gives another mean than was aimed at.
    thickness = fibdask.estimate_slice_thickness(clean, method="images")
    repaired = fibdask.apply_slice_thickness(clean, thickness)

    # A structure as small as this one is not quite isotropic itself. Every second plane is taken,
    # so that it has the voxels of the volumes, and what all aligned slices show.
    structure = fibdask.simulate_structure(shape=shape, **STRUCTURE)["phase"][::2]
    structure = structure.sel(y=repaired["y"], x=repaired["x"])
    columns = {
        "before": figures(raw, true_z),
        "after": figures(repaired, true_z),
        "truth": {"scale of the thickness": 1.0, **isotropy(structure)},
    }
    print(f"{len(true_z)} slices".ljust(38), *(f"{name:>8}" for name in columns))
    for name in columns["before"]:
        row = (column.get(name, 0.0) for column in columns.values())
        print(f"{name:38}", *(f"{value:8.3f}" for value in row))
    return columns


if __name__ == "__main__":
    main()
