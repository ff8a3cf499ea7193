"""Slow, obvious readers and writers that the fast ones are compared with."""

import json
import struct
from pathlib import Path

import numpy as np
from PIL import Image


def write_slices(folder, volume, *, numbers=None, suffix=".png"):
    """Write a volume (z, y, x) as images called slice_<number>."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = range(len(volume)) if numbers is None else numbers
    for number, image in zip(numbers, volume, strict=True):
        Image.fromarray(image).save(folder / f"slice_{number}{suffix}")
    return folder


def grey_volume(shape, dtype=np.uint8, seed=0):
    """Make a volume of random grey values over the whole range of an integer type."""
    limits = np.iinfo(dtype)
    generator = np.random.default_rng(seed)
    return generator.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def naive_gap_positions(numbers, thickness):
    """Depths by walking through all numbers one by one, missing ones too."""
    depths, depth = [], 0.0
    for number in range(min(numbers), max(numbers) + 1):
        if number in numbers:
            depths.append(depth)
        depth += thickness
    return depths


def write_dat(path, detectors, *, names=("InLens", "ESB"), notes="", version=9):
    """Write a Janelia frame (detector, y, x) of int16 with the header fields that are read."""
    _, height, width = np.shape(detectors)
    header = bytearray(1024)
    struct.pack_into(">IHH", header, 0, 0xD3EDF5F2, version, 1)
    struct.pack_into(">II", header, 100, width, height)
    struct.pack_into("4B", header, 151, *(int(k < len(names)) for k in range(4)))
    struct.pack_into("200s", header, 180, notes.encode())
    for name, start, length in zip(names, (380, 390, 410, 430), (10, 18, 20, 20), strict=False):
        struct.pack_into(f"{length}s", header, start, name.encode())
    struct.pack_into(">f", header, 464, 4.0)
    struct.pack_into(">f", header, 472, 0.9)
    pixels = np.moveaxis(np.asarray(detectors), 0, -1).astype(">i2")
    Path(path).write_bytes(bytes(header) + pixels.tobytes())


def taken(stack):
    """Return the record of what was taken from where."""
    return json.loads(stack.attrs["header"])
