"""Volumes that are made of others of the same stack: those are read where they are stored."""

from dataclasses import dataclass

import numpy as np
import pytest
import zarr

from fibdask import BlocksFailedError, open_stack, save_stack
from fibdask.blocks import (
    BlockFunction,
    Execution,
    Grid,
    Monitor,
    array_token,
    forecast,
    lengths,
    map_blocks,
    origin,
    reduce_blocks,
    unpacked,
    voxels,
)
from fibdask.conventions import build_stack, record_step
from fibdask.io.store import write_stack
from fibdask.io.targets import planned, volume_targets

SHAPE, BLOCK = (150, 70, 66), (64, 64, 66)
BLOCKS = Grid(SHAPE, BLOCK).size
AXES = ("z", "y", "x")
made: list = []
fails: set = set()


@dataclass(frozen=True)
class Probability:
    """Stands for a network; notes the blocks that are made, and fails at the planes that shall."""

    scale_factor = 1 / 255

    def needs(self, region):
        return ()

    def compute(self, region):
        if region[0].start in fails:
            msg = "the network has failed"
            raise ValueError(msg)
        made.append(region)
        z, y, x = (np.arange(s.start, s.stop) for s in region)
        levels = (7 * z[:, None, None] + 5 * y[:, None] + 3 * x) % 256
        return unpacked(levels, self.scale_factor)

    def working_bytes(self, region):
        return 100 * voxels(region)


@dataclass(frozen=True)
class Inexact(Probability):
    """The same, which does not say that it can be stored."""

    scale_factor = None

    def compute(self, region):
        return Probability().compute(region) ** 2


@dataclass(frozen=True)
class AboveHalf:
    """The phase, of the probability one plane further down."""

    below: int = 1

    def needs(self, region):
        z = region[0]
        return ((slice(z.start, min(z.stop + self.below, SHAPE[0])), *region[1:]),)

    def compute(self, region, probability, *mean):
        below = np.arange(lengths(region)[0]) + self.below
        planes = probability[np.minimum(below, len(probability) - 1)]
        return (planes > (mean[0] if mean else 0.5)).astype(np.uint8)

    def working_bytes(self, region):
        return 0


@dataclass(frozen=True)
class Levels:
    """Count the sum of levels, and the voxels."""

    size = 2

    def needs(self, region):
        return (region,)

    def compute(self, region, probability):
        return np.array([np.rint(255 * probability).sum(), probability.size])

    def working_bytes(self, region):
        return voxels(region)


@dataclass(frozen=True)
class Mean:
    """Finish the sum with the mean."""

    def __call__(self, counts):
        return counts[:1] / counts[1] / 255


def above_mean(probability):
    grid = Grid(SHAPE, BLOCK)
    mean = reduce_blocks(Levels(), [probability], grid=grid, finish=Mean(), shape=(1,))
    return map_blocks(
        AboveHalf(), [probability], parameters=[mean], shape=SHAPE, dtype="u1", block=BLOCK
    )


def above_half(probability):
    return map_blocks(AboveHalf(), [probability], shape=SHAPE, dtype="u1", block=BLOCK)


def segmented(function: BlockFunction = Probability(), phase=above_half):
    probability = map_blocks(function, shape=SHAPE, dtype=np.float32, block=BLOCK)
    stack = build_stack(
        {"phase": phase(probability), "solid_probability": probability},
        z=10.0 * np.arange(SHAPE[0]),
        pixel_size=(5.0, 5.0),
        nominal_thickness=10.0,
    )
    return record_step(stack, "segment_phases", {"method": "network"}, "of nothing")


def shards(path):
    """Return the content of the shards of a volume."""
    files = [file for file in (path / "c").rglob("*") if file.is_file()]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.fixture(autouse=True)
def nothing_made():
    made.clear()
    fails.clear()


@pytest.mark.parametrize("phase", [above_half, above_mean])
def test_save_stack__a_phase_is_made_of_the_stored_probability(tmp_path, phase):
    stack = segmented(phase=phase)
    path = save_stack(stack, tmp_path / "both.zarr", pyramid=False)
    assert len(made) == BLOCKS
    opened = open_stack(path)
    np.testing.assert_array_equal(opened["solid_probability"], stack["solid_probability"])
    np.testing.assert_array_equal(opened["phase"], stack["phase"])


@pytest.mark.parametrize("phase", [above_half, above_mean])
def test_save_stack__a_phase_of_the_stored_probability_is_the_same_to_the_byte(tmp_path, phase):
    stack = segmented(phase=phase)
    both = save_stack(stack, tmp_path / "both.zarr", pyramid=False)
    alone = save_stack(stack[["phase"]], tmp_path / "alone.zarr", pyramid=False)
    assert shards(both / "phase") == shards(alone / "phase")
    # Under the same fingerprint, so that it resumes either way.
    assert origin(open_stack(both)["phase"].data).token == array_token(stack["phase"].data)
    made.clear()
    save_stack(stack, alone, pyramid=False)
    save_stack(stack, both, pyramid=False)
    assert len(made) == BLOCKS  # the probability that was not there


def test_save_stack__a_probability_that_is_rounded_is_made_again_for_the_phase(tmp_path):
    stack = segmented(Inexact())
    opened = open_stack(save_stack(stack, tmp_path / "s.zarr", pyramid=False))
    assert len(made) == 2 * BLOCKS
    np.testing.assert_array_equal(opened["phase"], stack["phase"])


def test_save_stack__a_lost_phase_is_made_of_the_stored_probability(tmp_path):
    path = save_stack(segmented(), tmp_path / "s.zarr", pyramid=False)
    before = shards(path / "phase")
    made.clear()
    (path / "phase" / "c" / "0" / "0" / "0").unlink()
    save_stack(segmented(), path, pyramid=False)
    assert made == []
    assert shards(path / "phase") == before


def test_save_stack__an_edited_probability_is_not_what_the_phase_is_made_of(tmp_path):
    path = save_stack(segmented(), tmp_path / "s.zarr", pyramid=False)
    before = shards(path / "phase")
    zarr.open_array(path / "solid_probability", mode="r+")[:, 0, 0] = 128
    (path / "phase" / "c" / "0" / "0" / "0").unlink()
    made.clear()
    save_stack(segmented(), path, pyramid=False)
    assert made
    assert shards(path / "phase") == before


def test_save_stack__a_failed_probability_is_finished_and_then_read(tmp_path):
    fails.add(64)
    with pytest.raises(BlocksFailedError, match="solid_probability: block") as error:
        save_stack(segmented(), tmp_path / "s.zarr", pyramid=False)
    assert "phase: block" not in str(error.value)
    assert len(made) == BLOCKS - 2  # the phase is not made of what is made again for it
    fails.clear()
    made.clear()
    path = save_stack(segmented(), tmp_path / "s.zarr", pyramid=False)
    assert {region[0].start for region in made} == {64}
    undisturbed = save_stack(segmented(), tmp_path / "other.zarr", pyramid=False)
    for name in ("phase", "solid_probability"):
        assert shards(path / name) == shards(undisturbed / name)


class Stops(Monitor):
    """Stops after some blocks."""

    def __init__(self, blocks):
        self.left = blocks

    def advanced(self, report):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("blocks", [1, BLOCKS - 1, BLOCKS, BLOCKS + 1])
def test_write_stack__stopped_and_run_again_ends_byte_identical(tmp_path, blocks):
    path = tmp_path / "s.zarr"
    with pytest.raises(KeyboardInterrupt):
        write_stack(segmented(), path, Execution(monitor=Stops(blocks)), pyramid=False)
    made.clear()
    reports = write_stack(segmented(), path, Execution(), pyramid=False)
    assert len(made) == max(BLOCKS - blocks, 0)
    assert sum(report.blocks_run for report in reports) == 2 * BLOCKS - blocks
    undisturbed = save_stack(segmented(), tmp_path / "other.zarr", pyramid=False)
    for name in ("phase", "solid_probability"):
        assert shards(path / name) == shards(undisturbed / name)


def test_planned__forecasts_a_phase_that_reads_its_probability(tmp_path):
    volumes = volume_targets(segmented(), tmp_path / "s.zarr", 2**20)
    assert [volume.name for volume in volumes] == ["solid_probability", "phase"]
    first, last = (forecast(volume.array, volume.target) for volume in planned(volumes))
    unplanned = forecast(volumes[1].array, volumes[1].target)
    block = voxels(Grid(SHAPE, BLOCK).numbered(0))
    assert min(first, unplanned) - last > 50 * block
    assert made == []
