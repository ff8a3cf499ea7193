from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fibdask
from fibdask import ConventionError, local_cluster
from fibdask.blocks import (
    Execution,
    Grid,
    Target,
    Tiled,
    fingerprint,
    from_source,
    map_blocks,
    open_stored,
    origin,
    whole,
    write_array,
)
from fibdask.conventions import build_stack
from tests.blocks.helpers import SumAlongZ, naive_sum_along_z
from tests.blocks.predictors import CoarseMean, Threshold

SHAPE = (2, 23, 31, 19)
IMAGE = np.random.default_rng(1).integers(0, 256, SHAPE, np.uint8)
UNTILED = CoarseMean()(IMAGE, whole(SHAPE[1:]))
TILE = (5, 8, 7)

INTERVALS = [
    st.tuples(st.integers(0, n - 1), st.integers(1, n)).map(sorted).filter(lambda i: i[0] < i[1])
    for n in SHAPE[1:]
]


def regions():
    return st.tuples(*INTERVALS).map(lambda found: tuple(slice(*i) for i in found))


def threshold(folder, level=100, **options):
    (folder / "level.txt").write_text(str(level))
    return Threshold(str(folder / "level.txt"), fingerprint=f"threshold {level}", **options)


def segmented(predictor, image, block):
    function = Tiled(predictor, SHAPE, TILE)
    return map_blocks(function, [image], shape=SHAPE[1:], dtype=np.uint8, block=block)


@given(regions(), st.sampled_from([slice(0, 1), slice(1, 2), slice(0, 2)]))
def test_tiled__gives_the_same_values_in_any_region(region, classes):
    function = Tiled(CoarseMean(), SHAPE, TILE)
    (read,) = function.needs((classes, *region))
    made = function.compute((classes, *region), IMAGE[read])
    np.testing.assert_array_equal(made, UNTILED[(classes, *region)])


@pytest.mark.parametrize("kind", ["stored", "numpy"])
def test_tiled__in_a_chain_that_asks_for_odd_regions(tmp_path, kind):
    image = IMAGE
    if kind == "stored":
        target = Target(tmp_path / "a", Grid(SHAPE, SHAPE), SHAPE, "uint8", tuple("vzyx"), {})
        write_array(IMAGE, target, Execution(), name="image", values={})
        image = from_source(open_stored(tmp_path / "a"))
    phase = segmented(threshold(tmp_path), image, (4, 9, 10))[3:20, 1:, 2:]
    shape = phase.shape
    summed = map_blocks(
        SumAlongZ(shape[0], 2), [phase], shape=shape, dtype=np.uint64, block=(3, 7, 5)
    )
    expected = (IMAGE > 100).all(axis=0).astype(np.uint64)[3:20, 1:, 2:]
    np.testing.assert_array_equal(summed.compute(), naive_sum_along_z(expected, 2))
    assert (origin(summed) is not None) is (kind == "stored")


def test_tiled__feeds_repositioning_and_inpainting(tmp_path):
    z = np.cumsum(np.random.default_rng(2).gamma(9, 1, SHAPE[1]))
    lazy = segmented(threshold(tmp_path), IMAGE, (6, 31, 10))
    stacks = [
        build_stack({"phase": phase}, z=z, pixel_size=(3.0, 3.0), nominal_thickness=9.0).isel(
            y=slice(3, None), x=slice(1, 18)
        )
        for phase in (lazy, lazy.compute())
    ]
    one, other = (
        fibdask.inpaint_gaps(fibdask.reposition_slices(stack, spacing=5.0), method="distance")
        for stack in stacks
    )
    np.testing.assert_array_equal(one["phase"], other["phase"])


def test_tiled__is_another_of_other_weights_only(tmp_path):
    one, same = threshold(tmp_path), threshold(tmp_path, notes="elsewhere")
    other = threshold(tmp_path, 90)
    tokens = [fingerprint(Tiled(predictor, SHAPE)) for predictor in (one, same, other)]
    assert tokens[0] == tokens[1] != tokens[2]


def test_tiled__counts_what_the_predictor_takes():
    function = Tiled(CoarseMean(), SHAPE, TILE)
    # tiles of 6, 8 and 9 voxels with halos of 3, 7 and 5, from stride to stride
    one = function.working_bytes((slice(8, 9), slice(9, 10), slice(10, 11)))
    assert one == 100 * 2 * (14 * 24 * 16)


def test_tiled__refuses_what_does_not_cover_its_window():
    class Smaller(CoarseMean):
        def __call__(self, window, place):
            return super().__call__(window, place)[..., 1:]

    region = (slice(0, 2), *whole(SHAPE[1:]))
    with pytest.raises(ConventionError, match=r"must give 4 dimensions, .* got the shape"):
        Tiled(Smaller(), SHAPE).compute(region, IMAGE)


@pytest.mark.cluster
def test_load_once__loads_once_in_each_process(tmp_path):
    (tmp_path / "notes").mkdir()
    array = segmented(threshold(tmp_path, notes=str(tmp_path / "notes")), IMAGE, (2, 8, 7))
    grid = Grid(SHAPE[1:], (2, 8, 7))
    target = Target(tmp_path / "phase", grid, (2, 8, 7), "uint8", tuple("zyx"), {})
    with local_cluster(workers=2, threads=2) as client:
        execution = Execution(client=client)
        report = write_array(array, target, execution, name="segment", values={})
    assert report.failures == []
    loads = Counter(note.name.split("-")[0] for note in (tmp_path / "notes").iterdir())
    assert 1 <= len(loads) <= 2
    assert set(loads.values()) == {1}
