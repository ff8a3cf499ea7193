"""Phases to measure, in memory, in chunks and in blocks."""

from dataclasses import dataclass

import dask.array as da
import numpy as np
import xarray as xr
from hypothesis import strategies as st

from fibdask.blocks import map_blocks
from fibdask.conventions import build_stack

AXES = ("z", "y", "x")
CUBIC = (1.0, 1.0, 1.0)


def phase_of(data, spacing=CUBIC, z=None) -> xr.DataArray:
    z = np.arange(data.shape[0]) * spacing[0] if z is None else z
    return build_stack(
        {"phase": data}, z=z, pixel_size=spacing[1:], nominal_thickness=spacing[0]
    ).phase


def noise(shape, fraction=0.5, seed=0) -> np.ndarray:
    return (np.random.default_rng(seed).random(shape) < fraction).astype(np.uint8)


def laminate(shape=(12, 12, 12), period=4) -> np.ndarray:
    """Plates across z, half a period thick."""
    solid = np.arange(shape[0]) % period < period // 2
    return np.broadcast_to(solid[:, None, None], shape).astype(np.uint8)


@dataclass(frozen=True)
class Given:
    """Block function that hands out parts of an array."""

    values: np.ndarray

    def needs(self, _region):
        return ()

    def compute(self, region):
        return self.values[region]

    def working_bytes(self, _region):
        return 0


def in_blocks(data, block):
    """Return an array that is read by coordinates."""
    return map_blocks(Given(data), shape=data.shape, dtype=data.dtype, block=block)


@st.composite
def random_volumes(draw):
    """Draw random phases in memory, of any sizes from one voxel on."""
    shape = draw(st.tuples(*(st.integers(1, 9),) * 3))
    return noise(shape, draw(st.sampled_from((0.1, 0.5, 0.9, 1.0))), draw(st.integers(0, 99)))


@st.composite
def ragged(draw, data):
    """Draw chunkings of an array into uneven chunks."""
    chunks = []
    for n in data.shape:
        cuts = draw(st.sets(st.integers(1, n - 1), max_size=4)) if n > 1 else set()
        chunks.append(tuple(int(c) for c in np.diff([0, *sorted(cuts), n])))
    return da.from_array(data, chunks=tuple(chunks))
