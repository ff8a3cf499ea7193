"""The main job on a stack of at least 6 GB with two workers of 1.5 GiB each.

Makes the stack (three voltages, lazily generated and stored), then k-means → reposition →
distance inpainting → statistics, and holds the promise measured ≤ forecast ≤ limit.
"""

import argparse
import shutil
import time
from pathlib import Path

from fibdask import local_cluster, run_recipe, save_stack, simulate_stack
from fibdask.blocks import format_bytes
from fibdask.run.folder import RunFolder
from fibdask.run.info import format_status
from fibdask.run.planning import plan_recipe
from fibdask.run.recipe import read_recipe

MEMORY = 1.5 * 2**30


def make_stack(path: Path, slices: int, pixels: int) -> float:
    """Store the stack and return the seconds that it took; an earlier one is taken up."""
    stack = simulate_stack(
        shape=(int(slices * 2.04), pixels, pixels),
        voxel_size=(5.0, 2.5, 2.5),
        mean_thickness=10.16,
        std_thickness=3.12,
        voltage=[1.0, 2.0, 4.0],
        model="analytic",
        seed=7,
    )
    started = time.monotonic()
    save_stack(stack.isel(z=slice(0, slices)), path)
    return time.monotonic() - started


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=500)
    parser.add_argument("--pixels", type=int, default=2048)
    parser.add_argument("--folder", type=Path, default=Path("fibdask-scale"))
    options = parser.parse_args()
    store, out = options.folder / "stack.zarr", options.folder / "out"
    options.folder.mkdir(exist_ok=True)
    with local_cluster(workers=2, memory=int(MEMORY)) as client:
        made = make_stack(store, options.slices, options.pixels)
        print(f"made the stack in {made:.0f} s")
        shutil.rmtree(out, ignore_errors=True)
        table = {
            "title": "scale",
            "input": {"path": str(store)},
            "segment": {"method": "kmeans"},
            "reposition": {"spacing": 10.0},
            "inpaint": {"method": "distance"},
            "statistics": {"max_lag": 128},
            "output": {"path": str(out)},
        }
        tasks = sum(row["tasks"] for row in plan_recipe(read_recipe(table))["stages"])
        started = time.monotonic()
        result = run_recipe(table, client=client, quiet=False)
        seconds = time.monotonic() - started
    report(RunFolder(out).read(), result["intensity"].nbytes, seconds, tasks)


def report(summary: dict, nbytes: int, seconds: float, tasks: int) -> None:
    """Print the table and check the promise."""
    print(format_status(summary))
    blocks = sum(stage["blocks"] for stage in summary["stages"])
    print(
        f"{format_bytes(nbytes)} in {seconds:.0f} s: {nbytes / seconds / 1e6:.0f} MB/s, "
        f"{tasks} tasks planned, {blocks} blocks"
    )
    for stage in summary["stages"]:
        assert stage["peak_bytes"] <= stage["forecast_bytes"] <= MEMORY, stage
    print(f"measured <= forecast <= {format_bytes(MEMORY)} in every stage")


if __name__ == "__main__":
    main()
