"""Pores, pairs across phases, masks and boxes: equal to the definition under any chunking."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from fibdask import statistics
from fibdask.blocks import origin
from fibdask.conventions import ConventionError
from fibdask.statistics import (
    chord_length_distribution,
    isotropy_errors,
    ligament_diameter,
    lineal_path,
    radial_two_point_correlation,
    solid_fraction,
    solid_fraction_profile,
    two_point_correlation,
)
from tests.statistics import naive
from tests.statistics.helpers import AXES, in_blocks, noise, phase_of, ragged, random_volumes

MAX_LAG = 6


@st.composite
def masks(draw, shape):
    """Draw masks of any axes, or none."""
    axes = draw(st.sampled_from(("", "z", "yx", "zyx")))
    if not axes:
        return None
    sizes = tuple(n for n, axis in zip(shape, AXES, strict=True) if axis in axes)
    return xr.DataArray(noise(sizes, 0.7, draw(st.integers(0, 99))) > 0, dims=tuple(axes))


def values_of(mask, shape):
    if mask is None:
        return None
    return np.broadcast_to(
        mask.values.reshape([n if a in mask.dims else 1 for n, a in zip(shape, AXES, strict=True)]),
        shape,
    )


def variants(draw, volume):
    """Return the volume in memory, ragged chunks and blocks, each with the same mask."""
    mask = draw(masks(volume.shape))
    block = draw(st.tuples(*(st.integers(1, 9),) * 3))
    for array in (volume, draw(ragged(volume)), in_blocks(volume, block)):
        yield phase_of(array, (3.0, 2.0, 0.5)), mask


@given(data=st.data(), volume=random_volumes(), of=st.sampled_from(("solid", "pore", "cross")))
def test_two_point_correlation__equals_the_definition(data, volume, of):
    for phase, mask in variants(data.draw, volume):
        found = two_point_correlation(phase, max_lag=MAX_LAG, of=of, mask=mask)
        where = values_of(mask, volume.shape)
        expected = [naive.two_point_correlation(volume, a, MAX_LAG, of, where) for a in AXES]
        np.testing.assert_array_equal(found, expected)


@given(data=st.data(), volume=random_volumes(), of=st.sampled_from(("solid", "pore")))
def test_lineal_path__equals_the_definition(data, volume, of):
    for phase, mask in variants(data.draw, volume):
        found = lineal_path(phase, max_lag=MAX_LAG, of=of, mask=mask)
        where = values_of(mask, volume.shape)
        expected = [naive.lineal_path(volume, a, MAX_LAG, of, where) for a in AXES]
        np.testing.assert_array_equal(found, expected)


@given(data=st.data(), volume=random_volumes(), of=st.sampled_from(("solid", "pore")))
def test_chord_length_distribution__equals_the_definition(data, volume, of):
    for phase, mask in variants(data.draw, volume):
        found = chord_length_distribution(phase, of=of, mask=mask).compute()
        for axis in AXES:
            inner, cut = naive.chords(volume, axis, of, values_of(mask, volume.shape))
            along = found.sel(axis=axis).isel(length=slice(len(inner)))
            np.testing.assert_array_equal(along.chords, inner)
            np.testing.assert_array_equal(along.cut_chords, cut)


@pytest.mark.filterwarnings("ignore:the ligament diameter along")
@given(data=st.data(), volume=random_volumes(), of=st.sampled_from(("solid", "pore")))
def test_ligament_diameter__equals_the_definition(data, volume, of):
    for phase, mask in variants(data.draw, volume):
        where = values_of(mask, volume.shape)
        spacing = zip(AXES, (3.0, 2.0, 0.5), strict=True)
        expected = [naive.ligament_diameter(volume, a, h, of, where) for a, h in spacing]
        found = ligament_diameter(phase, of=of, mask=mask)
        np.testing.assert_allclose(found, expected, rtol=1e-13)


@given(data=st.data(), volume=random_volumes())
def test_solid_fraction__counts_the_voxels_of_a_mask(data, volume):
    for phase, mask in variants(data.draw, volume):
        inside = np.ones(volume.shape) if mask is None else values_of(mask, volume.shape)
        solid, every = (volume * inside).sum(axis=(1, 2)), inside.sum(axis=(1, 2))
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(solid_fraction_profile(phase, mask=mask), solid / every)
            total = np.divide(solid.sum(), every.sum())
        np.testing.assert_array_equal(solid_fraction(phase, mask=mask), total)


@pytest.mark.parametrize("chunk", [1, 1000, (3, 998, 2)])
@pytest.mark.parametrize("of", ["solid", "cross"])
def test_two_point_correlation__is_the_same_for_thin_thick_and_ragged_chunks(chunk, of):
    volume = noise((1003, 2, 3), 0.8)
    chunked = phase_of(da.from_array(volume, chunks=(chunk, 2, 3)))
    whole = two_point_correlation(phase_of(volume), max_lag=400, of=of, confidence=0.9)
    found = two_point_correlation(chunked, max_lag=400, of=of, confidence=0.9)
    xr.testing.assert_identical(found.compute(), whole.compute())


@given(random_volumes())
def test_two_point_correlation__of_both_phases_and_across_add_up_to_one(volume):
    phase = phase_of(volume)
    solid, pore, cross = (
        two_point_correlation(phase, max_lag=MAX_LAG, of=of).values
        for of in ("solid", "pore", "cross")
    )
    total = (solid + pore + 2 * cross)[np.isfinite(solid)]
    np.testing.assert_allclose(total, 1, rtol=1e-14)


@pytest.mark.parametrize(
    "statistic", [two_point_correlation, lineal_path, isotropy_errors, ligament_diameter]
)
def test_statistics__of_pores_are_those_of_the_inverse(statistic):
    volume = noise((20, 30, 70), 0.3)
    options = {} if statistic is ligament_diameter else {"max_lag": 5}
    pores = statistic(phase_of(volume), of="pore", **options).compute()
    inverse = statistic(phase_of(1 - volume), **options).compute()
    xr.testing.assert_identical(pores, inverse)


@pytest.mark.parametrize("name", ["two_point_correlation", "lineal_path", "isotropy_errors"])
def test_statistics__of_a_box_are_those_of_the_part_and_of_a_mask(name):
    volume, box = noise((12, 30, 70), 0.6), {"z": (2, 9), "x": (5, 66)}
    statistic, part = getattr(statistics, name), volume[2:9, :, 5:66]
    inside = np.zeros(volume.shape, np.uint8)
    inside[2:9, :, 5:66] = 1
    mask = xr.DataArray(inside, dims=AXES)
    expected = statistic(phase_of(part), max_lag=6).compute()
    for array in (volume, in_blocks(volume, (5, 7, 64))):
        for where in (box, mask, mask > 0):
            found = statistic(phase_of(array), max_lag=6, mask=where).compute()
            xr.testing.assert_allclose(found, expected, rtol=1e-12)


def test_lineal_path__of_measured_planes_alone_never_crosses_a_gap():
    volume = np.ones((9, 4, 4), np.uint8)
    measured = xr.DataArray([True] * 4 + [False] + [True] * 4, dims="z")
    path = lineal_path(phase_of(volume), max_lag=5, axes=("z",), mask=measured)
    pairs = two_point_correlation(phase_of(volume), max_lag=5, axes=("z",), mask=measured)
    np.testing.assert_array_equal(path[0], [1, 1, 1, 1, np.nan, np.nan])
    np.testing.assert_array_equal(pairs[0], np.ones(6))


def test_chord_length_distribution__weighs_by_number_and_by_length():
    row = np.array([1, 0, 1, 0, 1, 1, 1, 0, 1, 1], np.uint8).reshape(1, 1, 10)
    found = chord_length_distribution(phase_of(row, (1.0, 1.0, 2.5)), axes=("x",)).isel(axis=0)
    np.testing.assert_array_equal(found.chords[:4], [1, 0, 1, 0])
    np.testing.assert_array_equal(found.cut_chords[:4], [1, 1, 0, 0])
    np.testing.assert_array_equal(found.number_weighted[:4], [0.5, 0, 0.5, 0])
    np.testing.assert_array_equal(found.length_weighted[:4], [0.25, 0, 0.75, 0])
    np.testing.assert_array_equal(found.distance[:4], [2.5, 5, 7.5, 10])


@given(random_volumes())
def test_chord_length_distribution__holds_all_solid_voxels(volume):
    found = chord_length_distribution(phase_of(volume))
    total = ((found.chords + found.cut_chords) * found.length).sum("length")
    assert (total == volume.sum()).all()


def test_ligament_diameter__per_plane_is_the_mean_of_two_axes():
    phase = phase_of(noise((20, 30, 40), 0.6), (4.0, 2.0, 1.0))
    z, y, x = ligament_diameter(phase).values
    planes = ligament_diameter(phase, per="plane")
    assert list(planes.plane.values) == ["xy", "xz", "yz"]
    np.testing.assert_array_equal(planes, [(x + y) / 2, (x + z) / 2, (y + z) / 2])


def test_radial_two_point_correlation__is_the_mean_over_axes_at_equal_distances():
    phase = phase_of(noise((20, 30, 40), 0.6), (4.0, 2.0, 1.0))
    curves = two_point_correlation(phase, max_lag=12)
    radial = radial_two_point_correlation(phase, max_lag=12)
    np.testing.assert_array_equal(radial.distance, [0, 4, 8, 12])
    z, y, x = curves.values
    np.testing.assert_allclose(radial, (z[:4] + y[:8:2] + x[::4]) / 3, rtol=1e-14)


def test_radial_two_point_correlation__interpolates_between_lags():
    phase = phase_of(noise((20, 30, 40), 0.6), (3.0, 2.0, 2.0))
    curves = two_point_correlation(phase, max_lag=4, axes=("z", "y"))
    radial = radial_two_point_correlation(phase, max_lag=4, axes=("z", "y"))
    along_y = np.interp([0, 3, 6], 2.0 * np.arange(5), curves[1])
    np.testing.assert_allclose(radial, (curves[0, :3] + along_y) / 2, rtol=1e-14)


def test_radial_two_point_correlation__is_known_where_all_axes_are():
    phase = phase_of(noise((9, 8, 7)))
    every_other = xr.DataArray(np.arange(9) % 2 == 0, dims="z")
    curves = two_point_correlation(phase, max_lag=4, mask=every_other).values
    found = radial_two_point_correlation(phase, max_lag=4, mask=every_other).values
    np.testing.assert_allclose(found, curves.mean(axis=0), rtol=1e-14)
    np.testing.assert_array_equal(np.isnan(found), [False, True, False, True, False])


def test_statistics__with_a_small_mask_in_memory_stay_readable_by_coordinates():
    phase = phase_of(in_blocks(noise((9, 70, 66)), (4, 64, 64)))
    measured = xr.DataArray(np.arange(9) % 2 == 0, dims="z")
    assert origin(two_point_correlation(phase, max_lag=2, mask=measured).data) is not None


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ({"x": (3, 3)}, r"0 <= start < stop <= 6; got \(3, 3\)"),
        ({"voltage": (0, 1)}, "a mask has the axes z, y, x; got 'voltage'"),
        (xr.DataArray(np.ones(4), dims="z"), "must be of type bool or uint8; found float64"),
        (xr.DataArray(np.ones(3, bool), dims="z"), "along z they have 3 and 4"),
        (xr.DataArray(np.ones(3, bool), dims="t"), r"dimensions among z, y, x; found \(t\)"),
        (xr.DataArray(np.full(4, 2, np.uint8), dims="z"), "a mask must be 0 or 1; found 2"),
        (np.ones((4, 5, 6), bool), "must be an xarray.DataArray, or a box .*; got ndarray"),
        (
            xr.DataArray(np.ones(6, bool), dims="x", coords={"x": 10.0 * np.arange(6)[::-1]}),
            "phase and mask must lie on the same voxels; x is .* nm and .* nm at position",
        ),
    ],
)
def test_statistics__refuse_a_mask_that_does_not_fit(mask, message):
    with pytest.raises(ConventionError, match=message):
        lineal_path(phase_of(noise((4, 5, 6))), max_lag=1, mask=mask).compute()


def test_statistics__refuse_a_mask_of_other_planes():
    phase = phase_of(noise((8, 5, 6)))
    upper, lower = phase.isel(z=slice(0, 4)), phase.isel(z=slice(4, 8))
    assert solid_fraction(upper, mask=upper > 0) == 1
    with pytest.raises(ConventionError, match="phase and mask must lie on the same voxels; z is"):
        solid_fraction(upper, mask=lower > 0)


@pytest.mark.parametrize("axis", ["z", "y"])
def test_statistics__refuse_a_mask_of_another_single_plane_or_row(axis):
    places = {
        a: (a, 5.0 * np.arange(n), {"units": "nm"}) for a, n in zip("zyx", (4, 5, 6), strict=True)
    }
    phase = xr.DataArray(noise((4, 5, 6)), places, ("z", "y", "x"))
    one, other = phase.isel({axis: [1]}), phase.isel({axis: [2]})
    assert solid_fraction(one, mask=one > 0) == 1
    with pytest.raises(ConventionError, match=f"lie on the same voxels; {axis} is 5 nm and 10 nm"):
        solid_fraction(one, mask=other > 0)


def test_lineal_path__refuses_pairs_across_phases():
    with pytest.raises(ConventionError, match="of must be one of solid, pore; got 'cross'"):
        lineal_path(phase_of(noise((4, 5, 6))), max_lag=1, of="cross")
