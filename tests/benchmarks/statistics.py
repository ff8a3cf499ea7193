"""Two-point correlation and lineal path along three axes, beside other ways of counting.

Everything runs side by side in one process: fibdask on a volume in memory, plain numpy on a
smaller part of it (its cost is linear in voxels), and PoreSpy where it is installed; then what
the machine could do at most. `--scale` measures stored volumes on two workers of 1 GiB instead.
"""

import argparse
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import dask.array as da
import numpy as np

from fibdask import levelled_wave, lineal_path, local_cluster, open_stack, save_stack
from fibdask import two_point_correlation as two_point
from fibdask.blocks import format_bytes
from fibdask.statistics._kernels import lines as _kernels

MAX_LAG = 128
CORES = min(os.cpu_count() or 1, 2)
MEMORY = 2**30


def seconds_of(call, *arguments, repeat=1):
    """Return the shortest time of calls, and their result."""
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        result = call(*arguments)
        times.append(time.perf_counter() - started)
    return min(times), result


def make_phase(side, waves=20):
    """Return a levelled wave, lazy."""
    return levelled_wave(
        (side,) * 3, voxel_size=5, ligament_size=60, solid_fraction=0.4, seed=1, waves=waves
    )


def measure(phase, max_lag=MAX_LAG):
    """Return S2 and L along three axes."""
    curves = two_point(phase, max_lag=max_lag), lineal_path(phase, max_lag=max_lag)
    return dask.compute(*(curve.data for curve in curves))


def measure_with_numpy(volume):
    """Return S2 and L along three axes as one writes them in a line of numpy a lag."""
    pairs, paths = np.empty((3, MAX_LAG + 1)), np.empty((3, MAX_LAG + 1))
    for axis in range(3):
        solid = np.moveaxis(volume.astype(bool), axis, 0)
        path = solid
        for lag in range(MAX_LAG + 1):
            pairs[axis, lag] = (solid[: len(solid) - lag] & solid[lag:]).mean()
            paths[axis, lag] = path.mean()
            path = path[:-1] & solid[lag + 1 :]
    return pairs, paths


def compare(side, full):
    """Time fibdask, numpy and PoreSpy on the same structure."""
    phase = make_phase(side).compute()
    # Under a name of its own, because hashing an array in memory takes as long as counting it.
    named = phase.copy(data=da.from_array(phase.values, chunks=side, name="phase"))
    with dask.config.set(scheduler="threads", num_workers=CORES):
        measure(named.isel(z=slice(0, 64)))  # compile
        seconds, found = seconds_of(measure, named, repeat=5)
    work = 3 * phase.size * (MAX_LAG + 1)
    print(f"fibdask: S2 and L of {side}³, 3 axes, lags 0-{MAX_LAG}, {CORES} threads")
    print(f"  {seconds:.2f} s, {work / seconds:.3g} voxel·lags/s")
    part = phase if full else phase.isel({axis: slice(0, side // 2) for axis in "zyx"})
    numpy_seconds, expected = seconds_of(measure_with_numpy, part.values)
    scaled = numpy_seconds * phase.size / part.size
    note = "" if full else f" (measured {numpy_seconds:.1f} s on {part.sizes['z']}³, by voxels)"
    print(f"numpy: {scaled:.0f} s{note}: {scaled / seconds:.0f} times as long")
    same = found if full else measure(part)
    assert all(np.allclose(a, b, rtol=1e-12) for a, b in zip(same, expected, strict=True))
    compare_with_porespy(phase.isel({axis: slice(0, 256) for axis in "zyx"}), seconds / phase.size)
    return seconds


def compare_with_porespy(phase, seconds_per_voxel):
    """Time PoreSpy's radial S2, which is one curve where fibdask makes six."""
    try:
        import porespy
    except ImportError:
        print("PoreSpy: not installed")
        return
    volume = phase.values.astype(bool)
    theirs, _ = seconds_of(porespy.metrics.two_point_correlation, volume)
    ours = seconds_per_voxel * volume.size
    print(f"PoreSpy: radial S2 of {len(volume)}³ in {theirs:.1f} s: {theirs / ours:.0f} times")


def limits(side, seconds):
    """Print what the machine can do, and which share of it was reached."""
    words = word_rate(places=2**11, lags=2**10)
    done = 3 * side**3 / _kernels.LANES * (MAX_LAG + 1) / seconds
    print(f"AND and popcount in the first-level cache, {CORES} cores: {words:.3g} words/s")
    print(f"  S2 needs {done:.3g} words/s in the time of S2 and L: {done / words:.0%}")
    streamed = read_rate(2**29)
    read = 3 * side**3 / seconds
    print(f"reading memory, {CORES} cores: {streamed / 1e9:.3g} GB/s")
    print(f"  every axis reads the volume, {read / 1e9:.3g} GB/s: {read / streamed:.0%}")


def on_all_cores(call, arguments):
    """Return the shortest time of a call for each core at once."""
    with ThreadPoolExecutor(CORES) as pool:
        return seconds_of(lambda: list(pool.map(call, arguments)), repeat=5)[0]


def word_rate(places, lags):
    """Return the words that all cores can AND and count per second."""
    edges, counts = np.array([0, places]), np.zeros((CORES, 1, lags), np.int64)
    lines = np.random.default_rng(0).integers(0, 2**63, (CORES, 8, places), np.uint64)

    def count(core):
        _kernels.add_pair_counts(lines[core], lines[core], edges, counts[core])

    seconds = on_all_cores(count, range(CORES))
    return CORES * 8 * sum(places - lag for lag in range(lags)) / seconds


def read_rate(nbytes):
    """Return the bytes that all cores can read per second."""
    rows = [np.ones(nbytes // 8, np.int64) for _ in range(CORES)]
    return CORES * nbytes / on_all_cores(np.max, rows)


def scale(folder, sides):
    """Time stored volumes on two workers of 1 GiB: the cost of a voxel stays the same."""
    folder.mkdir(exist_ok=True)
    with local_cluster(workers=2, memory=MEMORY) as client:
        for side in sides:
            path = folder / f"phase-{side}.zarr"
            save_stack(make_phase(side, waves=6).to_dataset(name="phase"), path, pyramid=False)
            phase = open_stack(path)["phase"]
            client.restart()
            client.run(measure, make_phase(64, waves=1).compute())  # compile
            seconds, _ = seconds_of(measure, phase)
            cost, rate = 1e9 * seconds / phase.size, phase.nbytes / seconds / 1e6
            size = format_bytes(phase.nbytes)
            print(f"{side}³ ({size}): {seconds:.1f} s, {cost:.2f} ns a voxel, {rate:.0f} MB/s")


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512, help="voxels along each axis")
    parser.add_argument("--full", action="store_true", help="numpy on the whole volume, too")
    parser.add_argument("--scale", action="store_true", help="stored volumes instead")
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument("--folder", type=Path, default=Path("fibdask-statistics"))
    options = parser.parse_args()
    if options.scale:
        scale(options.folder, options.sides)
    else:
        limits(options.side, compare(options.side, options.full))


if __name__ == "__main__":
    main()
