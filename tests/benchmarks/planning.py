"""What blocks cost beside their kernels.

Planning of 100,000 blocks: at most 10 s, two tasks for each output block, 500 MB of the client;
the lazy call of a stage on a derived array; and blocks that do nothing, made and written by two
worker processes: at most 5 ms each. The number of those may be given: `planning.py 5000`.
"""

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import dask.array as da
import numpy as np
import xarray as xr

from fibdask import local_cluster
from fibdask.blocks import (
    Execution,
    Grid,
    StoredArray,
    Target,
    from_source,
    lengths,
    map_blocks,
    write_array,
)
from fibdask.conventions import build_stack
from fibdask.run.planner import plan_stages
from fibdask.run.recipe import read_recipe

BLOCKS = 20_000
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


@dataclass(frozen=True)
class Nothing:
    """Zeros, made of `inputs` arrays of which they need the block."""

    inputs: int

    def needs(self, region):
        return (region,) * self.inputs

    def compute(self, region, *inputs):
        return np.zeros(lengths(region), np.uint8)

    def working_bytes(self, region):
        return 0


def plan() -> None:
    """Print blocks, tasks and seconds of a recipe."""
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


def call_on_derived(blocks: int) -> None:
    """Print what the lazy call of a stage costs where its input is the result of arithmetic."""
    shape = (4 * blocks, 4, 4)
    derived = da.zeros(shape, "u1", chunks=4) * 2
    started = time.monotonic()
    lazy = map_blocks(Nothing(1), [derived], shape=shape, dtype="u1", block=(4, 4, 4))
    seconds = time.monotonic() - started
    tasks = (len(lazy.dask) - len(derived.dask)) / blocks
    print(f"derived: called in {1e6 * seconds / blocks:.2f} µs a block, {tasks:.2f} tasks a block")


def make_nothing(blocks: int) -> None:
    """Print what a block costs that does nothing, end to end, by two worker processes."""
    shape = (4 * blocks, 4, 4)
    array = map_blocks(Nothing(0), shape=shape, dtype="u1", block=(4, 4, 4))
    grid = Grid(shape, (4, 4, 4))
    with TemporaryDirectory() as folder, local_cluster(workers=2) as client:
        target = Target(Path(folder) / "nothing", grid, (4, 4, 4), "uint8", tuple("zyx"), {})
        started, used = time.monotonic(), time.process_time()
        report = write_array(array, target, Execution(client=client), name="nothing", values={})
        seconds = time.monotonic() - started
        assert report.blocks_run == blocks
        client_seconds = time.process_time() - used
    print(
        f"nothing: {blocks} blocks in {1e3 * seconds / blocks:.2f} ms each, of which client and "
        f"scheduler compute {1e3 * client_seconds / blocks:.2f} ms"
    )


def tell_memory(after: str) -> None:
    """Print the peak of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the client after {after}: {peak:.0f} MiB")


def main() -> None:
    """Print all figures."""
    tell_memory("importing")
    plan()
    tell_memory("planning")
    make_nothing(int(sys.argv[1]) if len(sys.argv) > 1 else BLOCKS)
    tell_memory("running")
    call_on_derived(int(sys.argv[2]) if len(sys.argv) > 2 else 100_000)


if __name__ == "__main__":
    main()
