import json

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from fibdask import ConventionError, validate_stack
from fibdask.conventions import build_stack, finish_stack, record_step, require


def broken(stack, **changes):
    """Return a copy with coordinates or variables replaced, attributes kept."""
    for name, values in changes.items():
        old = stack[name]
        stack = stack.assign_coords({name: (old.dims, np.asarray(values), old.attrs)})
    return stack


def test_validate_stack__accepts_a_stack(stack):
    assert validate_stack(stack) is None


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("z", [0.0, 9, 21, 20, 41, 52, 60], "slice 3 has 20 nm after 21 nm"),
        ("z", [0.0, 9, np.nan, 30, 41, 52, 60], "z must be finite; slice 2 has nan nm"),
        ("voltage", [0.0, 2.0], "voltage must be > 0 kV; position 0 has 0 kV"),
        ("voltage", [2.0, 1.0], "strictly increasing; position 1 has 1 kV after 2 kV"),
        ("y", np.r_[np.arange(69) * 3.0, 300.0], "step from position 68 to 69 is 96 nm"),
        ("x", -4.0 * np.arange(66), "x must be evenly spaced and increasing"),
        ("slice_thickness", [9.0, 12, 9, 11, 11, -0.8, 8], "slice 5 has -0.8 nm"),
        ("slice_thickness", [9.0, 12, 9, 11, 11, 8, 0], "slice 6 has 0 nm"),
        ("slice_thickness", [9.0, 12, 9, 12, 11, 8, 8], "slice 3 has 12 nm, but z steps by 11 nm"),
        ("z", np.arange(7), "z must be of type float64; found int64"),
    ],
)
def test_validate_stack__names_value_rule_and_place(stack, name, values, message):
    if name == "z":
        stack = stack.drop_vars("slice_thickness")
    with pytest.raises(ConventionError, match=message):
        validate_stack(broken(stack, **{name: values}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.transpose("z", "voltage", "y", "x"), r"intensity must have dimensions \(volt"),
        (lambda s: s.drop_vars("z"), "dimension z must have a coordinate"),
        (lambda s: s.rename(x="time"), "found time"),
        (lambda s: s.isel(z=slice(0, 0)), "dimension z must not be empty"),
        (lambda s: s[["slice_thickness"]], "must hold intensity or phase"),
        (
            lambda s: s.assign(phase=s.phase.astype("i8")),
            r"phase must be of type uint8; found int64: convert it with phase.astype\('uint8'\)",
        ),
        (
            lambda s: s.assign(phase=s.phase * 0.5),
            "phase must be of type uint8; found float64: take what is solid, such as phase > 0.5",
        ),
        (lambda s: s * 1.1, r"found float64: convert it with intensity.astype\('float32'\)"),
        (lambda s: s.coarsen(y=2, x=2).mean(), r"intensity.astype\('float32'\)"),
        (lambda s: s.assign_coords(z=s.z.drop_attrs()), r"set stack\['z'\].attrs\['units'\] ="),
        (
            lambda s: s.assign(phase=s.phase * 2),
            r"must be 0 \(pore\) or 1 \(solid\); voxel .* has 2",
        ),
    ],
)
def test_validate_stack__refuses_wrong_structure(stack, change, message):
    with pytest.raises(ConventionError, match=message):
        validate_stack(change(stack))


@pytest.mark.parametrize(
    ("select", "message"),
    [
        (
            lambda s: s.isel(z=3),
            r"z must stay a dimension; found only the value 30.0 nm: .*isel\(z",
        ),
        (lambda s: s.isel(voltage=0), "voltage must stay a dimension; found only the value 1.0 kV"),
        (lambda s: s.sel(x=8.0), "x must stay a dimension; found only the value 8.0 nm"),
        (lambda s: s.sel(z=slice(30, 10)), "dimension z must not be empty; it has size 0"),
        (lambda s: s.isel(z=3, drop=True), "needs the dimensions z, y, x; z missing"),
        (lambda s: s.drop_vars(s.coords), "dimension voltage must have a coordinate"),
        (lambda s: s.isel(z=[0, 0, 1]), "slice 1 has 0 nm after 0 nm at slice 0"),
        (lambda s: s.rename(z="depth"), "found depth"),
        (
            lambda s: s.assign_coords(z=("z", list("abcdefg"))),
            "z must be of type float64; found st",
        ),
        (lambda s: s.assign_coords(slice_thickness=9.0), r"slice_thickness .* found \(\)"),
        (lambda s: s["phase"], "must be an xarray.Dataset; got DataArray"),
    ],
)
def test_require__refuses_selections_that_are_no_stack(stack, select, message):
    with pytest.raises(ConventionError, match=message):
        require(select(stack))


@pytest.mark.parametrize("chunks", [None, 3])
def test_require__takes_a_phase_that_is_true_or_false(stack, chunks):
    given = stack if chunks is None else stack.chunk(chunks)
    taken = require(given.assign(phase=given["phase"] == 1))
    assert taken["phase"].dtype == np.uint8
    assert taken["phase"].equals(stack["phase"])
    assert taken["phase"].attrs["flag_values"] == [0, 1]


@pytest.mark.parametrize("name", ["z", "y", "x", "voltage"])
def test_validate_stack__needs_units_on_coordinates(stack, name):
    stack[name].attrs["units"] = "furlong"
    with pytest.raises(ConventionError, match=f"{name} must have units '.*'; found 'furlong'"):
        validate_stack(stack)


def test_validate_stack__says_how_labels_become_a_phase(stack):
    flags = {"flag_values": [0, 1, 2], "flag_meanings": "pore solid curtain"}
    label = stack["phase"].assign_attrs(flags)
    stack["phase"] = (label == 1).astype("uint8").assign_attrs(flags)
    with pytest.raises(ConventionError, match=r"found \[0, 1, 2\]: .*take phase\.drop_attrs"):
        validate_stack(stack)
    stack["phase"] = stack["phase"].drop_attrs(deep=False)
    validate_stack(stack)


def test_validate_stack__checks_flags_if_present_and_adds_them_if_not(stack):
    stack["phase"].attrs = {}
    assert finish_stack(stack)["phase"].attrs["flag_values"] == [0, 1]
    stack["phase"].attrs = {"flag_meanings": "solid pore"}
    with pytest.raises(ConventionError, match="flag_meanings pore solid; found solid pore"):
        validate_stack(stack)


def test_validate_stack__computes_nothing_lazy(stack):
    def fail(block):
        raise AssertionError

    lazy = da.zeros((7, 70, 66), chunks=5, dtype="u1").map_blocks(
        fail, dtype="u1", meta=np.empty(0)
    )
    unread = stack.assign(phase=(("z", "y", "x"), lazy, stack["phase"].attrs))
    assert validate_stack(unread) is None


def test_validate_stack__refuses_other_objects():
    with pytest.raises(ConventionError, match=r"must be an xarray\.Dataset; got ndarray"):
        validate_stack(np.zeros(3))


def test_require__rewrites_thickness_after_a_selection(stack):
    chosen = require(stack.isel(z=[0, 3, 4]))
    np.testing.assert_allclose(chosen["slice_thickness"], [30, 11, 10])


def test_require__names_a_missing_variable(stack):
    with pytest.raises(ConventionError, match="needs the variable true_phase; the stack holds"):
        require(stack, "true_phase")


def test_build_stack__one_slice_takes_the_nominal_thickness():
    one = build_stack(
        {"phase": np.zeros((1, 2, 2), np.uint8)},
        z=np.array([5.0]),
        pixel_size=(1, 1),
        nominal_thickness=12.0,
    )
    assert one["slice_thickness"].item() == 12


def test_finish_stack__one_slice_without_thickness_is_refused():
    stack = xr.Dataset(
        {"phase": (("z", "y", "x"), np.zeros((1, 2, 2), np.uint8))},
        coords={
            axis: (axis, np.arange(n, dtype=float), {"units": "nm"})
            for axis, n in (("z", 1), ("y", 2), ("x", 2))
        },
    )
    with pytest.raises(ConventionError, match="stack of one slice; none given"):
        finish_stack(stack)


def test_record_step__appends_readable_json(stack):
    stack = record_step(stack, "crop", {"rows": np.int64(3)}, "abc")
    record = json.loads(record_step(stack, "again", {}, "abc").attrs["provenance"][0])
    assert (record["step"], record["parameters"], record["input_fingerprint"]) == (
        "crop",
        {"rows": 3},
        "abc",
    )
