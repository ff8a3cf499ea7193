"""Export and import of a stack of at least 6 GB, each in a process of at most 1.5 GiB.

Makes a stack (phase and images of one voltage), exports it to every format of voxels and to
meshes, and imports every format that is read: what fibdask has exported, and what packages of
other people, or a few lines here, write. Each command runs in a process of its own, whose peak
memory the system tells; a few planes of what was imported are compared with the stack, and each
file is removed after its row: 20 GB of disk are enough. The stack itself is kept for the next run.
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import dask.array as da
import h5py
import numpy as np
import tensorstore
import tifffile
import zarr

from fibdask import open_stack, save_stack
from fibdask.blocks import format_bytes
from fibdask.conventions import build_stack
from tests.io.images.test_amira import HEADER as AMIRA
from tests.io.images.test_amira import NANOMETRES
from tests.io.images.test_imaris import FINEST, letters

LIMIT = int(1.5 * 2**30)
SPACING = (10.0, 5.0, 4.0)  # nm, along z, y, x
VOLTAGE = 2.0  # kV
OUT = (".tif", ".ome.tif", ".ome.zarr", ".mrc", ".nrrd", ".nii", ".vti", ".npy")
WRITE_ONLY = (".vti",)
LENGTHS = ("--pixel-size", "5,4", "--slice-thickness", "10")
UNTOLD = (".npy", "slices")  # formats that tell no lengths
SURFACES = (".stl", ".ply")
COMMAND = """
from pathlib import Path
from fibdask.run.cli import main
main()
print(Path("/proc/self/status").read_text())
"""
"""A command of fibdask and what it held at most; `ru_maxrss` begins with that of the parent."""
_LAYER = 64  # planes written at a time


class Row(NamedTuple):
    """What a command took: seconds, bytes of voxels, and of its process at most."""

    name: str
    seconds: float
    voxels: int
    peak: int


def structure(shape: tuple[int, int, int], block: Any) -> np.ndarray:
    """Return a part (z, y, x) of a gyroid with a period of 96 pixels: 1 is solid."""
    z, y, x = (
        2 * np.pi / 96 * np.arange(start, stop, dtype=np.float32)
        for start, stop in block["array-location"]
    )
    z, y = z[:, np.newaxis, np.newaxis], y[:, np.newaxis]
    wave = np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x)
    return (wave > 0).astype(np.uint8)


def noisy(phase: np.ndarray, block: Any) -> np.ndarray:
    """Return grey values with noise, which hardly compress, as those of a microscope do."""
    generator = np.random.default_rng(block["chunk-location"])
    grey = generator.integers(0, 64, phase.shape, np.uint8)
    return (grey + 60 + 80 * phase).astype(np.uint8)


def make_stack(path: Path, shape: tuple[int, int, int]) -> None:
    """Store phase and images (z, y, x)."""
    layer = (32, *shape[1:])
    phase = da.map_blocks(
        lambda block_info: structure(shape, block_info[None]),
        chunks=da.core.normalize_chunks(layer, shape),
        dtype=np.uint8,
    )
    images = da.map_blocks(lambda part, block_info: noisy(part, block_info[0]), phase, dtype="u1")
    stack = build_stack(
        {"intensity": images[np.newaxis], "phase": phase},
        z=SPACING[0] * np.arange(shape[0]),
        pixel_size=SPACING[1:],
        nominal_thickness=SPACING[0],
        voltage=np.array([VOLTAGE]),
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*saving is interrupted")
        save_stack(stack, path, pyramid=False)


def measured(name: str, voxels: int, *arguments: str) -> Row:
    """Run a command of fibdask in a process of its own."""
    started = time.monotonic()
    command = [sys.executable, "-c", COMMAND, *arguments, "--quiet"]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    peak = re.search(r"VmHWM:\s*(\d+) kB", told)
    assert peak is not None
    return Row(name, time.monotonic() - started, voxels, 1024 * int(peak[1]))


def layers(images: Any) -> Iterator[tuple[int, np.ndarray]]:
    """Yield parts of images (z, y, x) with their first plane."""
    for start in range(0, images.shape[0], _LAYER):
        yield start, images[start : start + _LAYER].values


def write_hdf5(images: Any, out: Path) -> None:
    """Write compressed chunks of HDF5."""
    with h5py.File(out, "w") as file:
        data = file.create_dataset("volume", images.shape, "u1", chunks=True, compression="lzf")
        data.attrs["element_size_um"] = [length / 1000 for length in SPACING]
        for start, part in layers(images):
            data[start : start + len(part)] = part


def write_imaris(images: Any, out: Path) -> None:
    """Write the finest level of an image of Imaris."""
    with h5py.File(out, "w") as file:
        channel = file.create_group(f"{FINEST}/Channel 0")
        info = file.create_group("DataSetInfo/Image").attrs
        info["Unit"] = letters("nm")
        for k, axis in enumerate("ZYX"):
            n = images.shape[k]
            channel.attrs[f"ImageSize{axis}"] = letters(n)
            info[f"ExtMin{2 - k}"], info[f"ExtMax{2 - k}"] = letters(0), letters(n * SPACING[k])
        data = channel.create_dataset("Data", images.shape, "u1", chunks=(32, 128, 128))
        for start, part in layers(images):
            data[start : start + len(part)] = part


def write_n5(images: Any, out: Path) -> None:
    """Write blocks of N5 by tensorstore."""
    spec = {
        "driver": "n5",
        "kvstore": {"driver": "file", "path": f"{out}/"},
        "metadata": {
            "dimensions": images.shape[::-1],
            "blockSize": [128, 128, 64],
            "dataType": "uint8",
            "compression": {"type": "zstd"},
            "resolution": SPACING[::-1],
            "units": ["nm", "nm", "nm"],
        },
    }
    data = tensorstore.open(spec, create=True).result()
    for start, part in layers(images):
        data[:, :, start : start + len(part)].write(part.transpose()).result()


def write_ome_zarr_4(images: Any, out: Path) -> None:
    """Write OME-Zarr 0.4, whose chunks are files."""
    scale = [{"type": "scale", "scale": list(SPACING)}]
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    levels = [{"path": "0", "coordinateTransformations": scale}]
    told = {"version": "0.4", "axes": axes, "datasets": levels}
    group = zarr.create_group(out, zarr_format=2, attributes={"multiscales": [told]})
    data = group.create_array("0", shape=images.shape, dtype="u1", chunks=(_LAYER, 128, 128))
    for start, part in layers(images):
        data[start : start + len(part)] = part


def write_amira(images: Any, out: Path) -> None:
    """Write a lattice of Amira, raw."""
    z, y, x = images.shape
    bounds = {"right": 4 * (x - 1), "low": 5 * (y - 1), "deep": 10 * (z - 1)}
    told = {"program": "Avizo", "order": "-LITTLE-ENDIAN", "kind": "byte", "method": ""}
    header = AMIRA.format(z=z, y=y, x=x, units=NANOMETRES, **told, **bounds)
    with out.open("wb") as file:
        # a bounding box that begins at 1 there
        file.write(header.replace("BoundingBox 1", "BoundingBox 0").encode())
        for _, part in layers(images):
            file.write(part.data)


def write_slices(images: Any, out: Path) -> None:
    """Write a TIFF for each slice."""
    out.mkdir()
    for start, part in layers(images):
        for k, image in enumerate(part, start):
            tifffile.imwrite(out / f"slice_{k:05}.tif", image)


OTHERS: dict[str, Callable[[Any, Path], None]] = {
    ".h5": write_hdf5,
    ".ims": write_imaris,
    ".n5": write_n5,
    ".0.4.zarr": write_ome_zarr_4,
    ".am": write_amira,
    "-slices": write_slices,
}
"""What writes the formats that are read, but not exported, by the end of their names."""

FORMATS = (*OUT, *OTHERS, *SURFACES)


def exchange(folder: Path, stack: Path, formats: tuple[str, ...]) -> Iterator[Row]:
    """Export and import in these formats, and yield the rows."""
    images = open_stack(stack)["intensity"][0]
    for suffix in filter(formats.__contains__, OUT):
        out = folder / f"gold{suffix}"
        yield measured(f"export {suffix}", images.nbytes, "export", str(stack), "--image", str(out))
        if suffix not in WRITE_ONLY:
            yield imported(f"import {suffix}", images, out)
        remove(out)
    for suffix in filter(formats.__contains__, OTHERS):
        out = folder / f"gold{suffix}"
        OTHERS[suffix](images, out)
        yield imported(f"import {suffix}", images, out)
        remove(out)
    for suffix in filter(formats.__contains__, SURFACES):
        yield surface(folder, stack, suffix)


def surface(folder: Path, stack: Path, suffix: str) -> Row:
    """Export the surface of a part of the stack: one of all of it has 20 GB of triangles."""
    part, out = folder / "part.zarr", folder / f"gold{suffix}"
    phase = open_stack(stack)[["phase"]].isel(z=slice(256), y=slice(1024))
    save_stack(phase, part, pyramid=False)
    voxels = phase["phase"].nbytes
    row = measured(f"export {suffix}", voxels, "export", str(part), "--surface", str(out))
    remove(part)
    remove(out)
    return row


def imported(name: str, images: Any, source: Path) -> Row:
    """Import a file, compare some planes with those that it was made of, and remove the store."""
    store = source.parent / "imported.zarr"
    lengths = LENGTHS if source.name.endswith(UNTOLD) else ()
    given = ("import", str(source), str(store), "--voltage", f"{VOLTAGE:g}", *lengths)
    row = measured(name, images.nbytes, *given)
    back = open_stack(store)["intensity"][0]
    assert back.shape == images.shape
    for axis, expected in zip("zyx", SPACING, strict=True):
        np.testing.assert_allclose(np.diff(back[axis][:2]), expected, rtol=1e-6)
    for place in (0, len(images) // 2, len(images) - 1):
        np.testing.assert_array_equal(back[place].values, images[place].values)
    remove(store)
    return row


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=1536)
    parser.add_argument("--pixels", type=int, default=2048)
    parser.add_argument("--folder", type=Path, default=Path("fibdask-exchange"))
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"of {' '.join(FORMATS)}")
    options = parser.parse_args()
    shape = (options.slices, options.pixels, options.pixels)
    options.folder.mkdir(exist_ok=True)
    stack = options.folder / "stack.zarr"
    if not stack.exists():
        make_stack(stack, shape)
    print(f"a stack of {format_bytes(np.prod(shape, dtype=int))}")
    print(f"{'':<24} {'seconds':>8} {'MB/s':>6} {'peak':>10}", flush=True)
    over = []
    for row in exchange(options.folder, stack, tuple(options.formats) or FORMATS):
        speed = row.voxels / row.seconds / 1e6
        told = f"{row.name:<24} {row.seconds:>8.0f} {speed:>6.0f} {format_bytes(row.peak):>10}"
        print(told, flush=True)
        over += [row.name] if row.peak > LIMIT else []
    assert not over, f"above {format_bytes(LIMIT)}: {', '.join(over)}"
    print(f"every process held at most {format_bytes(LIMIT)}")


if __name__ == "__main__":
    main()
