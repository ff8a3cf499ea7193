"""The geometry of stacks."""

import pytest

from fibdask.conventions import (
    ConventionError,
    check_spacing,
    known_spacing,
    record_step,
    recorded_steps,
)


def test_known_spacing__is_1_nm_where_one_pixel_does_not_tell_it(stack):
    pixel = stack.isel(y=[0]).drop_attrs(deep=True)
    assert known_spacing(stack, "y") == pytest.approx(float(stack["y"][1] - stack["y"][0]))
    assert known_spacing(pixel, "y") == 1.0


def test_check_spacing__refuses_a_pixel_that_does_not_tell_it(stack):
    assert check_spacing(stack, "x") == known_spacing(stack, "x")
    with pytest.raises(ConventionError, match="spacing of y must be finite and > 0 nm; got nan"):
        check_spacing(stack.isel(y=[0]).drop_attrs(deep=True), "y")


def test_record_step__follows_the_only_record_of_a_stack_that_netcdf_has_kept(stack):
    first = record_step(stack.drop_attrs(deep=False), "first", {"of": 1}, "")
    (record,) = first.attrs["provenance"]
    kept = first.assign_attrs(provenance=record)  # as a text
    steps = recorded_steps(record_step(kept, "second", {}, ""))
    assert [step["step"] for step in steps] == ["first", "second"]
