"""Planes without data count nowhere: gaps, failed slices, pixels that were shifted in."""

import numpy as np
import pytest
import xarray as xr

from fibdask import statistics
from fibdask.conventions import (
    ConventionError,
    FibdaskWarning,
    attributes,
    build_stack,
    known_planes,
    with_filled_share,
)
from fibdask.inpaint import inpaint_gaps
from fibdask.io import open_stack, save_stack
from fibdask.segment import segment_phases
from fibdask.statistics import (
    connected_fraction,
    isotropy_errors,
    ligament_diameter,
    lineal_path,
    local_thickness,
    local_thickness_distribution,
    patch_statistics,
    percolates,
    phase_statistics,
    segmentation_errors,
    solid_fraction,
    solid_fraction_profile,
    specific_surface_area,
    statistics_warnings,
    two_point_correlation,
)
from fibdask.thickness import reposition_slices
from tests.statistics.helpers import in_blocks, noise, phase_of

SHAPE = (12, 20, 24)
MEASURED = np.isin(np.arange(12), (0, 1, 2, 5, 6, 7, 9, 11))


def with_gaps(volume, array=None):
    """Return a phase whose planes hold pores where they are not measured."""
    gapped = np.where(MEASURED[:, None, None], volume, np.uint8(0))
    phase = phase_of(gapped if array is None else array(gapped))
    return phase.assign_coords(measured=("z", MEASURED, attributes("measured")))


def repositioned(seed=0):
    """Return a stack of images with a phase and its truth, with a gap below every slice."""
    truth = noise((8, 20, 24), 0.6, seed)
    stack = build_stack(
        {"intensity": 100 * truth[None] + np.uint8(50), "phase": truth, "true_phase": truth},
        z=20.0 * np.arange(8),
        pixel_size=(10, 10),
        nominal_thickness=20.0,
        voltage=np.array([2.0]),
    )
    return reposition_slices(stack, spacing=10.0)


STATISTICS = {
    "solid_fraction": {},
    "solid_fraction_profile": {},
    "two_point_correlation": {"max_lag": 5},
    "lineal_path": {"max_lag": 5},
    "chord_length_distribution": {},
    "isotropy_errors": {"max_lag": 5},
    "radial_two_point_correlation": {"max_lag": 5},
    "specific_surface_area": {},
    "phase_statistics": {"max_lag": 5},
}


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("array", [None, lambda volume: in_blocks(volume, (5, 8, 24))])
def test_statistics__leave_out_planes_that_are_not_measured(name, array):
    volume, statistic = noise(SHAPE, 0.6), getattr(statistics, name)
    mask = xr.DataArray(MEASURED, dims="z")
    expected = statistic(phase_of(volume), mask=mask, **STATISTICS[name]).compute()
    found = statistic(with_gaps(volume, array), **STATISTICS[name]).compute()
    kept = found.drop_vars("measured", errors="ignore").drop_attrs(deep=False)
    xr.testing.assert_identical(kept, expected.drop_attrs(deep=False))


@pytest.mark.parametrize("dims", ["z", "yx", "zyx"])
@pytest.mark.parametrize("array", [None, lambda volume: in_blocks(volume, (5, 8, 24))])
def test_statistics__count_where_a_mask_and_the_measured_planes_do(dims, array):
    volume = noise(SHAPE, 0.6)
    sizes = tuple(n for n, axis in zip(SHAPE, "zyx", strict=True) if axis in dims)
    mask = xr.DataArray(noise(sizes, 0.7, 3), dims=tuple(dims))
    both = (mask > 0) & xr.DataArray(MEASURED, dims="z")
    expected = two_point_correlation(phase_of(volume), max_lag=4, mask=both)
    for given in (mask, mask > 0):
        found = two_point_correlation(with_gaps(volume, array), max_lag=4, mask=given)
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(ConventionError, match="a mask must be 0 or 1; found 2"):
        solid_fraction(with_gaps(volume, array), mask=2 * mask).compute()


@pytest.mark.parametrize("values", [MEASURED.astype(np.uint8), np.where(MEASURED, 1, np.nan)])
def test_statistics__refuse_marks_of_planes_that_are_neither_true_nor_false(values):
    phase = phase_of(noise(SHAPE)).assign_coords(measured=("z", values))
    with pytest.raises(ConventionError, match=r"of type bool; found .*: take measured == 1"):
        solid_fraction(phase)


def test_statistics__of_a_box_leave_out_its_planes():
    volume, box = noise(SHAPE, 0.6), {"z": (2, 9), "x": (3, 20)}
    inside = xr.DataArray(MEASURED[2:9], dims="z")
    expected = lineal_path(phase_of(volume[2:9, :, 3:20]), max_lag=4, mask=inside)
    found = lineal_path(with_gaps(volume), max_lag=4, mask=box)
    np.testing.assert_array_equal(found, expected)
    assert np.isfinite(connected_fraction(with_gaps(volume), mask={"z": (5, 8)}))


def test_statistics__of_planes_that_have_no_neighbour_are_unknown_along_z():
    stack = repositioned()
    found = phase_statistics(stack.phase, max_lag=4).compute()
    assert float(found.solid_fraction) == stack.true_phase.values[::2].mean()
    np.testing.assert_array_equal(np.isnan(found.solid_fraction_profile), np.arange(15) % 2 == 1)
    pairs = found.two_point_correlation.sel(axis="z")
    np.testing.assert_array_equal(np.isnan(pairs), [False, True, False, True, False])
    assert np.isnan(found.ligament_diameter.sel(axis="z"))
    assert np.isnan(found.ligament_diameter_interval.sel(axis="z")).all()
    assert np.isnan(found.isotropy_error).all()
    assert "7 of 15 planes are not measured; they are left out" in found.attrs["warnings"]


def test_patch_statistics__leave_out_planes_that_are_not_measured():
    volume = noise(SHAPE, 0.6)
    found = patch_statistics(with_gaps(volume), max_lag=2, patch=20).compute()
    expected = two_point_correlation(with_gaps(volume).isel(x=slice(0, 20)), max_lag=2)
    np.testing.assert_array_equal(found.two_point_correlation, expected)


def test_segmentation_errors__leave_out_planes_unknown_to_either():
    volume, truth = noise(SHAPE, 0.6), noise(SHAPE, 0.6, 1)
    expected = segmentation_errors(phase_of(volume[MEASURED]), phase_of(truth[MEASURED])).compute()
    gapped, unknown = with_gaps(volume), with_gaps(truth)
    for pair in ((gapped, phase_of(truth)), (gapped, unknown)):
        xr.testing.assert_identical(segmentation_errors(*pair).compute(), expected)
    mask = xr.DataArray(MEASURED, dims="z")
    found = segmentation_errors(phase_of(volume), unknown, mask=mask).compute()
    xr.testing.assert_identical(found, expected)


@pytest.mark.parametrize(
    ("mask", "planes", "missing"),
    [
        (None, slice(None), "7 of 15 planes .* plane 1 "),
        ({"z": (2, 12)}, slice(2, 12), "5 of 15 planes .* plane 3 "),
        (xr.DataArray(np.arange(15) > 1, dims="z"), slice(2, None), "6 of 15 planes .* plane 3 "),
    ],
)
def test_segmentation_errors__tell_of_planes_that_only_the_truth_is_unknown_in(
    mask, planes, missing
):
    filled = inpaint_gaps(repositioned()[["phase"]], method="nearest")
    stack = filled.assign(true_phase=(("z", "y", "x"), noise((15, 20, 24), 0.6)))
    phase, truth = stack["phase"], stack["true_phase"]
    wrong = 100 * np.mean(phase.values[planes] != truth.values[planes])
    whole = truth.drop_vars("measured")
    assert float(segmentation_errors(phase, whole, mask=mask).misplaced) == wrong
    with pytest.warns(FibdaskWarning, match=f"the truth counts as unknown in {missing}") as told:
        found = phase_statistics(phase, max_lag=2, truth=truth, mask=mask)
    assert str(told[0].message) in statistics_warnings(found)


@pytest.mark.parametrize("statistic", [connected_fraction, percolates])
def test_connectivity__needs_a_mask_for_gaps(statistic):
    phase = with_gaps(noise(SHAPE, 0.6))
    message = r"4 of 12 planes are not measured, plane 3 the first: inpaint first .* give mask="
    with pytest.raises(ConventionError, match=message):
        statistic(phase)
    mask = xr.DataArray(MEASURED, dims="z")
    expected = statistic(phase_of(phase.values), mask=mask)
    np.testing.assert_array_equal(statistic(phase, mask=mask), expected)


def test_local_thickness__refuses_gaps():
    phase = with_gaps(noise(SHAPE, 0.6))
    with pytest.raises(ConventionError, match=r"4 of 12 planes .*phase\.isel"):
        local_thickness(phase, max_thickness=4)
    with pytest.raises(ConventionError, match="4 of 12 planes are not measured"):
        local_thickness_distribution(phase, max_thickness=4, mask=xr.DataArray(MEASURED, dims="z"))


@pytest.mark.parametrize("method", ["distance", "nearest", "spline"])
def test_statistics__count_planes_that_were_inpainted_in_the_volume(method, tmp_path):
    filled = inpaint_gaps(repositioned(), method=method)
    save_stack(filled, tmp_path / "s.zarr")
    for stack in (filled, open_stack(tmp_path / "s.zarr")):
        for part in (slice(None), slice(3, 10)):
            phase = stack.phase.isel(z=part)
            assert float(solid_fraction(phase)) == phase.values.mean()
            assert np.isfinite(local_thickness_distribution(phase, max_thickness=40)).all()
            assert float(solid_fraction_profile(phase).isnull().sum()) == 0
        gaps = solid_fraction_profile(stack.true_phase).isnull().sum()
        assert int(gaps) == 7  # the truth of planes that have none is not made up


def test_statistics__count_inpainted_planes_of_stores_that_do_not_mark_them(tmp_path):
    filled = inpaint_gaps(repositioned(), method="distance").drop_vars("inpainted")
    save_stack(filled, tmp_path / "s.zarr")
    stack = open_stack(tmp_path / "s.zarr")
    assert int(solid_fraction_profile(stack.phase).isnull().sum()) == 0
    assert int(solid_fraction_profile(stack.true_phase).isnull().sum()) == 7


def test_statistics__count_inpainted_planes_of_stores_that_named_what_is_filled(tmp_path):
    filled = inpaint_gaps(repositioned(), method="distance")
    named = filled.drop_attrs(deep=False).assign_attrs(filled.attrs)
    named = named.map(lambda volume: volume.drop_attrs(deep=False))
    named = named.assign_coords(inpainted=filled.inpainted.assign_attrs(variables=["phase"]))
    save_stack(named, tmp_path / "s.zarr")
    opened = open_stack(tmp_path / "s.zarr")
    assert opened.phase.attrs["filled_where"] == "inpainted"
    for stack in (named, opened, xr.open_zarr(tmp_path / "s.zarr", chunks=None)):
        assert int(solid_fraction_profile(stack.phase).isnull().sum()) == 0
        assert int(solid_fraction_profile(stack.true_phase).isnull().sum()) == 7


def test_statistics__count_inpainted_planes_of_a_phase_by_another_name():
    phase = inpaint_gaps(repositioned(), method="distance").phase
    for other in (phase.rename("gold"), phase.astype(bool), phase.rename(None)):
        assert int(solid_fraction_profile(other).isnull().sum()) == 0


def test_statistics__of_some_planes_of_a_stack_are_those_of_its_methods():
    volume, z = noise((6, 20, 24)), np.cumsum([5.0, 5, 20, 5, 5, 20])
    stack = build_stack({"phase": volume}, z=z, pixel_size=(4, 4), nominal_thickness=5.0)
    some, one = stack.isel(z=slice(None, None, 2)), stack.isel(z=[1])
    assert solid_fraction_profile(some.phase).identical(some.fib.solid_fraction_profile())
    found = two_point_correlation(one.phase, max_lag=3)
    assert found.identical(one.fib.two_point_correlation(max_lag=3))


def test_local_thickness__counts_inpainted_planes_of_a_phase_by_another_name():
    phase = inpaint_gaps(repositioned(), method="distance").phase
    expected = local_thickness_distribution(phase, max_thickness=40)
    for name in ("gold", None):
        other = phase.rename(name)
        assert local_thickness_distribution(other, max_thickness=40).identical(expected)
        assert known_planes(local_thickness(other, max_thickness=40)).all()


def test_statistics__leave_out_planes_of_a_phase_that_nobody_has_filled():
    filled = inpaint_gaps(repositioned(), method="distance")
    own = filled.assign(phase=filled.true_phase)
    for phase in (own.phase, filled.phase & filled.true_phase):
        assert int(solid_fraction_profile(phase).isnull().sum()) == 7
    for mine in ((filled.phase.dims, filled.phase.values), filled.phase.copy(deep=True)):
        assert int(solid_fraction_profile(filled.assign(phase=mine).phase).isnull().sum()) == 0


def test_statistics__leave_out_planes_that_were_filled_before_slices_were_repositioned():
    again = reposition_slices(inpaint_gaps(repositioned(), method="nearest"), spacing=5.0)
    assert "filled_where" not in again.phase.attrs
    filled = inpaint_gaps(again, method="distance").assign(before=again.phase)
    assert int(solid_fraction_profile(filled.before).isnull().sum()) == 21


def test_statistics__count_planes_segmented_from_inpainted_images():
    for method, gaps in (("nearest", 0), ("distance", 7)):
        stack = segment_phases(inpaint_gaps(repositioned(), method=method), method="otsu")
        assert int(solid_fraction_profile(stack.phase).isnull().sum()) == gaps, method


def test_statistics__leave_out_planes_of_a_joined_part_that_was_filled_in_other_volumes(tmp_path):
    gapped = repositioned().rename(true_phase="gold")
    parts = [gapped.isel(z=slice(0, 7)), gapped.isel(z=slice(7, 15))]
    methods = [("nearest", "distance"), ("nearest", "nearest")]
    for pair, gaps in zip(methods, ([7, 9, 11, 13], []), strict=True):
        filled = [inpaint_gaps(part, method=m) for part, m in zip(parts, pair, strict=True)]
        joined = xr.concat(filled, "z")
        opened = open_stack(save_stack(joined, tmp_path / f"{pair[1]}.zarr"))
        for stack in (joined, opened, segment_phases(joined, method="otsu")):
            for phase in (stack.phase, stack.gold):
                assert np.flatnonzero(solid_fraction_profile(phase).isnull()).tolist() == gaps
    again = inpaint_gaps(opened, method="nearest")
    assert not solid_fraction_profile(again.gold).isnull().any()


def test_statistics__leave_out_what_is_a_gap_again():
    filled = inpaint_gaps(repositioned(), method="distance")
    again = reposition_slices(filled, spacing=5.0)
    assert int(solid_fraction_profile(again.phase).isnull().sum()) == 21
    measured = filled["measured"].copy()
    measured[4] = False
    marked = filled.assign_coords(measured=measured)
    assert np.flatnonzero(solid_fraction_profile(marked.phase).isnull()).tolist() == [4]


def with_edges(volume, share):
    return phase_of(volume).assign_coords(filled_share=("z", share))


@pytest.mark.parametrize(
    "statistic", [solid_fraction, ligament_diameter, specific_surface_area, connected_fraction]
)
def test_statistics__refuse_pixels_that_were_shifted_in(statistic):
    volume, share = noise(SHAPE, 0.6), np.zeros(12)
    assert statistic(with_edges(volume, share)).equals(statistic(phase_of(volume)))
    share[[4, 7]] = 0.02, 0.125
    with pytest.raises(ConventionError, match=r"2 of 12 slices .* slice 7 12\.5%: crop"):
        statistic(with_edges(volume, share))
    box = {"y": (2, 20)}
    expected = statistic(phase_of(volume), mask=box)
    np.testing.assert_array_equal(statistic(with_edges(volume, share), mask=box), expected)


def test_local_thickness__refuses_pixels_that_were_shifted_in():
    phase = with_edges(noise(SHAPE, 0.6), np.full(12, 0.1))
    with pytest.raises(ConventionError, match="12 of 12 slices have some"):
        local_thickness(phase, max_thickness=4)


def test_statistics__do_not_mind_edges_of_planes_that_do_not_count():
    share = np.where(MEASURED, 0.0, np.nan)
    share[3] = 0.5
    phase = with_gaps(noise(SHAPE, 0.6)).assign_coords(filled_share=("z", share))
    assert np.isfinite(isotropy_errors(phase, max_lag=2).two_point_correlation)


def test_statistics__of_what_every_slice_covers_are_those_of_the_part():
    volume, share = noise(SHAPE, 0.6), np.linspace(0, 0.2, 12)
    stack = phase_of(volume).to_dataset(name="phase")
    covered = {"y": slice(3, 18), "x": slice(0, 20)}
    phase = with_filled_share(stack, share, covered)["phase"]
    with pytest.raises(ConventionError, match=r"box {'y': \(3, 18\), 'x': \(0, 20\)}"):
        solid_fraction(phase)
    expected = volume[:, 3:18, :20].mean()
    assert float(solid_fraction(phase, mask={"y": (3, 18), "x": (0, 20)})) == expected
    part = phase.isel(covered)
    assert float(solid_fraction(part)) == expected
    warnings = phase_statistics(part, max_lag=3).attrs["warnings"]
    assert warnings[0].startswith("alignment filled up to 20.0% of a slice")


def test_statistics__masks_must_leave_out_what_alignment_filled():
    volume, share = noise(SHAPE, 0.6), np.where(np.arange(12) < 6, 0.0, 0.2)
    covered = {"y": slice(3, 18), "x": slice(0, 20)}
    stack = phase_of(volume).to_dataset(name="phase")
    phase = with_filled_share(stack, share, covered)["phase"]
    plane = xr.zeros_like(phase[0], bool).drop_vars("z")
    plane[covered] = True
    deep = xr.DataArray(np.arange(12) > 3, dims="z")
    for mask in ({"z": (4, 12)}, {"x": (0, 20)}, {"y": (2, 18), "x": (0, 20)}, deep, plane[5]):
        for statistic in (solid_fraction, specific_surface_area, connected_fraction):
            with pytest.raises(ConventionError, match=r"box {'y': \(3, 18\), 'x': \(0, 20\)}"):
                statistic(phase, mask=mask)
    part = volume[:, 3:18, :20].mean()
    assert float(solid_fraction(phase, mask=plane)) == part
    assert float(solid_fraction(phase, mask=plane.chunk())) == part
    assert float(solid_fraction(phase, mask=plane.expand_dims(z=12))) == part
    assert float(solid_fraction(phase, mask={"z": (0, 6)})) == volume[:6].mean()


@pytest.mark.parametrize(("solid", "name"), [(0, "solid"), (1, "pore")])
def test_statistics_warnings__name_a_phase_of_which_there_is_nothing(solid, name):
    phase = phase_of(np.full((5, 6, 7), solid, np.uint8))
    found = statistics_warnings(phase_statistics(phase, max_lag=2).compute())
    assert f"0 of the voxels are {name}" in found[0]


def test_statistics_warnings__tell_nothing_of_isotropy_errors_that_there_are_not():
    phase = phase_of(noise((1, 20, 20), 0.99))
    found = statistics_warnings(phase_statistics(phase, max_lag=2).compute())
    assert not any("isotropy" in text for text in found)
