"""What blocks cost beside their kernels.

Planning of 100,000 blocks: at most 10 s, two tasks for each output block, 500 MB of the client;
the lazy call of a stage on a derived array; and blocks that do nothing, made and written: at most
1 ms each in this process as part 1/1 does it, at most 5 ms each by two worker processes. The
numbers of those may be given: `planning.py 100000 5000`. The machine must be quiet, but for the
time that processors compute, which is told too.

`planning.py record 1000000` tells the memory that the record of so many blocks takes.
"""

import os
import resource
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import dask.array as da
import distributed
import numpy as np
import xarray as xr

from fibdask import local_cluster
from fibdask.blocks import (
    Execution,
    Grid,
    StoredArray,
    Target,
    array_token,
    from_source,
    lengths,
    map_blocks,
    own_resources,
    write_array,
)
from fibdask.blocks.engine.journal import alone, journal_writer, read_record
from fibdask.blocks.engine.shards import Shard
from fibdask.conventions import build_stack
from fibdask.run.planner import planned_stages
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
    rows = planned_stages(recipe, stack).rows
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


def nothing(folder: Path, blocks: int) -> tuple[da.Array, Target]:
    """Return an array of blocks that do nothing, and where it is written."""
    shape, block = (4 * blocks, 4, 4), (4, 4, 4)
    array = map_blocks(Nothing(0), shape=shape, dtype="u1", block=block)
    return array, Target(folder, Grid(shape, block), block, "uint8", tuple("zyx"), {})


def make_nothing(blocks: int, client: distributed.Client | None) -> None:
    """Print what a block costs that does nothing, end to end, on workers or by this process."""
    execution = Execution(client=client, resources=replace(own_resources(), threads=1))
    with TemporaryDirectory() as folder:
        array, target = nothing(Path(folder) / "nothing", blocks)
        started, used = time.monotonic(), time.process_time()
        report = write_array(array, target, execution, name="nothing", values={})
        seconds, computing = time.monotonic() - started, time.process_time() - used
        assert report.blocks_run == blocks
    print(
        f"nothing {'without Dask' if client is None else 'on two workers'}: {blocks} blocks in "
        f"{1e3 * seconds / blocks:.2f} ms each, of which this process computes "
        f"{1e3 * computing / blocks:.2f} ms; load {os.getloadavg()[0]:.1f}"
    )


def read_long_record(blocks: int) -> None:
    """Print the memory that the record of a finished array takes, that is read to resume it."""
    with TemporaryDirectory() as folder:
        array, target = nothing(Path(folder) / "nothing", blocks)
        with alone(target.path), journal_writer(target.path) as journal:
            journal.restart(array_token(array), target.grid, "uint8", 0)
            for number in range(blocks):
                journal.add(number, Shard(10**5 + number, 10**18 + number, 10**9 + number))
        started = time.monotonic()
        assert read_record(target.path).complete
        print(f"record of {blocks} blocks read in {time.monotonic() - started:.1f} s")


def tell_memory(after: str) -> None:
    """Print the peak of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the client after {after}: {peak:.0f} MiB")


def main() -> None:
    """Print all figures, or those of a long record."""
    tell_memory("importing")
    if sys.argv[1:2] == ["record"]:
        read_long_record(int(sys.argv[2]))
        tell_memory("reading it")
        return
    plan()
    tell_memory("planning")
    alone_blocks, workers_blocks = map(int, sys.argv[1:] or (100_000, 20_000))
    make_nothing(alone_blocks, None)
    with local_cluster(workers=2) as client:
        make_nothing(workers_blocks, client)
    tell_memory("running")
    call_on_derived(100_000)


if __name__ == "__main__":
    main()
