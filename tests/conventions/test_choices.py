"""Voltages and regions that users choose."""

import pytest

from fibdask.conventions import ConventionError, chosen_region, voltage_index

DEFAULT = {"y": (3, 67), "x": (0, 66)}


def test_voltage_index__is_the_lowest_if_none_is_given(stack):
    assert [voltage_index(stack, v) for v in (None, 1.0, 2.0, 2.0 + 1e-12)] == [0, 0, 1, 1]


def test_voltage_index__names_what_there_is(stack):
    text = "reference_voltage must be one of the stack, 1, 2 kV; got 3 kV"
    with pytest.raises(ConventionError, match=text):
        voltage_index(stack, 3.0, "reference_voltage")


def test_chosen_region__takes_the_default_where_nothing_is_chosen(stack):
    assert chosen_region(stack, None, DEFAULT, name="region") == {
        "y": slice(3, 67),
        "x": slice(0, 66),
    }
    found = chosen_region(stack, {"x": [5, 9]}, DEFAULT, name="region")
    assert found == {"y": slice(3, 67), "x": slice(5, 9)}


@pytest.mark.parametrize(
    ("wanted", "least", "message"),
    [
        ({"z": (0, 2)}, 1, "region has the axes y, x; got 'z'"),
        ({"y": (0, 71)}, 1, r"region along y must be \(start, stop\) with .* <= 70; got \(0, 71\)"),
        ({"x": (-1, 5)}, 1, r"got \(-1, 5\)"),
        ({"x": (5, 5)}, 1, r"got \(5, 5\)"),
        ({"x": (5, 20)}, 16, r"at least 16 apart, .*; got \(5, 20\)"),
        ({"y": (0, 10, 20)}, 1, r"two whole numbers \(start, stop\); got \(0, 10, 20\)"),
        ({"y": (0, 10.5)}, 1, r"two whole numbers \(start, stop\); got \(0, 10.5\)"),
    ],
)
def test_chosen_region__refuses_what_does_not_fit(stack, wanted, least, message):
    with pytest.raises(ConventionError, match=message):
        chosen_region(stack, wanted, DEFAULT, name="region", least=least)
