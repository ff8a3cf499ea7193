import tracemalloc
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from fibdask import apply_shifts, inpaint_gaps, open_stack, save_stack
from fibdask.blocks import (
    PROCESS_BYTES,
    Grid,
    StoredArray,
    from_source,
    gather_forecast,
    grow,
    origin,
    reduce_blocks,
    reduction_forecast,
)
from fibdask.blocks.engine.forecast import largest, task_bytes
from fibdask.conventions import build_stack
from tests.blocks.helpers import Total, ramp

LENGTHS = (600, 500, 330)
BLOCK = (96, 192, 192)
halos = st.lists(st.integers(0, 60), min_size=1, max_size=6)


@given(halos, halos, st.integers(1, 90), st.integers(1, 40), st.integers(1, 40))
def test_largest__is_that_of_every_position(before, after, length, block, chunk):
    counts = (min(len(before), len(after)), *[-(-length // block)] * 2)

    def cost(lead, *place):
        needed = [
            grow(slice(i * block, (i + 1) * block), before[lead], after[lead], length)
            for i in place
        ]
        decoded = prod((s.stop - 1) // chunk - s.start // chunk + 1 for s in needed) * chunk**2
        return prod(s.stop - s.start for s in needed) + decoded

    assert largest(cost, counts) == max(cost(*position) for position in np.ndindex(*counts))


@pytest.mark.parametrize("axis", range(4))
def test_largest__looks_at_all_positions_along_an_axis(axis):
    counts = (2, 3, 14, 15)
    for worst in range(counts[axis]):
        most = largest(lambda *position, worst=worst: 1 + (position[axis] == worst), counts)
        assert most == 2


@pytest.mark.parametrize("counts", [(1,), (7,), (2, 5), (3, 1, 4)])
def test_largest__takes_grids_of_any_dimensions(counts):
    assert largest(lambda *position: sum(position), counts) == sum(counts) - len(counts)


def test_largest__looks_at_few_of_many_positions():
    asked = []

    def cost(*position):
        asked.append(position)
        return prod(min(place, 4) for place in position)

    assert largest(cost, (30, 60, 60)) == 4**3
    assert len(asked) < 30 * 60 * 60 / 20


def stack_of(**volumes):
    voltage = {"voltage": [2.0]} if "intensity" in volumes else {}
    z = 5.0 * np.arange(LENGTHS[0])
    return build_stack(volumes, z=z, pixel_size=(5.0, 5.0), nominal_thickness=5.0, **voltage)


def gap(stack, method):
    """Return a phase with a gap of 100 planes filled, in the second and third block of seven."""
    measured = np.ones(stack.sizes["z"], bool)
    measured[100:200] = False
    return inpaint_gaps(stack.assign(measured=("z", measured)), method=method)["phase"].data


def jump(stack):
    """Return images that jump by 200 pixels in 20 slices of the second block of seven."""
    pixels = np.interp(np.arange(LENGTHS[0]), (110, 130), (0, 200))[np.newaxis]
    shifts = {name: (("voltage", "z"), 5.0 * pixels) for name in ("shift_y", "shift_x")}
    return apply_shifts(stack, xr.Dataset(shifts), outside="edge")["intensity"].data


CASES = {
    "distance": ("phase", lambda stack: gap(stack, "distance")),
    "nearest": ("phase", lambda stack: gap(stack, "nearest")),
    "spline": ("phase", lambda stack: gap(stack, "spline")),
    "jump": ("intensity", jump),
}


def values_of(name):
    values = (np.random.default_rng(1).random(LENGTHS) < 0.5).astype(np.uint8)
    return values[np.newaxis] if name == "intensity" else values


def unread(name):
    """Return an array as if it were stored."""
    lead = (1,) if name == "intensity" else ()
    shape, block, chunk = ((*lead, *n) for n in (LENGTHS, BLOCK, (32, 64, 64)))
    return from_source(StoredArray("s.zarr", shape, np.dtype("u1"), block, chunk, "token"))


def grid_of(array):
    return Grid(array.shape, (*(1 for _ in array.shape[:-3]), *BLOCK))


@pytest.mark.filterwarnings("ignore:61 % of the pixels are filled")
@pytest.mark.parametrize("case", CASES)
def test_task_bytes__is_that_of_the_block_that_needs_most(case):
    name, function = CASES[case]
    array = function(stack_of(**{name: unread(name)}))
    source, grid = origin(array), grid_of(array)
    each = [source.task_bytes(grid.numbered(n)) for n in range(grid.size)]
    assert task_bytes(array, grid, 0) == PROCESS_BYTES + max(each)
    ends = product(*[{0, n // 2, n - 1} for n in grid.counts])
    assert max(each) > 1.2 * max(source.task_bytes(grid.region(place)) for place in ends)


@pytest.mark.memory
@pytest.mark.filterwarnings("ignore:61 % of the pixels are filled")
@pytest.mark.parametrize("case", CASES)
def test_task_bytes__bounds_what_the_worst_block_takes(tmp_path, case):
    name, function = CASES[case]
    path = save_stack(stack_of(**{name: values_of(name)}), tmp_path / "s.zarr", pyramid=False)
    array = function(open_stack(path))
    source, grid = origin(array), grid_of(array)
    worst = max(map(grid.numbered, range(grid.size)), key=source.task_bytes)
    source.read(grid.numbered(grid.size - 1), {})  # compiles
    tracemalloc.start()
    source.read(worst, {})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= task_bytes(array, grid, 0) - PROCESS_BYTES


@dataclass(frozen=True)
class Growing:
    """Blocks of which each is longer than the one before."""

    size: int

    @property
    def parts(self):
        return ((self.size,),)

    def numbered(self, number):
        return (slice(0, number + 1), slice(0, 9), slice(0, 7))


@pytest.mark.parametrize("of", [reduction_forecast, gather_forecast])
def test_forecasts__look_at_every_block_of_a_list(of):
    blocks = Growing(13)
    most = origin(ramp()).task_bytes(blocks.numbered(12))
    if of is gather_forecast:
        assert of(Total(), [ramp()], blocks) >= PROCESS_BYTES + most
    else:
        summed = reduce_blocks(Total(), [ramp()], grid=blocks, finish=np.ravel, shape=(2,))
        assert of(origin(summed)) >= PROCESS_BYTES + most
