"""Pictures keep proportions, irregular depths and averages."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fibdask.conventions import build_stack
from fibdask.report.figures import slices
from fibdask.report.figures.plots import scale_bar_length


def stack_of(phase, z, pixel_size=(5, 5), nominal_thickness=5):
    return build_stack(
        {"phase": phase}, z=z, pixel_size=pixel_size, nominal_thickness=nominal_thickness
    )


def pictures_of(stack, gaps=None):
    gaps = np.zeros(stack.sizes["z"], bool) if gaps is None else gaps
    where = slices.geometry(stack)
    planes = slices.read_planes({"phase": stack["phase"]}, where)["phase"]
    return slices.label_pictures(planes, [(0, 0, 0), (1, 1, 1)], where, gaps)


@given(data=st.data())
def test_averaged__keeps_the_mean(data):
    steps = data.draw(st.lists(st.floats(0.5, 20), min_size=1, max_size=12))
    values = data.draw(st.lists(st.floats(0, 1), min_size=len(steps), max_size=len(steps)))
    edges = np.append(0, np.cumsum(steps))
    average = slices._averaged(np.array(values), edges, data.draw(st.integers(1, 30)))
    assert average.mean() == pytest.approx(np.average(values, weights=steps), abs=1e-9)


def test_averaged__is_nearest_slice_on_a_fine_grid():
    average = slices._averaged(np.array([1.0, 2, 3]), np.array([0.0, 10, 15, 30]), 30)
    np.testing.assert_allclose(average, np.repeat([1, 2, 3], [10, 5, 15]))


def test_label_pictures__have_square_pixels_in_all_views():
    pictures = pictures_of(
        stack_of(np.zeros((10, 20, 40), np.uint8), 10.0 * np.arange(10), nominal_thickness=10)
    )
    assert pictures["xy"].shape == (320, 640, 3)
    assert pictures["xz"].shape == (320, 640, 3)
    assert pictures["yz"].shape == (320, 320, 3)


def test_label_pictures__show_slices_at_their_depth():
    phase = np.zeros((3, 4, 4), np.uint8)
    phase[1] = 1
    pictures = pictures_of(stack_of(phase, [0, 30, 50], nominal_thickness=50))
    column = pictures["xz"][:, 0, 0]
    np.testing.assert_array_equal(np.flatnonzero(column > 0.5)[[0, -1]], [192, 319])


def test_label_pictures__colour_gaps():
    stack = stack_of(np.ones((4, 4, 4), np.uint8), 5.0 * np.arange(4))
    pictures = pictures_of(stack, np.array([False, False, True, False]))
    np.testing.assert_allclose(pictures["yz"][400, 5], slices.GAP)
    np.testing.assert_allclose(pictures["yz"][100, 5], 1)


def test_label_pictures__of_large_images_keep_their_averages():
    phase = np.zeros((1, 4000, 3000), np.uint8)
    phase[:, :1000] = 1
    picture = pictures_of(stack_of(phase, [0.0]))["xy"]
    assert picture.shape == (640, 480, 3)
    assert picture.mean() == pytest.approx(0.25, abs=1e-3)


def test_grey_pictures__do_not_let_gaps_set_the_contrast():
    gaps = np.array([False, True])
    where = slices.geometry(stack_of(np.ones((2, 6, 6), np.uint8), [0.0, 5]), ~gaps)
    image = {"xy": np.full((6, 6), 100.0), "xz": np.zeros((2, 6)), "yz": np.zeros((2, 6))}
    image["xy"][:, ::2] = 110
    image["xz"][0] = image["yz"][0] = 100
    pictures = slices.grey_pictures(image, where, gaps)
    assert pictures["xy"].min() == pytest.approx(0)
    assert pictures["xy"].max() == pytest.approx(1)


@pytest.mark.parametrize("known", [True, False])
def test_grey_pictures__colour_what_is_not_finite_as_gaps(known):
    where = slices.geometry(stack_of(np.ones((2, 6, 6), np.uint8), [0.0, 5]))
    shapes = {"xy": (6, 6), "xz": (2, 6), "yz": (2, 6)}
    image = {view: np.full(shape, 5.0 if known else np.nan) for view, shape in shapes.items()}
    image["xy"][:, :3] = np.nan
    picture = slices.grey_pictures(image, where, np.zeros(2, bool))["xy"]
    np.testing.assert_allclose(picture[:, 0], np.tile(slices.GAP, (len(picture), 1)))
    np.testing.assert_allclose(picture[:, -1], 0 if known else picture[:, 0])


def test_geometry__takes_the_preferred_plane_nearest_to_the_middle():
    stack = stack_of(np.zeros((9, 2, 2), np.uint8), 5.0 * np.arange(9))
    assert slices.geometry(stack).place["z"] == 4
    preferred = np.array([1, 0, 0, 0, 0, 0, 1, 0, 1], bool)
    assert slices.geometry(stack, preferred).place["z"] == 6


def test_read_planes__reads_only_the_planes():
    read = []

    def block(values, block_info):
        read.append(block_info[0]["chunk-location"])
        return values

    phase = da.zeros((6, 6, 6), chunks=2, dtype=np.uint8)
    lazy = phase.map_blocks(block, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8))
    stack = stack_of(np.zeros((6, 6, 6), np.uint8), 5.0 * np.arange(6))
    slices.read_planes({"phase": stack["phase"].copy(data=lazy)}, slices.geometry(stack))
    assert len(set(read)) == 19  # of 27 blocks; those that none of the three planes cuts are left


@pytest.mark.parametrize(
    ("width", "length", "text"),
    [(30, 10, "10 nm"), (1000, 200, "200 nm"), (3100, 1000, "1 µm"), (19, 5, "5 nm")],
)
def test_scale_bar_length__is_round_and_up_to_a_third(width, length, text):
    assert scale_bar_length(width) == (pytest.approx(length), text)
