"""Planning of 100,000 blocks: at most 10 s, at most two tasks for each output block."""

import time

import numpy as np
import xarray as xr

from fibdask.blocks import StoredArray, from_source
from fibdask.conventions import build_stack
from fibdask.run.planner import plan_stages
from fibdask.run.recipe import read_recipe

SHAPE = (1, 32 * 256, 56 * 512, 56 * 512)  # 100,352 blocks of 64 MiB: 6.1 TiB


def stored_stack() -> xr.Dataset:
    """Return a stack as if it were stored; nothing is read for planning."""
    source = StoredArray(
        "stack.zarr", SHAPE, np.dtype("u1"), (1, 256, 512, 512), (1, 128, 128, 128), "token"
    )
    thickness = np.random.default_rng(1).gamma(10.6, 0.96, SHAPE[1])
    return build_stack(
        {"intensity": from_source(source)},
        z=np.cumsum(thickness),
        pixel_size=(2.5, 2.5),
        nominal_thickness=10.16,
        voltage=[2.0],
    )


def main() -> None:
    """Print blocks, tasks and seconds."""
    recipe = read_recipe(
        {
            "input": {"path": "stack.zarr"},
            "segment": {"method": "kmeans"},
            "reposition": {"spacing": 10.0},
            "inpaint": {"method": "distance"},
            "statistics": {"max_lag": 128},
            "output": {"path": "out"},
        }
    )
    started = time.monotonic()
    stack = stored_stack()
    opened = time.monotonic() - started
    rows = plan_stages(recipe, stack)
    seconds = time.monotonic() - started
    for row in rows:
        print(f"{row['name']:<20} {row['blocks']:>8} blocks  {row['tasks']:>8} tasks")
        assert row["tasks"] <= 2 * row["blocks"]
    blocks = max(row["blocks"] for row in rows)
    print(f"opened in {opened:.1f} s, planned in {seconds:.1f} s ({blocks} blocks in a stage)")


if __name__ == "__main__":
    main()
