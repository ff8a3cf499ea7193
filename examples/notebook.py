"""The steps of `ligaments.toml` one by one, on xarray datasets.

    python examples/notebook.py [IMAGES [OUT.zarr]]

IMAGES is what `read_images` takes, with pixel size and spacing in its headers; without it a small
stack is simulated. Every step is lazy until `save_stack` or `compute` works through the blocks.
"""

import sys
from pathlib import Path

import xarray as xr

import fibdask


def simulated_images() -> xr.Dataset:
    """Return bright ligaments on a dark ground, of the real ones' size, milled unevenly."""
    ligaments = fibdask.levelled_wave(
        (480, 120, 120), voxel_size=(10, 40, 40), ligament_size=280, solid_fraction=0.334, seed=1
    )
    slices = fibdask.mimic_milling(ligaments, mean_thickness=46, std_thickness=8, seed=1)
    return fibdask.simulate_images(ligaments, slices=slices, voltage=0.5, model="analytic", seed=1)


def main(images: str | None = None, out: str = "notebook.zarr") -> xr.Dataset:
    """Segment, reposition, fill, measure and save; return the statistics."""
    stack = simulated_images() if images is None else fibdask.read_images(images, voltage=2.0)
    print(stack)

    # Functions take a stack and return a new one, with the new variable and a record of the step.
    segmented = fibdask.segment_phases(stack, method="threshold", threshold=128)
    on_grid = fibdask.reposition_slices(segmented, spacing=40)
    print(f"{int((~on_grid['measured']).sum())} of {on_grid.sizes['z']} planes hold no slice")
    filled = fibdask.inpaint_gaps(on_grid[["phase"]], method="distance")

    # The same by methods, chained.
    chained = (
        stack.fib.segment_phases(method="threshold", threshold=128)
        .fib.reposition_slices(spacing=40)[["phase"]]
        .fib.inpaint_gaps(method="distance")
    )
    assert filled["phase"].identical(chained["phase"])

    # Saved block by block; what is read back is lazy again, and fast to measure.
    filled.fib.save_stack(Path(out))
    saved = fibdask.open_stack(out)
    statistics = saved.fib.phase_statistics(max_lag=32).compute()
    print(statistics[["solid_fraction", "ligament_diameter", "isotropy_error"]])
    return statistics


if __name__ == "__main__":
    main(*sys.argv[1:])
