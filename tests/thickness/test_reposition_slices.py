"""Repositioning: every slice keeps a plane of its own, as near to its depth as can be."""

import json

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fibdask.conventions import ConventionError, FibdaskWarning, build_stack
from fibdask.thickness import apply_slice_thickness, reposition_slices
from fibdask.thickness._kernels.planes import free_planes, nearest_planes
from tests.thickness.naive import least_displacement


@st.composite
def positions(draw, most=40):
    """Depths of slices in planes, strictly increasing, that have planes enough."""
    steps = draw(st.lists(st.floats(0.01, 3), min_size=0, max_size=most - 1))
    start = draw(st.floats(-5, 5))
    depths = start + np.append(0, np.cumsum(steps))
    first, last = nearest_planes(depths[[0, -1]])
    assume(last - first + 1 >= len(depths))
    return depths


def stack_at(z, shape=(3, 4), chunks=None, **attrs):
    """Slice k holds k + 1 everywhere."""
    z = np.asarray(z, float)
    values = np.arange(1, len(z) + 1, dtype=np.uint8)[None, :, None, None]
    intensity = np.broadcast_to(values, (1, len(z), *shape)).copy()
    phase = (intensity[0] % 2).astype(np.uint8)
    if chunks is not None:
        intensity = da.from_array(intensity, chunks=(1, *chunks))
        phase = da.from_array(phase, chunks=chunks)
    return build_stack(
        {"intensity": intensity, "phase": phase},
        z=z,
        pixel_size=(5.0, 4.0),
        nominal_thickness=8.0,
        voltage=np.array([2.0]),
        attrs=attrs,
    )


def trace(stack):
    return stack["intensity"].values[0, :, 0, 0].tolist()


# ── planes ───────────────────────────────────────────────────────────────────────────────────


@given(positions())
def test_free_planes__keep_order_and_bounds(depths):
    planes = free_planes(depths)
    bounds = nearest_planes(depths[[0, -1]])
    assert (np.diff(planes) > 0).all()
    assert bounds[0] <= planes[0]
    assert planes[-1] <= bounds[1]


@given(positions(most=6))
def test_free_planes__displace_least(depths):
    cost = np.sum((free_planes(depths) - depths) ** 2)
    assert cost == pytest.approx(least_displacement(depths), abs=1e-9)


@given(positions())
def test_free_planes__round_where_no_slices_collide(depths):
    # Far from the collisions of the others, too: slices with a plane between them and the rest.
    rounded = nearest_planes(depths)
    alone = np.diff(np.concatenate([[-np.inf], rounded, [np.inf]]))
    assume((alone[1:-1] > 0).all())
    assert free_planes(depths).tolist() == rounded.tolist()


@pytest.mark.parametrize("spacing", [1.1, 2.7, 12.3])
def test_nearest_planes__middles_of_even_slabs_are_planes_in_a_row(spacing):
    # Each lies half way between two planes, and n.4999… or n.5 by how floats are divided.
    slabs = np.arange(400)
    depths = np.round((slabs + 0.5) * spacing, 4)
    assert nearest_planes(depths / spacing).tolist() == (slabs + 1).tolist()


@given(positions())
def test_free_planes__collision_elsewhere_changes_nothing(depths):
    # A lone slice, farther than the others can spread, keeps both ends apart.
    alone = np.append(depths, np.ceil(depths[-1]) + len(depths) + 1)
    both = np.append(alone, alone[-1] + [50.0, 50.1, 90.0])
    assert free_planes(both)[:-3].tolist() == free_planes(alone).tolist()


# ── stacks ───────────────────────────────────────────────────────────────────────────────────


def test_reposition_slices__rounds_absolute_depth():
    moved = reposition_slices(stack_at([14.0, 24.9, 34.9, 65.0]), spacing=10.0)
    assert moved["z"].values.tolist() == [10, 20, 30, 40, 50, 60, 70]
    assert trace(moved) == [1, 2, 3, 0, 0, 0, 4]
    assert moved["slice_thickness"].values.tolist() == [10] * 7


def test_reposition_slices__half_goes_up():
    moved = reposition_slices(stack_at([-5.0, 5.0, 15.0]), spacing=10.0)
    assert moved["z"].values.tolist() == [0, 10, 20]


def test_reposition_slices__spreads_collisions():
    moved = reposition_slices(stack_at([0.0, 29.0, 30.0, 31.0, 60.0]), spacing=10.0)
    assert trace(moved) == [1, 0, 2, 3, 4, 0, 5]


def test_reposition_slices__collisions_stay_between_first_and_last():
    moved = reposition_slices(stack_at([0.0, 1.0, 2.0, 38.0, 39.0, 40.0, 60.0]), spacing=10.0)
    assert moved["z"].values[[0, -1]].tolist() == [0, 60]
    assert trace(moved) == [1, 2, 3, 4, 5, 6, 7]


def test_reposition_slices__is_identity_on_the_grid():
    stack = stack_at(10.0 * np.arange(3, 9))
    moved = reposition_slices(stack, spacing=10.0)
    assert moved["measured"].values.all()
    for name in ("intensity", "phase", "z"):
        assert moved[name].identical(stack[name].assign_coords(moved[name].coords)), name


def test_reposition_slices__repeated_changes_nothing():
    stack = stack_at([0.0, 12.0, 47.0]).assign(shift_y=("z", [0.0, 1.5, 2.5], {"units": "nm"}))
    once = reposition_slices(stack, spacing=10.0)
    twice = reposition_slices(once, spacing=10.0)
    assert twice.drop_attrs(deep=False).equals(once.drop_attrs(deep=False))
    assert twice["measured"].values.tolist() == [True, True, False, False, False, True]


def test_reposition_slices__moves_every_variable():
    stack = stack_at([0.0, 12.0, 47.0])
    probability = stack["phase"].astype(np.float32) / 2
    stack = stack.assign(
        solid_probability=probability.drop_attrs(deep=False),
        true_phase=stack["phase"],
        shift_x=(("voltage", "z"), [[0.5, 1.5, 2.5]], {"units": "nm"}),
    )
    moved = reposition_slices(stack, spacing=10.0)
    assert moved["phase"].values[:, 0, 0].tolist() == [1, 0, 0, 0, 0, 1]
    assert moved["true_phase"].values[:, 0, 0].tolist() == [1, 0, 0, 0, 0, 1]
    assert moved["solid_probability"].values[:, 0, 0].tolist() == [0.5, 0, 0, 0, 0, 0.5]
    nan = np.nan
    np.testing.assert_array_equal(moved["shift_x"].values, [[0.5, 1.5, nan, nan, nan, 2.5]])


def test_reposition_slices__keeps_attributes_and_records_itself():
    moved = reposition_slices(stack_at([0.0, 12.0, 47.0], sample="gold"), spacing=10)
    record = json.loads(moved.attrs["provenance"][-1])
    assert moved.attrs["sample"] == "gold"
    assert moved["z"].attrs["units"] == "nm"
    assert record["step"] == "reposition_slices"
    assert record["parameters"] == {"spacing": 10.0}
    assert record["input_fingerprint"]


# ── failures and duplicates ──────────────────────────────────────────────────────────────────


def test_reposition_slices__leaves_gaps_for_dropped_slices():
    stack = stack_at([0.0, 10.0, 20.0, 30.0, 40.0, 50.0])
    moved = reposition_slices(stack, spacing=10.0, drop=[3, 0, 5])
    assert moved["z"].values.tolist() == [10.0, 20.0, 30.0, 40.0]  # nothing is known beyond
    assert trace(moved) == [2, 3, 0, 5]
    assert moved["measured"].values.tolist() == [True, True, False, True]
    record = json.loads(moved.attrs["provenance"][-1])
    assert record["parameters"]["drop"] == [0, 3, 5]


@pytest.mark.parametrize(("kept", "planes"), [([2, 4], [20.0, 30.0, 40.0]), ([3], [30.0])])
def test_reposition_slices__ends_where_measured_slices_do(kept, planes):
    stack = stack_at([0.0, 10.0, 20.0, 30.0, 40.0, 50.0])
    stack = stack.assign_coords(measured=("z", np.isin(np.arange(6), kept)))
    moved = reposition_slices(stack, spacing=10.0)
    assert moved["z"].values.tolist() == planes
    assert [value for value in trace(moved) if value] == [k + 1 for k in kept]


def test_reposition_slices__dropped_slices_take_no_plane():
    stack = stack_at([0.0, 19.0, 20.0, 21.0, 40.0])
    assert trace(reposition_slices(stack, spacing=10.0)) == [1, 2, 3, 4, 5]
    assert trace(reposition_slices(stack, spacing=10.0, drop=[1, 3])) == [1, 0, 3, 0, 5]


def test_reposition_slices__finds_duplicates_of_the_last_kept_slice():
    stack = stack_at([0.0, 0.4, 0.8, 1.2, 10.0, 10.9, 20.0])
    moved = reposition_slices(stack, spacing=1.0, minimum_thickness=1.0)
    assert trace(moved)[:2] == [1, 4]
    assert np.flatnonzero(moved["measured"]).tolist() == [0, 1, 10, 20]
    record = json.loads(moved.attrs["provenance"][-1])
    parameters = {"spacing": 1.0, "drop": [1, 2, 5], "minimum_thickness": 1.0}
    assert record["parameters"] == parameters


def test_reposition_slices__slices_as_thick_as_asked_are_no_duplicates_by_rounding():
    stack = stack_at(3.3 * np.arange(30))
    moved = reposition_slices(stack, spacing=3.3, minimum_thickness=3.3)
    assert moved["measured"].values.sum() == 30
    kept = apply_slice_thickness(stack, np.full(30, 3.3), drop_thinner=3.3)
    assert kept.sizes["z"] == 30


def test_reposition_slices__slices_after_a_failure_are_no_duplicates_of_it():
    stack = stack_at([0.0, 9.5, 10.0, 20.0])
    failed = stack.assign_coords(measured=("z", [True, False, True, True]))
    moved = reposition_slices(failed, spacing=10.0, minimum_thickness=1.0)
    assert trace(moved) == [1, 3, 4]
    assert moved["measured"].values.all()


@given(st.sets(st.integers(0, 11), max_size=11), st.integers(1, 12))
def test_reposition_slices__drop_equals_selection(drop, thick):
    z = np.cumsum([3.0, 7, 12, 9, 5, 6, 14, 8, 9, 4, 7, 11])
    stack = stack_at(z, chunks=(thick, 2, 3))
    kept = [k for k in range(12) if k not in drop]
    dropped = reposition_slices(stack, spacing=2.5, drop=sorted(drop))
    selected = reposition_slices(stack_at(z).isel(z=kept), spacing=2.5)
    inner = dropped.sel(z=selected["z"])
    assert inner.drop_attrs(deep=False).equals(selected.drop_attrs(deep=False))
    assert dropped["measured"].sum() == len(kept)


def test_reposition_slices__refuses_what_it_cannot_drop():
    stack = stack_at([0.0, 10.0, 20.0])
    with pytest.raises(ConventionError, match="numbers of slices, 0 to 2; got 3"):
        reposition_slices(stack, spacing=10.0, drop=[1, 3])
    with pytest.raises(ConventionError, match="numbers of slices, 0 to 2; got -1"):
        reposition_slices(stack, spacing=10.0, drop=[-1])
    with pytest.raises(ConventionError, match="numbers of slices, 0 to 2; got True"):
        reposition_slices(stack, spacing=10.0, drop=np.array([True, False, False]))
    with pytest.raises(ConventionError, match="needs a slice; all are left out"):
        reposition_slices(stack, spacing=10.0, drop=range(3))
    with pytest.raises(
        ConventionError, match="minimum_thickness must be finite and >= 0 nm; got -1"
    ):
        reposition_slices(stack, spacing=10.0, minimum_thickness=-1)


# ── the rest ─────────────────────────────────────────────────────────────────────────────────


def test_reposition_slices__takes_one_slice():
    moved = reposition_slices(stack_at([14.0]), spacing=10.0)
    assert (moved["z"].values.tolist(), trace(moved)) == ([10.0], [1])


def test_reposition_slices__computes_nothing():
    def refuse(*_args, **_options):
        msg = "computed"
        raise AssertionError(msg)

    with dask.config.set(scheduler=refuse):
        moved = reposition_slices(stack_at([0.0, 12.0, 47.0], chunks=(1, 2, 3)), spacing=10.0)
        assert moved["intensity"].chunks is not None


@given(
    st.lists(st.floats(6, 40), min_size=1, max_size=5),
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(2, 4)),
)
def test_reposition_slices__does_not_depend_on_chunks(steps, chunks):
    z = np.append(0, np.cumsum(steps))
    expected = reposition_slices(stack_at(z), spacing=5.0)
    moved = reposition_slices(stack_at(z, chunks=chunks), spacing=5.0)
    assert moved.drop_attrs().equals(expected.drop_attrs())


@pytest.mark.parametrize("spacing", [0.0, -2.5, np.nan, np.inf])
def test_reposition_slices__refuses_spacing(spacing):
    with pytest.raises(
        ConventionError, match=f"spacing must be finite and > 0 nm; got {spacing} nm"
    ):
        reposition_slices(stack_at([0.0, 10.0]), spacing=spacing)


def test_reposition_slices__refuses_too_many_planes():
    with pytest.raises(ConventionError, match=r"10,000,000 planes; a spacing of 1 nm makes 1e\+09"):
        reposition_slices(stack_at([0, 10, 1e9]), spacing=1)


def test_reposition_slices__warns_where_most_slices_are_left_out_as_duplicates():
    stack = stack_at([0.0, 10.0, 20.0, 30.0])
    with pytest.warns(FibdaskWarning, match=r"3 of 4 slices .* less than 10000 nm below the one"):
        reposition_slices(stack, spacing=10.0, minimum_thickness=10_000)


def test_reposition_slices__warns_of_slices_far_from_their_depth():
    stack = stack_at([0, 4, 8, 8.5, 9, 9.5, 10, 14, 18, 40, 44])
    with pytest.warns(
        FibdaskWarning, match="4 slices lie farther than 2 planes .* 10 nm is moved by 14"
    ):
        reposition_slices(stack, spacing=4)
    reposition_slices(stack, spacing=4, minimum_thickness=2)


def test_reposition_slices__refuses_more_slices_than_planes():
    stack = stack_at(np.arange(11) * 2.5)
    with pytest.raises(ConventionError, match=r"11 slices fall on 6 planes of spacing 5 nm.* 2\.5"):
        reposition_slices(stack, spacing=5.0)
    assert reposition_slices(stack, spacing=2.5).sizes["z"] == 11


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spacing": "4"}, "spacing must be finite and > 0 nm; got '4'"),
        (
            {"spacing": 4.0, "minimum_thickness": "1"},
            "minimum_thickness must be finite and >= 0 nm; got '1'",
        ),
        ({"spacing": 4.0, "drop": 3}, "drop must be a list of numbers of slices; got 3"),
    ],
)
def test_reposition_slices__refuses_what_is_no_number_or_list(stack, options, message):
    with pytest.raises(ConventionError, match=message):
        reposition_slices(stack, **options)


def test_reposition_slices__refuses_a_spacing_in_another_unit():
    with pytest.raises(
        ConventionError, match=r"got 0.005 nm, where slices are 10 nm apart, pixels"
    ):
        reposition_slices(stack_at([0, 10, 20]), spacing=0.005)
    one = stack_at([20.0])
    assert reposition_slices(one, spacing=5.0).sizes["z"] == 1
