"""The geometry of stacks."""

import pytest

from fibdask.conventions import ConventionError, check_spacing, known_spacing


def test_known_spacing__is_1_nm_where_one_pixel_does_not_tell_it(stack):
    pixel = stack.isel(y=[0]).drop_attrs(deep=True)
    assert known_spacing(stack, "y") == pytest.approx(float(stack["y"][1] - stack["y"][0]))
    assert known_spacing(pixel, "y") == 1.0


def test_check_spacing__refuses_a_pixel_that_does_not_tell_it(stack):
    assert check_spacing(stack, "x") == known_spacing(stack, "x")
    with pytest.raises(ConventionError, match="spacing of y must be finite and > 0 nm; got nan"):
        check_spacing(stack.isel(y=[0]).drop_attrs(deep=True), "y")
