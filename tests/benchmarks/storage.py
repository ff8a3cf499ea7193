"""What checksums and whole shards cost, beside plain Zarr without them; and 1,000 flipped bits.

python -m tests.benchmarks.storage [--flips N] [--rounds N]
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from fibdask import FibdaskError, levelled_wave, save_stack
from fibdask.blocks import Grid, Part, Target, open_stored
from fibdask.blocks.engine.journal import alone, journal_writer
from fibdask.blocks.engine.shards import checksum
from fibdask.conventions import build_stack
from tests.io.damage import flipped, values_of

SIDE, BLOCK, CHUNK = 512, (256, 512, 512), (32, 256, 256)


def volumes() -> dict[str, np.ndarray]:
    """Return grey values that hardly compress, and a phase that does."""
    rng = np.random.default_rng(1)
    wave = levelled_wave(
        (SIDE,) * 3, voxel_size=5, ligament_size=60, solid_fraction=0.5, seed=1
    ).values
    grey = rng.integers(0, 32, wave.shape, np.uint8) + 128 * wave
    return {"grey": grey.astype(np.uint8), "phase": wave}


def write_plain(path: Path, data: np.ndarray) -> None:
    """Write shards as Zarr does, without checksums of chunks."""
    array = zarr.create_array(
        store=path,
        shape=data.shape,
        dtype=data.dtype,
        chunks=CHUNK,
        shards=BLOCK,
        compressors=ZstdCodec(level=1),
        fill_value=0,
    )
    for position in Grid(data.shape, BLOCK).indices():
        region = Grid(data.shape, BLOCK).region(position)
        array[region] = data[region]


def write_ours(path: Path, data: np.ndarray) -> None:
    """Write shards as the tasks of fibdask do."""
    grid = Grid(data.shape, BLOCK)
    target = Target(path, grid, CHUNK, data.dtype.name, ("z", "y", "x"), {})
    with alone(path), journal_writer(path, Part()) as journal:
        metadata = target.metadata()
        journal.restart("benchmark", grid, data.dtype.name, checksum(metadata))
        target.create(metadata)
        for number, position in enumerate(grid.indices()):
            journal.add(number, target.write(position, data[grid.region(position)], "benchmark"))


def read_plain(path: Path) -> np.ndarray:
    """Read by blocks, as Zarr does."""
    array = zarr.open_array(path, mode="r")
    grid = Grid(array.shape, BLOCK)
    return np.concatenate([array[grid.region(position)] for position in grid.indices()])


def read_ours(path: Path) -> np.ndarray:
    """Read by blocks, as a task does."""
    stored = open_stored(path)
    grid = Grid(stored.shape, BLOCK)
    return np.concatenate([stored.read(grid.region(p), {}) for p in grid.indices()])


def seconds(function, *arguments) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def compare(name: str, data: np.ndarray, rounds: int) -> None:
    """Print the best throughput of both, taking turns, and what they take on the disk."""
    times: dict[str, list[float]] = {key: [] for key in ("wp", "wo", "rp", "ro")}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            plain, ours = Path(folder) / f"p{number}", Path(folder) / f"o{number}"
            turns = [("p", plain, write_plain, read_plain), ("o", ours, write_ours, read_ours)]
            for key, path, write, read in turns[:: 1 if number % 2 else -1]:
                times[f"w{key}"].append(seconds(write, path, data))
                times[f"r{key}"].append(seconds(read, path))
            if number:
                shutil.rmtree(Path(folder) / f"p{number - 1}")
                shutil.rmtree(Path(folder) / f"o{number - 1}")
        sizes = [
            sum(file.stat().st_size for file in path.rglob("c/**/*") if file.is_file())
            for path in (plain, ours)
        ]
    speed = {key: data.nbytes / 2**20 / min(values) for key, values in times.items()}
    print(
        f"{name:6} write {speed['wp']:6.0f} {speed['wo']:6.0f} ({speed['wo'] / speed['wp']:.2f})"
        f"   read {speed['rp']:6.0f} {speed['ro']:6.0f} ({speed['ro'] / speed['rp']:.2f})"
        f"   size {sizes[1] / sizes[0] - 1:+.4%}"
    )


def flip(count: int) -> None:
    """Flip bits anywhere in a store; each must be an error or have no effect."""
    rng = np.random.default_rng(2)
    grey = rng.integers(0, 256, (2, 12, 96, 96), np.uint8)
    stack = build_stack(
        {"intensity": grey, "phase": (grey[0] > 120).astype(np.uint8)},
        z=np.array([0.0, 9, 21, 30, 41, 52, 60, 71, 80, 90, 99, 110]),
        pixel_size=(3.0, 4.0),
        nominal_thickness=10.0,
        voltage=np.array([1.0, 2.0]),
    ).assign_coords(measured=("z", np.arange(12) != 3))
    with tempfile.TemporaryDirectory() as folder:
        path = save_stack(stack, Path(folder) / "s.zarr")
        expected, errors, wrong = values_of(path), 0, []
        for number in range(count):
            # Half of them beside the voxels, which are most of the bytes.
            with flipped(path, rng, volumes=number % 2 == 0) as place:
                try:
                    wrong += [] if values_of(path).identical(expected) else [place]
                except FibdaskError:
                    errors += 1
    print(f"{count} flipped bits: {errors} errors, {count - errors - len(wrong)} without effect,")
    print(f"{len(wrong)} other values: {wrong[:3]}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print("MiB/s: Zarr without checksums, ours (ratio)")
    for name, data in volumes().items():
        compare(name, data, options.rounds)
    flip(options.flips)


if __name__ == "__main__":
    main()
